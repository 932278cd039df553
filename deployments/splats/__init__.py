"""Gaussians and their codecs: pure numpy and numba; no Ray, no torch, no web framework."""
