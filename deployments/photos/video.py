"""A video's frames as JPEGs, upright as its metadata says, at the rate that is wanted. OpenCV reads it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import simplejpeg

from deployments.photos.errors import PhotoFailed

JPEG_QUALITY = 95
"""Of the frames: well above what a video keeps."""
_MOST_MISSING = 0.1
"""Share of a video's time that may be missing before it counts as cut short: many containers only estimate how long they are."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Which frames are wanted.

    Attributes:
        fps: At most so many a second of the video's time; None: all.
        every: Of those, only every so many.
    """

    fps: float | None = None
    every: int = 1


def read_video(path: Path, pace: Pace, is_wanted: Callable[[int], bool]) -> Iterator[tuple[int, bytes]]:
    """Number, from 0 and without gaps, and JPEG of each frame that the pace wants.

    Args:
        path: A file.
        pace: Which frames count.
        is_wanted: Asked for the number of each: those that aren't are not converted.

    Raises:
        PhotoFailed: It is no video that OpenCV reads, or it breaks off; what was before is there.
    """
    video = _open(path)
    try:
        if not video.isOpened():
            raise PhotoFailed("This is no video that can be read here: expected MP4, MOV, WebM, MKV or AVI.")
        video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        at_s = -1.0
        seen = number = due = 0
        while video.grab():
            at_s = max(at_s, video.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
            seen += 1
            # Half a millisecond: containers round their times.
            if pace.fps is not None and at_s + 5e-4 < due / pace.fps:
                continue
            due = due + 1 if pace.fps is None else int((at_s + 5e-4) * pace.fps) + 1
            number += 1
            if (number - 1) % pace.every:
                continue
            index = (number - 1) // pace.every
            if is_wanted(index):
                whole, bgr = video.retrieve()
                if not whole:
                    raise PhotoFailed(f"Frame {seen} of the video can't be decoded.")
                yield index, simplejpeg.encode_jpeg(bgr, JPEG_QUALITY, "BGR", "444")
        announced_s = _duration_s(video)
        if seen == 0 or at_s + 1.0 < (1 - _MOST_MISSING) * announced_s:
            raise PhotoFailed(f"The video breaks off after {seen} frames, at {max(0.0, at_s):.1f} of {announced_s:.1f} s.")
    except cv2.error as error:
        raise PhotoFailed(f"The video can't be decoded ({error.err}).") from None
    finally:
        video.release()


def expected_frames(path: Path, pace: Pace) -> int:
    """About how many frames :func:`read_video` will give, from what the file says of itself; 0 if it says nothing."""
    video = _open(path)
    try:
        if not video.isOpened():
            return 0
        frames, duration_s = video.get(cv2.CAP_PROP_FRAME_COUNT), _duration_s(video)
        wanted = frames if pace.fps is None else min(frames, duration_s * pace.fps)
        return max(0, int(wanted / pace.every))
    finally:
        video.release()


def _open(path: Path) -> cv2.VideoCapture:
    # The libraries' own words are about bytes, and would run through the progress.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # FFmpeg only: other backends take some file names for cameras, patterns or pipelines.
    return cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)


def _duration_s(video: cv2.VideoCapture) -> float:
    fps, frames = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
    return max(0.0, frames / fps) if fps > 0 else 0.0
