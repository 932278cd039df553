"""Which photos and videos somebody means, and the name that each one's file gets. No pictures are opened.

Names are the photos' own, relative to the folder that all arguments have in common, so that ``a/1.jpg`` and ``b/1.jpg`` stay
apart. Where two would still get one name (``photo.jpg`` and ``photo.png``; on some disks also ``A.jpg`` and ``a.jpg``), each keeps
its own suffix. The same arguments and folders give the same names.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

PHOTO_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".heic", ".heif", ".avif", ".jxl", ".tif", ".tiff", ".bmp", ".gif")
)
"""What is taken from a folder. Some no decoder here reads: better a sentence for each than a folder half done in silence."""
VIDEO_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".3gp", ".ogv", ".mts"))


@dataclass(frozen=True, slots=True)
class Source:
    """A photo or a video.

    Attributes:
        path: Where it is.
        name: Where its file goes, relative and with slashes: a file's name for a photo, a folder's for a video.
        is_video: Whether it becomes a numbered file a frame.
    """

    path: Path
    name: str
    is_video: bool


@dataclass(slots=True)
class Found:
    """What :func:`find_sources` found.

    Attributes:
        sources: In the order of the arguments, and in a folder as people count: 2 before 10.
        problems: Path and sentence of what can't be read.
        passed_over: Files in folders that are no photos and no videos.
    """

    sources: list[Source] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    passed_over: int = 0


def find_sources(arguments: Sequence[Path], suffix: str) -> Found:
    """List files, and folders with all that is below them.

    Args:
        arguments: Files and folders. Hidden files in a folder and links to folders in it are passed over; a file that is named is
            taken whatever its suffix.
        suffix: Of the files to be written, with its dot.
    """
    found, paths, roots = Found(), dict[Path, None](), []
    for argument in arguments:
        path = Path(os.path.abspath(argument))  # Not resolved: a link's own name is the one that its user knows.
        try:
            is_folder = path.is_dir()
            if not is_folder and not path.is_file():
                found.problems.append((str(argument), "There is no such file or folder."))
                continue
        except OSError as error:
            found.problems.append((str(argument), f"It can't be read: {error.strerror}."))
            continue
        roots.append(path if is_folder else path.parent)
        paths.update(dict.fromkeys(_below(path, found) if is_folder else [path]))
    if paths:
        root = Path(os.path.commonpath(roots))
        relative = [path.relative_to(root) for path in paths]
        names = _names(relative, suffix)
        found.sources = [Source(path, name, is_video(path)) for path, name in zip(paths, names, strict=True)]
    return found


def is_video(path: PurePath) -> bool:
    """Whether the suffix is a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorts names as people count: ``2.jpg`` before ``10.jpg``; capitals make no difference unless nothing else does."""
    parts = [(part.isdecimal(), int(part) if part.isdecimal() else 0, part.casefold()) for part in re.split(r"(\d+)", name)]
    return [*parts, (False, 0, name)]


def _below(folder: Path, found: Found) -> Iterator[Path]:
    def failed(error: OSError) -> None:
        found.problems.append((str(error.filename), f"The folder can't be read: {error.strerror}."))

    for parent, folders, files in os.walk(folder, onerror=failed):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        for name in sorted(files, key=natural_key):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in PHOTO_SUFFIXES or is_video(path):
                yield path
            else:
                found.passed_over += 1


def _names(paths: Sequence[PurePath], suffix: str) -> list[str]:
    """A name for each of these relative paths; no two are one file, not even where a disk ignores capitals."""
    long = [path.as_posix() + ("" if is_video(path) else suffix) for path in paths]
    short = [path.with_suffix("").as_posix() + ("" if is_video(path) else suffix) for path in paths]
    counts = Counter(map(_folded, short))
    folders = {_folded(parent.as_posix()) for path in paths for parent in path.parents}
    kept = folders.union(map(_folded, long))
    used, names = set(folders), []
    for path, brief, full in zip(paths, short, long, strict=True):
        # A video named without a suffix would have a folder where its own name is.
        name = brief if counts[_folded(brief)] == 1 and (_folded(brief) not in kept or not path.suffix) else full
        number = 1
        while _folded(name) in used:
            number += 1
            name = f"{full.removesuffix(suffix)}~{number}{'' if is_video(path) else suffix}"
        used.add(_folded(name))
        names.append(name)
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
