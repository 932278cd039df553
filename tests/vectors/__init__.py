"""Golden files of the codecs: see README.md."""
