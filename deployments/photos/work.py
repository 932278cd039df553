"""The work itself: photos and frames, a few at a time, each into its file.

Threads read, make and write; the thread that calls :func:`run` hands out work, one job more than there are threads, so that what is
in memory does not grow with the number of photos.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from deployments.photos.errors import CommandError, PhotoFailed, Stopped
from deployments.photos.ledger import Ledger
from deployments.photos.sources import Source
from deployments.photos.video import Pace, read_video
from deployments.splats.files import FORMATS
from deployments.stream.messages import Engine

_LOOK_UP_S = 0.2
"""How often the calling thread looks whether it shall stop."""


@dataclass(slots=True)
class Track:
    """What the model remembers from frame to frame of a video; a photo has its own, which nobody reads again."""

    state: bytes = b""


class Maker(Protocol):
    """Makes files of pictures, in this process or elsewhere.

    Attributes:
        engine: What makes the splats.
        made_with: What the files depend on besides photo and settings.
        max_bytes: Of a picture.
    """

    engine: Engine
    made_with: dict[str, Any]
    max_bytes: int

    def make(self, picture: bytes, track: Track) -> bytes:
        """The file of an encoded picture.

        Raises:
            PhotoFailed: There is none.
            CommandError: There will be none of any other picture either.
            Stopped: Nobody waits for it any more.
        """
        ...

    def close(self) -> None:
        """Give back what it holds of the network; by itself it holds nothing."""
        return


@dataclass(frozen=True, slots=True)
class Job:
    """One file to be made.

    Attributes:
        label: What it is made of, for people.
        name: The file's, in the folder.
        made_of: Fingerprint of the photo and all settings.
        read: Gives the encoded picture; may raise :class:`PhotoFailed`.
        track: The video's.
    """

    label: str
    name: str
    made_of: str
    read: Callable[[], bytes]
    track: Track = field(default_factory=Track)


@dataclass(slots=True)
class Tally:
    """What became of the photos and frames.

    Attributes:
        made, kept: Files written, and files that were there and are as they would be now.
        failures: Path and sentence of each that has none.
        fatal: Why the work ended before its end, if it did.
    """

    made: int = 0
    kept: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    fatal: str | None = None


class Plan:
    """Turns sources into jobs, one after the other; those whose file is done are only counted."""

    def __init__(
        self, ledger: Ledger, maker: Maker, wishes: Mapping[str, str], pace: Pace, tally: Tally, stop: threading.Event
    ) -> None:
        """Take what the files depend on.

        Args:
            ledger: Knows what is done.
            maker: Will make the files.
            wishes: As of ``/api/splat``, ``format`` among them.
            pace: Of videos.
            tally: Gets what is done, and what can't be read.
            stop: When set, there are no more jobs.
        """
        self._ledger, self._maker, self._pace, self._tally, self._stop = ledger, maker, pace, tally, stop
        self._settings = {"wishes": dict(wishes), **maker.made_with}
        self._suffix = FORMATS[wishes["format"]].suffix

    def jobs(self, sources: Sequence[Source]) -> Iterator[Job]:
        """The jobs that are left. What can't be read becomes a failure in the tally."""
        for source in sources:
            try:
                stat = source.path.stat()
                photo = {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
                if source.is_video:
                    yield from self._frames(source, photo)
                elif job := self._job(str(source.path), source.name, photo):
                    yield replace(job, read=partial(self._read, source.path))
            except Stopped:
                return
            except PhotoFailed as error:
                self._tally.failures.append((str(source.path), str(error)))
            except OSError as error:
                self._tally.failures.append((str(source.path), f"It can't be read: {error.strerror}."))

    def _frames(self, source: Source, photo: Mapping[str, Any]) -> Iterator[Job]:
        track, jobs = Track(), dict[int, Job]()

        def is_wanted(index: int) -> bool:
            if self._stop.is_set():
                raise Stopped
            label, name = f"{source.path}, frame {index}", f"{source.name}/{index:06d}{self._suffix}"
            try:
                job = self._job(label, name, {**photo, **asdict(self._pace), "index": index})
            except PhotoFailed as error:
                self._tally.failures.append((label, str(error)))
                return False
            if job:
                jobs[index] = job
            return job is not None

        for index, jpeg in read_video(source.path, self._pace, is_wanted):
            yield replace(jobs.pop(index), read=partial(bytes, jpeg), track=track)

    def _job(self, label: str, name: str, photo: Mapping[str, Any]) -> Job | None:
        """The job for a file, still without its picture; None if the file is done.

        Raises:
            PhotoFailed: Something else is in the file's place.
        """
        about = json.dumps([self._settings, name, photo], sort_keys=True)
        made_of = hashlib.sha256(about.encode()).hexdigest()[:32]
        if self._ledger.is_done(name, made_of):
            self._tally.kept += 1
            return None
        self._ledger.check(name)
        return Job(label, name, made_of, bytes)

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                picture = file.read(self._maker.max_bytes + 1)
        except OSError as error:
            raise PhotoFailed(f"It can't be read: {error.strerror}.") from None
        if len(picture) > self._maker.max_bytes:
            raise PhotoFailed(f"The file has more than {self._maker.max_bytes / 2**20:g} MiB, the limit of a photo.")
        return picture


def run(
    jobs: Iterator[Job],
    maker: Maker,
    ledger: Ledger,
    tally: Tally,
    workers: int,
    stop: threading.Event,
    progress: Callable[[str], None],
) -> None:
    """Do the jobs, until they are done, something concerns them all, or it is told to stop.

    Args:
        jobs: Read one by one, in the caller's thread.
        maker: Makes the files.
        ledger: Writes them.
        tally: Has the result.
        workers: Jobs at a time.
        stop: When set, what has begun is finished and nothing else begins.
        progress: Called often, with what was last finished, or nothing.
    """
    pending: dict[Future[None], Job] = {}
    last_of: dict[int, Future[None]] = {}  # The newest job of each track that has one pending.

    def do(job: Job, before: Future[None] | None) -> None:
        if before:
            wait([before])
        ledger.write(job.name, job.made_of, maker.make(job.read(), job.track))

    def collect(limit: int) -> None:
        """Wait until at most so many are pending."""
        while len(pending) > limit:
            done, _ = wait(pending, timeout=_LOOK_UP_S, return_when=FIRST_COMPLETED)
            for future in done:
                _count(future, job := pending.pop(future), tally, stop)
                if last_of.get(id(job.track)) is future:
                    del last_of[id(job.track)]
                progress(job.label)
            if stop.is_set():
                for future in [each for each in pending if each.cancel()]:
                    del pending[future]
            progress("")

    with ThreadPoolExecutor(workers, "photo") as pool:
        for job in jobs:
            collect(workers)
            if stop.is_set():
                break
            future = pool.submit(do, job, last_of.get(id(job.track)))
            pending[future] = job
            last_of[id(job.track)] = future
        collect(0)


def _count(future: "Future[None]", job: Job, tally: Tally, stop: threading.Event) -> None:
    try:
        future.result()
        tally.made += 1
    except PhotoFailed as error:
        tally.failures.append((job.label, str(error)))
    except CommandError as error:
        tally.fatal = tally.fatal or str(error)
        stop.set()
    except Stopped:
        pass
