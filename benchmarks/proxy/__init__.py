"""Ray's Python proxy and its HAProxy mode beside each other: ``python -m benchmarks.proxy --help``.

Starting a server in either mode is ``modes``, what is asked of both ``measure``, and what to say about it ``report``.
"""
