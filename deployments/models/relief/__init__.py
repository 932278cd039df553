"""The embedded engine: a relief of whatever is in front of the camera, without a depth network."""
