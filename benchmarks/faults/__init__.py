"""``python -m benchmarks.faults``: kill what a server is made of, under load, and see what its viewers lose.

``watch`` measures one fault, ``inject`` has the faults of a server, ``nodes`` that of a whole node, ``__main__`` runs them in turn.
"""
