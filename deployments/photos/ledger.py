"""The files that are written, whole or not at all, and a record of them beside them, so that a second run knows what is done.

The record is ``.splatcast.jsonl`` in the folder: a line ``{"file", "bytes", "made_of"}`` for each file. A file is done if it has
the size that its newest line says and was made of the same photo with the same settings. A file without a line is somebody else's,
and is never replaced unless asked for.
"""

import errno
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deployments.photos.errors import CommandError, PhotoFailed

RECORD = ".splatcast.jsonl"
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Ledger:
    """The files of one folder; its methods may be called from several threads."""

    def __init__(self, folder: Path, overwrite: bool) -> None:
        self._folder, self._overwrite = folder, overwrite
        self._lock = threading.Lock()
        self._lines: dict[str, tuple[int, str]] = {}
        self._begun: set[Path] = set()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the folder, and keep it for this process until the end of the block.

        Raises:
            CommandError: It can't be written to, or another process does.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._record = (self._folder / RECORD).open("a+", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"can't write to {self._folder}: {error.strerror}") from None
        with self._record:
            try:
                fcntl.flock(self._record, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CommandError(f"another splatcast writes to {self._folder}: wait for it, or choose another folder") from None
            self._read()
            yield

    def is_done(self, name: str, made_of: str) -> bool:
        """Whether the file is there, whole, and what it would be now."""
        if self._overwrite or self._lines.get(name, (0, ""))[1] != made_of:
            return False
        return self._size(name) == self._lines[name][0]

    def check(self, name: str) -> None:
        """Return if the file may be written.

        Raises:
            PhotoFailed: Something is in its place that this command has not made.
        """
        path = self._folder / name
        if not self._overwrite and name not in self._lines and os.path.lexists(path):
            raise PhotoFailed(f"{path} is there and not of this command's making: move it, or add --overwrite.")

    def write(self, name: str, made_of: str, data: bytes) -> None:
        """Write a file: nobody sees a part of it under its name.

        Raises:
            PhotoFailed: It can't be written.
            CommandError: Nor can any other.
        """
        path = self._folder / name
        part = path.with_name(f".{made_of[:16]}.part")  # Not longer than a photo's own name may be; the same when it is made again.
        try:
            with self._whole(part):
                path.parent.mkdir(parents=True, exist_ok=True)
                part.write_bytes(data)
                # First the line: a crash between the two leaves a file to be made once more, not one that nobody dares to replace.
                self._note(name, len(data), made_of)
                os.replace(part, path)
        except OSError as error:
            sentence = f"can't write {path}: {error.strerror}"
            raise (CommandError(sentence) if error.errno in _FATAL else PhotoFailed(f"C{sentence[1:]}.")) from None

    def discard_parts(self) -> None:
        """Remove what is half written, from a process that ends in the middle of it."""
        for part in list(self._begun):
            part.unlink(missing_ok=True)

    @contextmanager
    def _whole(self, part: Path) -> Iterator[None]:
        self._begun.add(part)
        try:
            yield
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            self._begun.discard(part)

    def _note(self, name: str, size: int, made_of: str) -> None:
        with self._lock:
            self._lines[name] = (size, made_of)
            self._record.write(json.dumps({"file": name, "bytes": size, "made_of": made_of}) + "\n")
            self._record.flush()

    def _read(self) -> None:
        self._record.seek(0)
        last = "\n"
        for last in self._record:
            try:
                line = json.loads(last)
                self._lines[str(line["file"])] = (int(line["bytes"]), str(line["made_of"]))
            except (ValueError, KeyError, TypeError):
                continue  # Cut off by a crash, or written by somebody else: its file is made once more.
        if not last.endswith("\n"):
            self._record.write("\n")

    def _size(self, name: str) -> int:
        try:
            return (self._folder / name).stat().st_size
        except OSError:
            return -1
