"""What a browser may keep of the viewer: an upgrade never mixes files of two builds."""

import gzip
import os
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.http.pages import STATIC_FOLDER
from tests.stub_server import StubPipeline

HASHED, ENTRY = "chunk-XTZT4CON.js", "viewer.js"
WORKER = "capture.worker-XTZT4CON.js"
MTIME_S = 1_580_601_600.0
"""One time for every file of every build, as reproducible wheels and images have it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (HASHED, ENTRY, WORKER, "viewer.css", "index.html"):
        write(tmp_path / name, "one")
    return tmp_path


@pytest.fixture
def client(folder: Path) -> TestClient:
    return TestClient(create_app(StubPipeline(), GraphArgs(), folder))


def write(path: Path, text: str, mtime_s: float = MTIME_S) -> None:
    path.write_text(text)
    os.utime(path, (mtime_s, mtime_s))


def test_a_name_with_a_hash_is_kept_and_never_asked_for_again(client: TestClient) -> None:
    for name in (HASHED, WORKER):
        assert client.get(f"/static/{name}").headers["cache-control"] == "max-age=31536000, immutable"


@pytest.mark.parametrize("path", ["/", "/static/index.html", "/static/viewer.js", "/static/viewer.css"])
def test_any_other_file_is_asked_for_each_time_and_sent_only_when_it_changed(client: TestClient, path: str) -> None:
    first = client.get(path)
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    again = client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["cache-control"]) == (304, b"", "no-cache")
    assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("path", ["/", "/static/viewer.js"])
def test_a_file_of_another_build_is_sent_though_its_time_and_size_are_the_same(tmp_path: Path, path: str) -> None:
    tags = []
    for build, text in (("old", "import './chunk-AAAAAAAA.js'"), ("new", "import './chunk-BBBBBBBB.js'")):
        folder = tmp_path / build
        folder.mkdir()
        for name in (ENTRY, "index.html"):
            write(folder / name, text)
        client = TestClient(create_app(StubPipeline(), GraphArgs(), folder))
        known = {"if-none-match": tags[-1], "if-modified-since": "Sun, 02 Feb 2020 00:00:00 GMT"} if tags else {}
        answer = client.get(path, headers=known)
        assert (answer.status_code, answer.text) == (200, text)
        tags.append(answer.headers["etag"])
        assert client.get(path, headers={"if-modified-since": "Sun, 02 Feb 2020 00:00:00 GMT"}).status_code == 200
    assert len(set(tags)) == 2


def test_replicas_that_were_installed_at_different_times_agree_on_a_file(folder: Path, client: TestClient) -> None:
    tag = client.get("/static/viewer.js").headers["etag"]
    write(folder / ENTRY, "one", MTIME_S + 60)
    assert client.get("/static/viewer.js", headers={"if-none-match": tag}).status_code == 304


def test_a_file_that_an_old_replica_does_not_have_yet_is_not_remembered_as_missing(client: TestClient) -> None:
    for path in ("/static/chunk-BBBBBBBB.js", "/nothing", "/selftest"):
        answer = client.get(path)
        assert answer.status_code in (404, 503) and answer.headers["cache-control"] == "no-store"


def test_a_part_of_a_file_is_a_part_of_the_same_file(client: TestClient) -> None:
    tag = client.get("/static/viewer.js").headers["etag"]
    part = client.get("/static/viewer.js", headers={"range": "bytes=1-", "if-range": tag})
    assert (part.status_code, part.text) == (206, "ne")
    other = client.get("/static/viewer.js", headers={"range": "bytes=1-", "if-range": '"another"'})
    assert (other.status_code, other.text) == (200, "one")


def test_a_browser_that_takes_gzip_gets_the_compressed_copy_with_a_tag_of_its_own(folder: Path, client: TestClient) -> None:
    text = "export const one = 1;\n" * 100
    for name in (HASHED, ENTRY):
        write(folder / name, text)
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        plain = client.get(f"/static/{name}", headers={"accept-encoding": "identity"})
        packed = client.get(f"/static/{name}", headers={"accept-encoding": "br, gzip;q=0.8"})
        assert plain.text == packed.text == text
        assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) == len(text)
        assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
        assert plain.headers["content-type"] == packed.headers["content-type"] == "text/javascript; charset=utf-8"
        assert plain.headers["cache-control"] == packed.headers["cache-control"]
        assert plain.headers["etag"] != packed.headers["etag"]
        again = client.get(f"/static/{name}", headers={"accept-encoding": "gzip", "if-none-match": packed.headers["etag"]})
        assert again.status_code == 304


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "x-gzip"])
def test_a_browser_that_does_not_take_gzip_gets_the_file_itself(folder: Path, client: TestClient, accepted: str) -> None:
    (folder / f"{ENTRY}.gz").write_bytes(gzip.compress(b"one"))
    answer = client.get("/static/viewer.js", headers={"accept-encoding": accepted})
    assert answer.text == "one" and "content-encoding" not in answer.headers


def test_a_part_is_a_part_of_the_file_itself_and_not_of_its_compressed_copy(folder: Path, client: TestClient) -> None:
    (folder / f"{ENTRY}.gz").write_bytes(gzip.compress(b"one"))
    part = client.get("/static/viewer.js", headers={"range": "bytes=1-", "accept-encoding": "gzip"})
    assert (part.status_code, part.text) == (206, "ne") and "content-encoding" not in part.headers


@pytest.mark.skipif(not STATIC_FOLDER.is_dir(), reason="the viewer is not built: make web")
def test_every_script_and_style_sheet_of_the_real_build_has_a_compressed_copy() -> None:
    files = [path for path in STATIC_FOLDER.iterdir() if path.suffix in (".js", ".css")]
    for path in files:
        assert gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes()) == path.read_bytes()
    assert files


@pytest.mark.skipif(not STATIC_FOLDER.is_dir(), reason="the viewer is not built: make web")
def test_the_chunks_and_workers_of_the_real_build_have_names_with_a_hash_that_the_pages_know() -> None:
    client = TestClient(create_app(StubPipeline(), GraphArgs()))
    kept = {
        path.name for path in STATIC_FOLDER.iterdir() if "immutable" in client.get(f"/static/{path.name}").headers["cache-control"]
    }
    workers = {path.name for path in STATIC_FOLDER.glob("*.worker-*.js")}
    chunks = {path.name for path in STATIC_FOLDER.glob("chunk-*.js")}
    assert kept == chunks | workers and len(workers) == 2
    page = (STATIC_FOLDER / "index.html").read_text()
    named = set(re.findall(r'"static/([^"]+-[A-Z2-7]{8}[.]js)"', page))
    assert named >= workers and named <= kept
    largest = max(chunks, key=lambda name: (STATIC_FOLDER / name).stat().st_size)
    assert f'rel="modulepreload" href="static/{largest}"' in page, "a browser loads it beside what imports it, and not after"


def test_the_samples_recording_is_among_the_files_that_need_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = tmp_path / "sample.splatcast"
    monkeypatch.setattr("deployments.http.app.RECORDING_PATH", recording)
    client = TestClient(create_app(StubPipeline(), GraphArgs(), tmp_path, token="a-token-of-some-length"))
    assert client.get("/static/sample.splatcast").status_code == 404
    recording.write_bytes(b"SPLR")
    answer = client.get("/static/sample.splatcast")
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"SPLR", "no-cache")
