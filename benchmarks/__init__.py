"""Runnable measurements: ``python -m benchmarks.<name>``. Each prints a table and writes a report that can be rerun from itself."""
