"""Load on a running server through its real WebSocket: ``python -m benchmarks.load --help``.

Who comes is ``kinds``, when to send is ``schedule``, how to send and what came of it is ``session`` (through a ``link``, in the
``original`` protocol), whether this process kept up is ``monitor``, starting and stopping all of it is ``run``, and what to say
about it are ``report`` and ``table``.
"""
