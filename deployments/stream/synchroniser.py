"""Frames of several cameras → groups of one moment each, without I/O: what a model of several views wants to see.

It is told what came (``frame``, ``leave``) and when, and asked for the newest group (``next``). Capture times are on one clock, the
server's; :mod:`deployments.stream.client_clock` brings them there.

Invariants:

- The frames of a group were captured within ``window_s`` of each other, one of each camera, in the order in which the cameras
  joined. The first of them, the origin, stays the first until it leaves.
- Groups get newer: a group is newer than those before it in every camera, so that no frame is in two. Of several that are
  complete, the newest counts, and what is older is dropped.
- A group waits for every camera, but at most ``max_wait_s`` from the arrival of the first frame after the last group. Then the
  most cameras that fit together are one, with the origin if there is a choice. Whoever is missing (it stalls, its link is slow,
  its clock is off, or its frames fall between those of the others) is left out of this group and the next ones, and ``lagging``
  says so. It comes back by itself once its frames have been in time for a while, which gets longer each time it breaks its word: a
  number of views that changes all the time would make the world restless.
- Memory is bounded: a camera has at most ``2 · max_wait_s / window_s + 3`` frames here, none if it is left out. Fewer would not
  do: a frame that took 0.2 s on its way belongs to what other cameras saw 0.2 s ago.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

_RECENT = 32
"""Groups by which a camera that was left out is judged: a second of them."""
_PROBATION_S, _LONGEST_PROBATION_S = 1.0, 16.0
"""How long its frames must be in time before it is waited for again; doubled each time, until it has been in time for a minute."""
_FORGIVEN_S = 60.0


@dataclass(frozen=True, slots=True)
class View:
    """A camera's frame.

    Attributes:
        camera_id: The camera.
        captured_s: When it was captured, on the server's clock.
        jpeg: The encoded picture.
    """

    camera_id: str
    captured_s: float
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Group:
    """Views of one moment.

    Attributes:
        views: In the order in which their cameras joined.
        origin: The camera that joined first of those that are here. It is the first view's, unless it is left out: then the frame
            of the reply is another camera's for as long.
    """

    views: tuple[View, ...]
    origin: str

    @property
    def captured_s(self) -> float:
        """When the first of its frames was captured."""
        return min(view.captured_s for view in self.views)


@dataclass(frozen=True, slots=True)
class Lag:
    """A camera that groups do not wait for.

    Attributes:
        camera_id: The camera.
        behind_s: How much older its newest frame is than the newest of all; little, if its frames fall between those of the others.
        since_s: When it was left out, on the server's clock.
    """

    camera_id: str
    behind_s: float
    since_s: float


@dataclass(slots=True)
class _Held:
    view: View
    arrived_s: float


@dataclass(slots=True)
class _Camera:
    held: deque[_Held] = field(default_factory=deque)
    newest_s: float = -math.inf
    before_s: float = -math.inf
    """When the newest frame and the one before it were captured."""
    arrived_s: float = -math.inf
    left_out_since_s: float | None = None
    in_time_since_s: float | None = None
    back_since_s: float = -math.inf
    probation_s: float = _PROBATION_S


@dataclass(frozen=True, slots=True)
class _Issued:
    first_s: float
    last_s: float
    issued_s: float


class Synchroniser:
    """See the module's docstring. The caller bounds the number of cameras.

    Args:
        window_s: How far apart the frames of a group may have been captured.
        max_wait_s: How long a group waits for a camera. More than a camera's period and what links differ by: 0.3 s is enough
            for 10 frames a second over mobile networks.
        cameras: Those that are there already, in the order in which they joined; more join with their first frames.

    Raises:
        ValueError: If the window is not above 0 or is longer than the wait.
    """

    def __init__(self, window_s: float = 0.05, max_wait_s: float = 0.3, cameras: Iterable[str] = ()) -> None:
        if not 0 < window_s <= max_wait_s < math.inf:
            raise ValueError(f"window_s: expected above 0 and at most max_wait_s, {max_wait_s:g}, got {window_s:g}")
        self._window_s, self._max_wait_s = window_s, max_wait_s
        self._cameras = {camera_id: _Camera() for camera_id in cameras}
        self._held_until_s = -math.inf
        self._recent: deque[_Issued] = deque(maxlen=_RECENT)
        self._most_held = int(2 * max_wait_s / window_s) + 3

    @property
    def origin(self) -> str | None:
        """The camera that joined first of those that are here."""
        return next(iter(self._cameras), None)

    @property
    def due_s(self) -> float | None:
        """When to ask for a group again if no frame comes before; None: not before one comes."""
        first_s = min((held.arrived_s for held in self._pending()), default=None)
        return None if first_s is None else max(first_s, self._held_until_s) + self._max_wait_s

    def hold(self, now_s: float) -> None:
        """Begin the wait anew: until now, nobody could have been expected to send."""
        self._held_until_s = now_s

    def frame(self, camera_id: str, now_s: float, captured_s: float, jpeg: bytes) -> bool:
        """A frame came. With its first one, a camera joins.

        Args:
            camera_id: The camera.
            now_s: The time.
            captured_s: When it was captured, on the same clock. No frame is from the future: what is later than now counts as now.
            jpeg: The encoded picture.

        Returns:
            Whether it counts; not if it is no newer than the camera's last one, or its time is no number.
        """
        captured_s = min(captured_s, now_s)
        if not math.isfinite(captured_s):
            return False
        camera = self._cameras.setdefault(camera_id, _Camera())
        if captured_s <= camera.newest_s:
            return False
        camera.before_s, camera.newest_s, camera.arrived_s = camera.newest_s, captured_s, now_s
        if camera.left_out_since_s is not None:
            self._judge(camera, now_s)
            if camera.left_out_since_s is not None:
                return True
        held = camera.held
        # Closer together than this, every other one does: it is as near to any frame of another camera as the window asks for.
        if len(held) >= 2 and captured_s - held[-2].view.captured_s < self._window_s:
            # The wait goes on from the arrival of the frame that it replaces.
            held[-1] = _Held(View(camera_id, captured_s, jpeg), held[-1].arrived_s)
        else:
            held.append(_Held(View(camera_id, captured_s, jpeg), now_s))
        if len(held) > self._most_held:
            held.popleft()
        return True

    def leave(self, camera_id: str) -> None:
        """A camera has left; one that is not here may leave, too. The next one to have joined is the origin."""
        self._cameras.pop(camera_id, None)
        if not any(True for _ in self._active()):
            for camera in self._cameras.values():
                self._take_back(camera, camera.arrived_s)

    def next(self, now_s: float) -> Group | None:
        """The newest group that is complete, or has waited for long enough; None if there is none. Ask after every frame, and when
        ``due_s`` has come.

        Args:
            now_s: The time.
        """
        active = dict(self._active())
        chosen = self._newest(active, whole=True)
        if chosen is None and self.due_s is not None and now_s >= self.due_s:
            chosen = self._newest(active, whole=False)
        if chosen is None:
            return None
        for camera_id in active.keys() - chosen.keys():
            self._leave_out(active[camera_id], now_s)
        for camera_id, view in chosen.items():
            held = active[camera_id].held
            while held and held[0].view.captured_s <= view.captured_s:
                held.popleft()
        times = [view.captured_s for view in chosen.values()]
        self._recent.append(_Issued(min(times), max(times), now_s))
        assert self.origin is not None
        return Group(tuple(chosen.values()), self.origin)

    def lagging(self) -> list[Lag]:
        """The cameras that groups do not wait for, in the order in which they joined."""
        newest_s = max((camera.newest_s for camera in self._cameras.values()), default=0.0)
        return [
            Lag(camera_id, newest_s - camera.newest_s, camera.left_out_since_s)
            for camera_id, camera in self._cameras.items()
            if camera.left_out_since_s is not None
        ]

    def _active(self) -> Iterable[tuple[str, _Camera]]:
        return ((camera_id, camera) for camera_id, camera in self._cameras.items() if camera.left_out_since_s is None)

    def _pending(self) -> Iterable[_Held]:
        return (held for _, camera in self._active() for held in camera.held)

    def _newest(self, active: dict[str, _Camera], whole: bool) -> dict[str, View] | None:
        """The newest frames that fit together: of all active cameras, or of as many as possible."""
        best: tuple[tuple[int, bool, float], dict[str, View]] | None = None
        # Each frame in turn is the first of its group; with it go the frames that follow it most closely.
        for first in self._pending():
            first_s = first.view.captured_s
            views = {
                camera_id: fitting[0]
                for camera_id, camera in active.items()
                if (fitting := [h.view for h in camera.held if 0 <= h.view.captured_s - first_s <= self._window_s])
            }
            if whole and len(views) < len(active):
                continue
            rank = (len(views), self.origin in views, first_s)
            if best is None or rank > best[0]:
                best = rank, views
        return best[1] if best else None

    def _leave_out(self, camera: _Camera, now_s: float) -> None:
        if now_s - camera.back_since_s < _FORGIVEN_S:
            camera.probation_s = min(2 * camera.probation_s, _LONGEST_PROBATION_S)
        else:
            camera.probation_s = _PROBATION_S
        camera.left_out_since_s, camera.in_time_since_s = now_s, None
        camera.held.clear()

    def _judge(self, camera: _Camera, now_s: float) -> None:
        """A frame of a camera that is left out: would a group have had it in time?"""
        others = [other.arrived_s for _, other in self._active()]
        if all(now_s - arrived_s > self._max_wait_s for arrived_s in others):
            self._take_back(camera, now_s)  # Nobody else is there.
            return
        # Others would wait from the frame after the last group on, up to a period longer than this frame is late.
        patience_s = self._max_wait_s - (camera.newest_s - camera.before_s)
        # A frame may be here before its group is: then the one before it says how this camera does.
        if not any(
            group.last_s - self._window_s <= captured_s <= group.first_s + self._window_s and now_s - group.issued_s <= patience_s
            for group in self._recent
            for captured_s in (camera.newest_s, camera.before_s)
        ):
            camera.in_time_since_s = None
        elif camera.in_time_since_s is None:
            camera.in_time_since_s = now_s
        elif now_s - camera.in_time_since_s >= camera.probation_s:
            self._take_back(camera, now_s)

    def _take_back(self, camera: _Camera, now_s: float) -> None:
        camera.left_out_since_s = camera.in_time_since_s = None
        camera.back_since_s = now_s
        camera.held.clear()
