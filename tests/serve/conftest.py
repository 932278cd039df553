"""One real local Ray for the tests of this folder; a test that must break one starts its own."""

from collections.abc import Iterator

import pytest

from tests.server import Server

SYNTHETIC = {
    "engine": {"name": "synthetic", "params": {"splats": 20_000, "latency_ms": 20.0}},
    "batch": {"max_size": 4},
    "options": {"border": 0.0},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server(SYNTHETIC)
    yield server
    server.stop()
