"""Settings of all tests."""

from hypothesis import settings

# These machines are shared and slow now and then: a deadline would only tell that.
settings.register_profile("splatcast", deadline=None)
settings.load_profile("splatcast")
