"""Settings of all tests."""

from hypothesis import settings

# Timing differs by machine; a deadline would only tell that.
settings.register_profile("splatcast", deadline=None)
settings.load_profile("splatcast")
