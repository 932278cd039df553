"""The pure work of the decode, predict and pack stages, and all three chained in one process. No Ray."""
