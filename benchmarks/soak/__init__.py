"""A long run under a crowd that comes and goes: does anything grow? ``python -m benchmarks.soak --help``.

Who comes and goes is ``crowd``, what is looked at and how much of it may grow is ``series``, whether one does is ``trend``.
"""
