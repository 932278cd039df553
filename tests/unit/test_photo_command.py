"""``splatcast PHOTO … -o DIR`` on this machine: what is found, how files are named, what is written, and what a second run does."""

import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path, PurePath

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deployments.models import load_model
from deployments.ops.command import asks_for_files
from deployments.ops.command import main as splatcast
from deployments.photos import sources
from deployments.photos.command import main
from deployments.photos.errors import CommandError, PhotoFailed
from deployments.photos.ledger import RECORD, Ledger
from deployments.photos.local import LIMITS
from deployments.photos.progress import Progress
from deployments.photos.sources import find_sources, natural_key
from deployments.photos.video import Pace, expected_frames, read_video
from deployments.photos.work import Tally
from deployments.splats.codecs.ply_header import read_tables
from deployments.splats.files import FORMATS
from deployments.stages.local import LocalPipeline
from deployments.stream.frames import Capture, FrameRequest
from deployments.stream.options import FrameOptions
from deployments.stream.photo_options import origin_comments, photo_options
from tests.pictures import jpeg, saved

ROOT = Path(__file__).parents[2]
QUICK = ["--engine", "synthetic", "--param", "splats=300"]


def folder(where: Path, *names: str) -> Path:
    """A folder with a small JPEG under each of these names."""
    for name in names:
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(jpeg())
    return where


def files(where: Path) -> list[str]:
    """What a folder holds, hidden files too, without the record."""
    return sorted(path.relative_to(where).as_posix() for path in where.rglob("*") if path.is_file() and path.name != RECORD)


def names(where: Path, *arguments: str) -> list[str]:
    return [source.name for source in find_sources([where / each for each in arguments], ".ply").sources]


def video(path: Path, frames: int = 30, fps: float = 10.0, turn: int = 0) -> Path:
    """A video of 64×48 whose left half is red, with a display matrix that turns it clockwise by so many degrees."""
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, :32] = (0, 0, 255)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (64, 48))
    for _ in range(frames):
        writer.write(frame)
    writer.release()
    if turn:
        matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1)}[turn]
        data = bytearray(path.read_bytes())
        # ISO/IEC 14496-12, tkhd version 0: 36 bytes of header, then nine numbers, of which these four turn (16.16, big-endian).
        at = data.index(b"tkhd") + 4 + 40
        for offset, value in zip((0, 4, 12, 16), matrix, strict=True):
            data[at + offset : at + offset + 4] = (value * 65536).to_bytes(4, "big", signed=True)
        path.write_bytes(data)
    return path


# --- What is found, and names ---


def test_folders_are_read_to_their_end_in_the_order_in_which_people_count(tmp_path: Path) -> None:
    folder(tmp_path, "10.jpg", "2.JPG", "b/1.png", "a10/x.webp", "a9/x.jpeg", ".hidden.jpg", ".trash/1.jpg", "._2.jpg")
    (tmp_path / "notes.txt").write_text("no photo")
    found = find_sources([tmp_path], ".spz")
    assert [source.name for source in found.sources] == ["2.spz", "10.spz", "a9/x.spz", "a10/x.spz", "b/1.spz"]
    assert found.passed_over == 1 and found.problems == []


def test_names_sort_as_people_count() -> None:
    assert sorted(["b", "img12", "IMG2", "img1", "a1b20", "a1b3"], key=natural_key) == [
        "a1b3",
        "a1b20",
        "b",
        "img1",
        "IMG2",
        "img12",
    ]


def test_photos_of_one_name_keep_apart(tmp_path: Path) -> None:
    folder(tmp_path, "a/1.jpg", "b/1.jpg", "photo.jpg", "photo.png", "photo.jpg.webp")
    assert names(tmp_path, "a/1.jpg", "b/1.jpg") == ["a/1.ply", "b/1.ply"]
    assert names(tmp_path, "a", "b") == ["a/1.ply", "b/1.ply"]
    assert names(tmp_path, "a") == ["1.ply"]
    assert names(tmp_path, "photo.jpg", "photo.png") == ["photo.jpg.ply", "photo.png.ply"]
    # The third one's short name is the first one's long one.
    assert names(tmp_path, "photo.jpg", "photo.png", "photo.jpg.webp") == ["photo.jpg.ply", "photo.png.ply", "photo.jpg.webp.ply"]


def test_a_photo_that_is_named_twice_is_one(tmp_path: Path) -> None:
    folder(tmp_path, "a/1.jpg")
    assert names(tmp_path, "a", "a/1.jpg", "a/../a/1.jpg") == ["1.ply"]


def test_names_keep_apart_on_disks_that_ignore_capitals_or_compose_letters() -> None:
    paths = [PurePath(name) for name in ("A.jpg", "a.jpg", "é.jpg", "é.png", "b/1.jpg", "B/1.jpg")]
    found = sources._names(paths, ".ply")
    assert len({sources._folded(name) for name in found}) == len(paths)
    assert found[:2] == ["A.jpg.ply", "a.jpg~2.ply"]


FOLDERS = st.sampled_from(["a", "A", "é", "e\u0301", "a.ply", "a.jpg", "a.jpg.ply", "a~2", "clip", "clip.mp4"])
NAMES = st.sampled_from(["a", "a.jpg", "a.png", "a.mp4", "A.jpg", "a.jpg.png", "a~2.jpg", "clip.mp4"])
PHOTOS = st.builds(lambda folders, name: PurePath(*folders, name), st.lists(FOLDERS, max_size=2), NAMES)


@given(st.lists(PHOTOS, max_size=12, unique=True))
def test_no_two_photos_and_no_photo_and_folder_get_one_name(paths: list[PurePath]) -> None:
    found = [sources._folded(name) for name in sources._names(paths, ".ply")]
    assert len(set(found)) == len(found)
    folders = {parent.as_posix() for name in found for parent in PurePath(name).parents}
    files_ = {name for name, path in zip(found, paths, strict=True) if not sources.is_video(path)}
    assert not files_ & folders and not files_ & {name for name in found if name not in files_}


def test_a_video_gets_a_folder_that_is_not_one_of_the_photos(tmp_path: Path) -> None:
    folder(tmp_path, "clip/000000.jpg", "clip.mp4", "trip.jpg", "trip.mov")
    assert names(tmp_path, ".") == ["clip.mp4", "trip.ply", "trip", "clip/000000.ply"]


def test_ten_thousand_photos_are_listed_and_named_apart(tmp_path: Path) -> None:
    for number in range(5_000):
        for suffix in ("jpg", "png"):
            (tmp_path / f"{number}.{suffix}").touch()
    found = [source.name for source in find_sources([tmp_path], ".ply").sources]
    assert len(set(found)) == 10_000 and found[:2] == ["0.jpg.ply", "0.png.ply"] and found[-1] == "4999.png.ply"


def test_what_is_not_there_is_said_and_the_rest_is_found(tmp_path: Path) -> None:
    folder(tmp_path, "1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = find_sources([tmp_path / "none.jpg", tmp_path / "1.jpg", tmp_path / "pipe.jpg"], ".ply")
    assert [source.name for source in found.sources] == ["1.ply"]
    assert [Path(path).name for path, _ in found.problems] == ["none.jpg", "pipe.jpg"]


# --- Videos ---


@pytest.mark.parametrize(
    ("pace", "count"), [(Pace(), 30), (Pace(every=4), 8), (Pace(fps=5), 15), (Pace(fps=3), 9), (Pace(fps=60), 30), (Pace(2, 3), 2)]
)
def test_a_video_gives_the_frames_that_are_wanted(pace: Pace, count: int, tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4")
    assert [index for index, _ in read_video(path, pace, lambda index: True)] == list(range(count))
    assert abs(expected_frames(path, pace) - count) <= 1
    assert [index for index, _ in read_video(path, pace, lambda index: index == 1)] == [1]


@pytest.mark.parametrize(("turn", "size", "red"), [(0, (64, 48), (8, 24)), (90, (48, 64), (24, 8)), (180, (64, 48), (56, 24))])
def test_a_video_stands_as_its_metadata_says(turn: int, size: tuple[int, int], red: tuple[int, int], tmp_path: Path) -> None:
    path = video(tmp_path / "v.mp4", frames=3, turn=turn)
    _, data = next(read_video(path, Pace(), lambda index: True))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == size
        r, g, b = image.getpixel(red)
        assert r > 200 and g < 60 and b < 60
        x, y = red
        assert image.getpixel((size[0] - 1 - x, size[1] - 1 - y))[0] < 60


def test_what_is_no_video_is_said(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(PhotoFailed, match="no video that can be read"):
        list(read_video(path, Pace(), lambda index: True))
    assert expected_frames(path, Pace()) == 0


def test_a_video_that_breaks_off_says_where_and_gives_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"  # Its index is at the end, which is cut off.
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for _ in range(60):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    got = []
    with pytest.raises(PhotoFailed, match=r"breaks off after \d+ frames"):
        got.extend(index for index, _ in read_video(path, Pace(), lambda index: got.append(index) or True))
    assert 10 < len(set(got)) < 50


# --- The record ---


def test_a_file_is_done_if_it_is_whole_and_made_of_the_same(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "out", overwrite=False)
    with ledger.open():
        ledger.write("a/1.ply", "photo", b"splats")
        assert ledger.is_done("a/1.ply", "photo")
        assert not ledger.is_done("a/1.ply", "another photo") and not ledger.is_done("a/2.ply", "photo")
    again = Ledger(tmp_path / "out", overwrite=False)
    with again.open():
        assert again.is_done("a/1.ply", "photo")
        (tmp_path / "out/a/1.ply").write_bytes(b"splat")
        assert not again.is_done("a/1.ply", "photo")
        again.check("a/1.ply")  # Ours: it may be made anew.
    assert files(tmp_path / "out") == ["a/1.ply"]


def test_what_the_command_has_not_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.ply").write_bytes(b"a scan of mine")
    ledger = Ledger(tmp_path, overwrite=False)
    with ledger.open(), pytest.raises(PhotoFailed, match="not of this command's making"):
        ledger.check("mine.ply")
    with Ledger(tmp_path, overwrite=True).open():
        Ledger(tmp_path, overwrite=True).check("mine.ply")


@pytest.mark.parametrize("damage", ['{"file": "1.ply", "bytes": 6, "made', "\x00\x01\n", "[]\n", '{"file": 1}\n'])
def test_a_damaged_record_costs_its_damaged_lines_only(damage: str, tmp_path: Path) -> None:
    with (ledger := Ledger(tmp_path, overwrite=False)).open():
        ledger.write("1.ply", "photo", b"splats")
    with (tmp_path / RECORD).open("a") as file:
        file.write(damage)
    with (ledger := Ledger(tmp_path, overwrite=False)).open():
        assert ledger.is_done("1.ply", "photo")
        ledger.write("2.ply", "photo", b"splats")
    with (ledger := Ledger(tmp_path, overwrite=False)).open():
        assert ledger.is_done("1.ply", "photo") and ledger.is_done("2.ply", "photo")


def test_one_folder_is_written_to_by_one_command(tmp_path: Path) -> None:
    with Ledger(tmp_path, False).open(), pytest.raises(CommandError, match="another splatcast"), Ledger(tmp_path, False).open():
        pass


def test_a_folder_that_can_not_be_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CommandError, match="can't write to"), Ledger(tmp_path / "out", False).open():
        pass


def test_a_place_that_can_not_be_written_to_costs_its_photo(tmp_path: Path) -> None:
    with (ledger := Ledger(tmp_path, False)).open():
        (tmp_path / "a").write_text("a file where a folder should be")
        with pytest.raises(PhotoFailed, match="Can't write"):
            ledger.write("a/1.ply", "photo", b"splats")


def test_a_full_disk_ends_the_work_and_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with (ledger := Ledger(tmp_path, False)).open():
        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(CommandError, match="No space left"):
            ledger.write("1.ply", "photo", b"splats")
    assert files(tmp_path) == []


# --- The command ---


@pytest.mark.parametrize("name", FORMATS)
def test_a_photo_becomes_the_file_that_the_stages_make(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = folder(tmp_path, "photo.jpg") / "photo.jpg"
    assert main([str(photo), "-o", str(tmp_path / "out"), "--format", name, "--max-splats", "100", *QUICK]) == 0
    model = load_model("synthetic", splats=300)
    wishes = {"format": name, "max_splats": "100"}
    options, file = photo_options(wishes, FrameOptions(), LIMITS, origin_comments(model.info))
    expected = LocalPipeline(model).run(Capture((photo.read_bytes(),), FrameRequest(options, file=file)))
    written = (tmp_path / "out" / f"photo{FORMATS[name].suffix}").read_bytes()
    assert written == expected.data.tobytes()
    assert "1 files made" in capsys.readouterr().err


def test_one_bad_file_costs_itself_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path / "in", "1.jpg", "2.jpg", "4.jpg", "5.gif")
    (tmp_path / "in/3.jpg").write_bytes(jpeg()[:-20])
    (tmp_path / "in/6.jpg").touch()
    assert main([str(tmp_path / "in"), "-o", str(tmp_path / "out"), *QUICK]) == 1
    assert files(tmp_path / "out") == ["1.ply", "2.ply", "4.ply", "5.ply"]  # 5.gif is a JPEG, whatever it is called.
    said = capsys.readouterr().err
    assert "in/3.jpg: The picture can't be decoded" in said and "in/6.jpg: The frame is empty" in said
    assert "4 files made" in said and "2 failed" in said


def test_a_second_run_makes_what_is_missing_cut_short_or_of_another_photo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = folder(tmp_path / "in", "1.jpg", "2.jpg", "3.jpg", "4.jpg"), tmp_path / "out"
    command = [str(photos), "-o", str(out), *QUICK]
    assert main(command) == 0
    whole = (out / "1.ply").read_bytes()
    (out / "1.ply").write_bytes(whole[:100])
    (out / "2.ply").unlink()
    (photos / "3.jpg").write_bytes(jpeg(80, 60))
    kept = (out / "4.ply").stat().st_mtime_ns
    capsys.readouterr()
    assert main(command) == 0
    assert "3 files made" in (said := capsys.readouterr().err) and "1 were there" in said
    assert (out / "1.ply").read_bytes() == whole and (out / "2.ply").read_bytes() == whole
    assert (out / "4.ply").stat().st_mtime_ns == kept
    assert main(command) == 0 and "0 files made" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0 and "4 files made" in capsys.readouterr().err
    assert main([*command, "--max-splats", "50"]) == 0 and "4 files made" in capsys.readouterr().err
    assert len(read_tables(np.fromfile(out / "4.ply", np.uint8))["vertex"].rows) <= 50


def test_somebody_elses_file_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path, "scan.jpg", "other.jpg")
    (tmp_path / "scan.ply").write_bytes(b"months of work")
    assert main([str(tmp_path), "-o", str(tmp_path), *QUICK]) == 1
    assert (tmp_path / "scan.ply").read_bytes() == b"months of work" and (tmp_path / "other.ply").is_file()
    assert "--overwrite" in capsys.readouterr().err


def test_a_video_becomes_numbered_files_and_goes_on_where_it_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video(tmp_path / "clip.mp4", frames=12)
    command = [str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "out"), "--fps", "5", *QUICK]
    assert main(command) == 0
    assert files(tmp_path / "out") == [f"clip/{number:06d}.ply" for number in range(6)]
    (tmp_path / "out/clip/000004.ply").unlink()
    capsys.readouterr()
    assert main(command) == 0 and "1 files made" in capsys.readouterr().err


def test_the_frames_of_a_video_share_what_the_model_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []

    def run(self: LocalPipeline, capture: Capture) -> object:
        states.append(capture.request.state)
        outcome = stages(self, capture)
        outcome.request.state = bytes([len(states)])
        return outcome

    stages = LocalPipeline.run
    monkeypatch.setattr(LocalPipeline, "run", run)
    folder(tmp_path, "1.jpg")
    video(tmp_path / "a.mp4", frames=5)
    assert main([str(tmp_path / "a.mp4"), str(tmp_path / "1.jpg"), "-o", str(tmp_path / "out"), "--concurrency", "3", *QUICK]) == 0
    # Whatever the photo's turn, each frame has what the frame before it left, and the photo has nothing.
    assert states.count(b"") == 2 and len(set(states)) == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "spz", "--layout", "rgb"], "layout"),
        (["--max-splats", "0"], "max_splats"),
        (["--border", "wide"], "border"),
        (["--engine", "synthetic", "--param", "sprats=3"], "sprats"),
        (["--url", "http://127.0.0.1:9/", "--engine", "relief"], "own engine"),
        (["--url", "ftp://somewhere"], "expected the address"),
        (["--url", "http://127.0.0.1:70000/"], "expected the address"),
    ],
)
def test_a_wrong_wish_is_said_before_any_work(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder(tmp_path, "1.jpg")), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert words in (said := capsys.readouterr().err) and "Traceback" not in said


def test_an_empty_folder_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "no photos" in capsys.readouterr().err


def test_where_nothing_was_found_the_engine_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nope.jpg"), "-o", str(tmp_path / "out"), *QUICK]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Synthetic splats (load test) (Apache-2.0)" and "nope.jpg: " in said[1]


def test_a_licence_without_a_note_has_nothing_behind_it() -> None:
    model = load_model("synthetic", splats=1)
    assert origin_comments(model.info)[-1] == "licence: Apache-2.0"
    assert origin_comments(replace(model.info, licence_note="No business."))[-1] == "licence: Apache-2.0 No business."


def test_the_server_and_the_files_are_told_apart() -> None:
    for server in ([], ["--profile", "cpu"], ["--port", "80"], ["--help"]):
        assert not asks_for_files(server)
    for made in (["photo.jpg", "-o", "out"], ["-o", "out", "photo.jpg"], ["--out=x", "p"], ["-oout", "p"], ["photos"]):
        assert asks_for_files(made)


def test_one_command_does_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = folder(tmp_path, "1.jpg") / "1.jpg"
    assert splatcast([str(photo), "-o", str(tmp_path / "out"), *QUICK]) == 0
    assert files(tmp_path / "out") == ["1.ply"]
    with pytest.raises(SystemExit) as ended:
        splatcast(["--help"])
    assert ended.value.code == 0 and "splatcast PHOTO … -o DIR" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [["-o", "--help"], ["-o", "-h"], ["--out", "--help"], ["photo.jpg", "--help"]])
def test_the_help_for_photos_is_where_the_servers_help_says(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        splatcast(arguments)
    assert ended.value.code == 0 and "--overwrite" in capsys.readouterr().out


def start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "deployments.photos", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_whole_files_and_the_same_command_goes_on(ending: signal.Signals, tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "in", *(f"{number}.jpg" for number in range(12))), tmp_path / "out"
    slow = ["--engine", "synthetic", "--param", "splats=300", "--param", "latency_ms=300", "--concurrency", "2"]
    process = start(photos, "-o", out, *slow)
    until(lambda: (out / "0.ply").exists())
    process.send_signal(ending)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "goes on where it ended" in said and "Traceback" not in said
    done = files(out)
    assert 1 <= len(done) < 12 and all(name.endswith(".ply") and not name.startswith(".") for name in done)
    sizes = {(out / name).stat().st_size for name in done}
    assert len(sizes) == 1
    again = start(photos, "-o", out, *slow)
    _, said = again.communicate(timeout=60)
    assert again.returncode == 0 and f"{12 - len(done)} files made" in said and f"{len(done)} were there" in said


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "in", "1.jpg", "2.jpg"), tmp_path / "out"
    # It warms up with one frame.
    process = start(photos, "-o", out, "--engine", "synthetic", "--param", "latency_ms=20000", "--param", "splats=300")
    said = []
    reader = threading.Thread(target=lambda: said.extend(iter(process.stderr.readline, "")))  # type: ignore[union-attr]
    reader.start()
    until(lambda: any("2 photos" in line for line in said))
    process.send_signal(signal.SIGINT)
    until(lambda: any("once more" in line for line in said) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    reader.join()
    process.stderr.close()  # type: ignore[union-attr]
    assert files(out) == []


def until(happened: "object", limit_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.02)


# --- Progress ---


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_says_how_far_it_is() -> None:
    now_s, out, tally = 0.0, Terminal(), Tally()
    progress = Progress(tally, 100, out, lambda: now_s)
    now_s, tally.made, tally.kept = 10.0, 20, 30
    progress("in/20.jpg")
    assert out.getvalue() == "\r50 of 100, 2.0/s, 25 s left  in/20.jpg"
    progress("in/21.jpg")  # Just drawn.
    assert "21" not in out.getvalue()
    progress.close()
    assert out.getvalue().endswith("\r") and "\n" not in out.getvalue()


def test_a_log_has_a_line_every_half_minute() -> None:
    now_s, out, tally = 0.0, io.StringIO(), Tally(failures=[("a", "b")])
    progress = Progress(tally, 7_000, out, lambda: now_s)
    for each_s in (10.0, 29.0, 31.0, 45.0, 62.0):
        now_s = each_s
        tally.made += 10
        progress()
    progress.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].startswith("31 of 7000, 1.0/s, 1 h 56 min left, 1 failed")


def test_the_record_is_plain_lines(tmp_path: Path) -> None:
    with (ledger := Ledger(tmp_path, False)).open():
        ledger.write("é.ply", "photo", b"splats")
    assert json.loads((tmp_path / RECORD).read_text()) == {"file": "é.ply", "bytes": 6, "made_of": "photo"}


def test_a_picture_of_any_kind_that_the_decoder_reads_is_taken(tmp_path: Path) -> None:
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    for kind in ("PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"):
        (tmp_path / f"{kind}.{kind.lower()}").write_bytes(saved(image, kind))
    assert main([str(tmp_path), "-o", str(tmp_path / "out"), *QUICK]) == 0
    assert files(tmp_path / "out") == ["AVIF.ply", "BMP.ply", "GIF.ply", "PNG.ply", "TIFF.ply", "WEBP.ply"]


def test_a_heic_becomes_a_file_or_says_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        import pillow_heif
    except ImportError:
        (tmp_path / "1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
        assert main([str(tmp_path), "-o", str(tmp_path / "out"), *QUICK]) == 1
        assert "splatcast[heic]" in capsys.readouterr().err
    else:
        pillow_heif.from_pillow(Image.new("RGB", (64, 48), (200, 90, 30))).save(tmp_path / "1.heic")
        assert main([str(tmp_path), "-o", str(tmp_path / "out"), *QUICK]) == 0
        assert files(tmp_path / "out") == ["1.ply"]


def test_the_lens_may_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = folder(tmp_path, "1.jpg") / "1.jpg"
    widths = []
    for fov_deg in ("40", "80"):
        out = tmp_path / fov_deg
        assert main([str(photo), "-o", str(out), "--fov-deg", fov_deg, *QUICK]) == 0
        rows = read_tables(np.fromfile(out / "1.ply", np.uint8))["vertex"].rows
        widths.append(np.abs(rows["x"] / rows["z"]).max())
    assert widths[1] / widths[0] == pytest.approx(math.tan(math.radians(40)) / math.tan(math.radians(20)), rel=1e-3)
    assert main([str(photo), "-o", str(tmp_path / "no"), "--fov-deg", "180", *QUICK]) == 2
    assert "'fov_deg': expected 0, or a number from 1 to 170" in capsys.readouterr().err
