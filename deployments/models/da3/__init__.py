"""Depth Anything 3."""
