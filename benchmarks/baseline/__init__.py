"""The graph beside the design it replaces: ``python -m benchmarks.baseline --help``.

The peer (``peer``) is how webcam demos of depth networks are usually served: one process, and everything in its threads. Both get
the same engine stand-in, the same pictures and the same clients, those of ``benchmarks.load``; they are measured in turn
(``__main__``).
"""
