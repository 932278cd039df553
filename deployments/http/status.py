"""``/api/status``: how well the stream is, of one ingress replica, as the page ``/status`` shows it. No Ray.

It must answer when the rest does not: whatever it asks of others has a timeout, is asked once for all who look, and is kept for a
moment, so that a hundred open pages cost what one does. No addresses, and nothing of others' error texts: those are in the log.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from deployments.config import GraphArgs
from deployments.stream.admission import Admission
from deployments.stream.counts import Counts, Window
from deployments.stream.messages import Engine
from deployments.stream.rooms import Room, Rooms
from deployments.stream.session import Session

logger = logging.getLogger("ray.serve.splatcast")

MAX_ROWS = 20
KEPT_S = 1.0
"""The page asks every two seconds."""
GRAPH_TIMEOUT_S = 2.0
_REPORT_TIMEOUT_S = 10.0

_FULL = 0.9
"""Of the sessions there may be."""
_HIGH_PRESSURE = 1.5
"""A third of what people send is passed over."""
_OLD = 1.5
"""Times the age that quality aims at."""
_DEFECTS = ("internal", "graph_failed", "inference_failed", "not_ready")
"""Error codes that are no client's fault."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """One deployment, in Serve's words: ``HEALTHY``, ``UPDATING``, …; ``replicas`` by state: ``RUNNING``, ``STARTING``, …"""

    name: str
    state: str
    replicas: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GraphState:
    """The application, in Serve's words: ``RUNNING``, ``DEPLOYING``, ``DEPLOY_FAILED``, …"""

    state: str
    deployments: list[DeploymentState] = field(default_factory=list)


class Answer(Generic[T]):
    """The newest answer to a question that may take long or fail; None for "no answer"."""

    def __init__(self, what: str, ask: Callable[[], Awaitable[T]], timeout_s: float, clock: Callable[[], float]) -> None:
        self._what = what
        self._ask = ask
        self._timeout_s = timeout_s
        self._clock = clock
        self._asked_s = 0.0
        self._asking: asyncio.Task[T | None] | None = None
        # Serve's request of whoever asks first is in the caller's: the answer for all would be cancelled when that one leaves.
        self._context = copy_context()

    async def __call__(self) -> T | None:
        """The answer, :data:`KEPT_S` old at most. Never raises; a question that is still open is not asked again."""
        if self._asking is None or (self._asking.done() and self._clock() - self._asked_s >= KEPT_S):
            self._asked_s, self._asking = self._clock(), self._context.run(asyncio.ensure_future, self._answer())
        done, _ = await asyncio.wait({self._asking}, timeout=self._timeout_s)
        return self._asking.result() if done else None

    async def _answer(self) -> T | None:
        try:
            return await self._ask()
        except Exception as error:
            logger.warning("no answer for /status from %s: %s: %.300s", self._what, type(error).__name__, error)
            return None


class Status:
    """Collects the report of one ingress replica."""

    def __init__(
        self,
        counts: Counts,
        admission: Admission,
        sessions: Collection[Session],
        rooms: Rooms,
        args: GraphArgs,
        version: str,
        replica: str,
        engine: Callable[[], Awaitable[Engine]],
        graph: Callable[[], Awaitable[GraphState]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Say where the numbers are.

        Args:
            counts: What this replica's sessions do.
            admission: What lets their frames into the graph.
            sessions: Those that are open.
            rooms: Likewise.
            args: The graph's arguments.
            version: The release.
            replica: This replica's name.
            engine: Asks what the model is.
            graph: Asks how the deployments are.
            clock: That of the sessions.
        """
        self._counts = counts
        self._window = Window(counts, clock)
        self._admission = admission
        self._sessions = sessions
        self._rooms = rooms
        self._args = args
        self._version = version
        self._replica = replica
        self._engine = Answer("the model", engine, GRAPH_TIMEOUT_S, clock)
        self._graph = Answer("Serve's controller", graph, GRAPH_TIMEOUT_S, clock)
        self._report = Answer("this replica", self._collect, _REPORT_TIMEOUT_S, clock)
        self._clock = clock
        self._began_s = clock()

    async def report(self) -> dict[str, Any] | None:
        """Everything there is to tell, as JSON takes it; docs/operations.md has the keys. None: see the log."""
        return await self._report()

    async def _collect(self) -> dict[str, Any]:
        engine, graph = await asyncio.gather(self._engine(), self._graph())
        now_s, admission = self._clock(), self._admission
        rows = sorted((session.row(now_s) for session in self._sessions), key=_slowness, reverse=True)
        report = {
            "version": self._version,
            "replica": self._replica,
            "uptime_s": round(now_s - self._began_s, 1),
            "engine": engine and asdict(engine),
            "graph": graph and asdict(graph),
            "target_age_ms": self._args.quality.target_age_ms,
            "recent": self._window.describe(),
            "admission": {
                "limit": admission.limit,
                "in_flight": admission.in_flight,
                "waiting": admission.waiting,
                "pressure": round(admission.pressure, 2),
                "batch": round(admission.fill * self._args.batch.max_size, 1),
                "max_batch": self._args.batch.max_size,
            },
            "sessions": {
                "open": self._counts.open_sessions,
                "max": self._args.max_sessions,
                "slowest": rows[:MAX_ROWS],
            },
        }
        rooms = sorted(map(_room_row, self._rooms), key=lambda row: row["viewers"], reverse=True)
        report["rooms"] = {"open": len(rooms), "max": self._rooms.limits.max_rooms, "largest": rooms[:MAX_ROWS]}
        return {**report, "findings": findings(report)}


def _room_row(room: Room) -> dict[str, Any]:
    """A row for a table of rooms. Its id opens nothing."""
    here = room.attendance
    return {
        "room": room.id,
        "cameras": len(room.cameras),
        "away": sum(camera.away for camera in room.cameras),
        "viewers": room.viewers,
        "viewers_here": here.viewers,
        "replicas": 1 + len(room.others),
        "locked": room.locked,
    }


def _slowness(row: Mapping[str, Any]) -> float:
    return float(row["age_ms_p50"] or row["total_ms_p50"] or 0.0)


def findings(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a person should know first.

    Args:
        report: As :meth:`Status.report` has it.

    Returns:
        ``{level, text}`` each, the worst first; ``level`` is ``bad``, ``warn`` or ``good``. At least one.
    """
    bad: list[str] = []
    warn: list[str] = []
    graph, recent, sessions = report["graph"], report["recent"], report["sessions"]
    if graph is None:
        bad.append("Serve's controller does not answer: how the deployments are is not known.")
    else:
        for deployment in graph["deployments"]:
            running, name = deployment["replicas"].get("RUNNING", 0), deployment["name"]
            if not running:
                bad.append(f"{name} has no running replica ({deployment['state'].lower()}).")
            elif deployment["state"] != "HEALTHY":
                warn.append(f"{name} is {deployment['state'].lower()}; {running} of its replicas run.")
        if graph["state"] != "RUNNING":
            warn.append(f"The application is {graph['state'].lower().replace('_', ' ')}; 'serve status' has Serve's words.")
    if report["engine"] is None:
        bad.append("The model does not say what it is: it is starting, or lost.")
    if recent["frames_in_s"] and not recent["sent_s"]:
        bad.append("Frames come in, and no splats go out.")
    defects = ((code, recent["errors"].get(code, [0])[0] + recent["refused"].get(code, [0])[0]) for code in _DEFECTS)
    warn += [f"{code}: {count} in the last {recent['seconds']:.0f} s; the log has them." for code, count in defects if count]
    if sessions["open"] >= _FULL * sessions["max"]:
        warn.append(f"{sessions['open']} of {sessions['max']} sessions are taken.")
    age, target_ms = recent["age_ms"].get("p50", 0.0), report["target_age_ms"]
    if age > _OLD * target_ms:
        warn.append(f"What people see is {age:.0f} ms old in the middle; the target is {target_ms:.0f}.")
    if (pressure := report["admission"]["pressure"]) > _HIGH_PRESSURE and recent["sent_s"]:
        warn.append(f"{pressure:.1f} frames are wanted for every one that the graph gets through: it is short of replicas.")
    good = [] if bad or warn else ["The stream is well." if recent["sent_s"] else "All is up. Nobody streams."]
    return [{"level": level, "text": text} for level, texts in (("bad", bad), ("warn", warn), ("good", good)) for text in texts]
