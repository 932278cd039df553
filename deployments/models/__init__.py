"""Engines: each turns RGB views into Gaussians. The only place that may import torch."""
