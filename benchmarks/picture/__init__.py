"""What a frame looks like from where the viewer may orbit to, and over time. See ``__main__.py``."""
