"""The embedded engine: a relief of whatever stands before the camera, without a depth network."""
