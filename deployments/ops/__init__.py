"""Running it: the launcher, the proxy's settings, autoscaling, metrics."""
