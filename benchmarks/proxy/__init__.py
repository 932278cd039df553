"""Ray's Python proxy and its HAProxy mode beside each other: ``python -m benchmarks.proxy --help``.

``modes`` starts a server in either mode; ``__main__`` measures both in turn, and says what came of it.
"""
