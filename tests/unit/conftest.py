"""Unit tests run without Ray: one that starts it is in the wrong folder."""

import pytest


@pytest.fixture(autouse=True)
def _forbid_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a unit test called ray.init: it belongs in tests/serve")

    monkeypatch.setattr(ray, "init", refuse)
