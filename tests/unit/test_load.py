"""The load tool: its pure parts, and a whole run against the real ASGI app."""

import asyncio
import json
import time
from argparse import ArgumentTypeError
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import percentiles, table
from benchmarks.load.__main__ import local_config, main, server_processes
from benchmarks.load.arguments import is_loopback, parse
from benchmarks.load.kinds import KINDS, parse_mix
from benchmarks.load.link import Profile, open_link
from benchmarks.load.original import OriginalReply
from benchmarks.load.original import parse as parse_original
from benchmarks.load.report import build_report, client_limits, fairness, quality_changes, server_usage
from benchmarks.load.run import Outcome, run
from benchmarks.load.schedule import CLOSED_LOOP, Schedule, Step, next_refresh_s, plan, ramp, steps
from benchmarks.load.session import Client, FrameRecord, LoadSession
from benchmarks.load.table import describe
from benchmarks.processes import Look, Usage
from deployments.client import ClientError
from deployments.config import GraphArgs
from deployments.stream.counts import Counts, time_of
from deployments.stream.messages import Dropped, Error, QualityState
from tests.pictures import jpeg
from tests.server import free_port
from tests.stub_server import BROKEN, OVERLOAD, REPLY_BYTES, StubPipeline, stub_server

ABOUT = {
    "args": {
        "sessions": 1,
        "fps": 10.0,
        "closed_loop": False,
        "duration_s": 1.0,
        "warmup_s": 0.0,
        "frame": (64, 48),
        "url": "ws://127.0.0.1:1/ws",
    },
    "server": {"engine": {"label": "A stub"}},
    "machine": {"cpu": "a processor", "cores": 2},
}


def text_of(report: dict[str, Any]) -> str:
    return describe({**ABOUT, **report})


# --- when to send ---


def due_times(schedule: Schedule) -> list[float]:
    times: list[float] = []
    while (due := schedule.due_s(len(times), None)) is not None and due < schedule.end_s:
        times.append(due)
    return times


@given(st.integers(1, 40), st.floats(0.5, 60), st.floats(0, 5), st.floats(0.5, 20))
def test_an_open_loop_offers_the_rate_whatever_is_unanswered(sessions: int, fps: float, warmup_s: float, duration_s: float) -> None:
    for schedule in plan(sessions, fps, warmup_s, duration_s):
        times = due_times(schedule)
        assert abs(len(times) - (warmup_s + duration_s) * fps) <= 1
        assert times == sorted(times)


def test_open_loop_sessions_are_spread_over_a_frames_time() -> None:
    starts = [schedule.due_s(0, None) for schedule in plan(4, 10.0, 0.0, 1.0)]
    assert starts == pytest.approx([0.0, 0.025, 0.05, 0.075])


def test_a_closed_loop_waits_for_the_answer() -> None:
    (schedule,) = plan(1, CLOSED_LOOP, 1.0, 2.0)
    assert schedule.due_s(5, None) is None
    assert schedule.due_s(5, 1.25) == 1.25
    assert (schedule.measure_from_s, schedule.end_s) == (1.0, 3.0)


def test_a_paced_session_keeps_an_open_loops_times_and_waits_for_the_answer() -> None:
    schedule = Schedule(5.0, 0.1, 0.0, 10.0, waits=True)
    assert schedule.due_s(0, 0.0) == pytest.approx(0.1)
    assert schedule.due_s(1, None) is None
    assert schedule.due_s(1, 0.15) == pytest.approx(0.3) and schedule.due_s(1, 0.71) == pytest.approx(0.9)


@given(st.floats(0, 100), st.floats(0.5, 60), st.floats(0, 2))
def test_a_paced_frame_is_due_after_the_answer_and_not_a_whole_period_later(idle_s: float, fps: float, phase_s: float) -> None:
    due_s = Schedule(fps, phase_s, 0.0, 1000.0, waits=True).due_s(7, idle_s)
    assert due_s is not None and due_s >= phase_s
    assert idle_s - 1e-9 <= due_s <= max(phase_s, idle_s + 1.0 / fps) + 1e-9


def test_a_ramps_sessions_join_with_their_step_and_stay() -> None:
    parts = steps([1, 2, 4], warmup_s=3.0, step_s=10.0)
    assert parts == [Step(1, 3.0, 13.0), Step(2, 13.0, 23.0), Step(4, 23.0, 33.0)]
    schedules = ramp(parts, 5.0)
    assert [schedule.join_s for schedule in schedules] == [0.0, 13.0, 23.0, 23.0]
    assert {(schedule.measure_from_s, schedule.end_s) for schedule in schedules} == {(3.0, 33.0)}
    firsts = [schedule.due_s(0, None) for schedule in schedules]
    assert firsts == pytest.approx([0.0, 13.05, 23.1, 23.15]), "spread over a frame's time"
    assert [schedule.join_s for schedule in ramp(parts, CLOSED_LOOP)] == [0.0, 13.0, 23.0, 23.0]


def test_a_screen_shows_at_its_next_refresh() -> None:
    assert next_refresh_s(1.0, 50.0, 0.005) == pytest.approx(1.005)
    assert next_refresh_s(1.006, 50.0, 0.005) == pytest.approx(1.025)


# --- who comes ---


def test_a_mix_names_kinds_and_how_many() -> None:
    assert parse_mix("viewer:4, slow:1,idle:8") == {"viewer": 4, "slow": 1, "idle": 8}


@pytest.mark.parametrize("text", ["viewer", "viewer:0", "nobody:1", "viewer:1,viewer:2", "viewer:x", ""])
def test_a_wrong_mix_is_refused_with_the_kinds_there_are(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="viewer, points, slow, deaf"):
        parse_mix(text)


def test_a_session_of_the_original_protocol_waits_for_its_answers() -> None:
    schedule = Schedule(10.0, 0.0, 0.0, 1.0)
    assert LoadSession(0, client(""), schedule, "original").schedule.waits
    assert not LoadSession(0, client(""), schedule).schedule.waits


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"type": "pointcloud", "num_points": 2, "points": b"p" * 24, "colors": b"c" * 6, "timestamp": 1.0}, OriginalReply(30, 2)),
        ({"type": "gaussian_ply", "ply_data": b"ply", "timestamp": 1.0}, OriginalReply(3, 0)),
        ({"type": "error", "code": "image_broken", "message": "It is.", "seq": None}, Error("image_broken", "It is.")),
    ],
)
def test_replies_of_the_original_protocol_are_read(message: dict[str, Any], expected: OriginalReply | Error) -> None:
    assert parse_original(msgpack.packb(message)) == expected


@pytest.mark.parametrize("data", [msgpack.packb({"type": "splats"}), "text", msgpack.packb(3)])
def test_what_the_original_protocol_does_not_have_is_an_error(data: bytes | str) -> None:
    with pytest.raises(ClientError, match="Expected a reply of the original protocol"):
        parse_original(data)


# --- what to say ---


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_percentiles_rise_and_lie_within_the_values(values: list[float]) -> None:
    found = percentiles(values)
    assert found
    assert min(values) - 1e-3 <= found["p50"] <= found["p90"] <= found["p95"] <= found["p99"] <= found["max"]
    assert found["max"] == round(max(values), 3)


def test_percentiles_interpolate_and_nothing_has_none() -> None:
    assert percentiles(range(101)) == {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "max": 100.0, "mean": 50.0}
    assert percentiles([]) is None


def test_a_table_lines_up_and_shows_what_is_missing_as_a_dash() -> None:
    assert table(["", "ms", "of"], [["decode", 123.46, "a"], ["x", None, 7], ["y", 1.5, float("nan")]]).splitlines() == [
        "|        |    ms | of |",
        "|--------|------:|---:|",
        "| decode | 123.5 |  a |",
        "| x      |     – |  7 |",
        "| y      |  1.50 |  – |",
    ]


def test_fairness_names_the_least_and_the_most() -> None:
    assert fairness([4, 6]) == {"min_frames": 4, "max_frames": 6, "max_over_min": 1.5}
    assert fairness([0, 6])["max_over_min"] is None


def quality(max_splats: int, px: int = 0, cause: str = "") -> QualityState:
    return QualityState(max_splats, px, 1.0, 1.0, cause, "")


def test_quality_changes_are_counted_by_the_cause_that_came_with_them() -> None:
    states = [quality(100), quality(100), quality(50, 0, "network"), quality(50, 0, "network"), quality(60, 0, "recovered")]
    assert quality_changes([*states, quality(60, 196, "compute"), quality(60, 196, "compute")]) == {
        "compute": 1,
        "network": 1,
        "recovered": 1,
    }
    assert quality_changes([]) == {}


def test_the_servers_usage_is_by_part_over_the_measured_time() -> None:
    def look(at_s: float, cpu_s: float, memory: int, **metrics: float) -> Look:
        return Look(at_s, {1: ("Ingress", Usage(cpu_s, memory, 10, 4)), 2: ("proxy", Usage(1.0, 10**7, 10, 4))}, metrics)

    looks = [look(3.0, 5.0, 10**8, store_bytes=1e6), look(5.0, 5.4, 3 * 10**8, store_bytes=4e6), look(13.0, 7.0, 2 * 10**8)]
    usage = server_usage(looks)
    assert usage["seconds"] == 10.0 and usage["cores"] == 0.2 and usage["most_object_store_mb"] == 4.0
    assert usage["parts"]["Ingress"] == {"processes": 1, "cores": 0.2, "memory_mb": 200.0, "most_memory_mb": 300.0}
    assert usage["most_memory_mb"] == 310.0
    assert "too short" in server_usage(looks[:1])["not_measured"]


def test_kinds_have_rows_of_their_own() -> None:
    def session(index: int, kind: str, *frames: FrameRecord) -> LoadSession:
        made = LoadSession(index, client(""), Schedule(10.0, 0.0, 0.0, 2.0), kind)
        made.frames.extend(frames)
        return made

    outcome = Outcome(
        [
            session(0, "viewer", frame(0.0, 0.1, quality=quality(100)), frame(0.1, 0.1, quality=quality(50, 0, "network"))),
            session(1, "viewer", frame(0.0, 0.1, quality=quality(100))),
            session(2, "slow", frame(0.0, 0.9), frame(0.5, 0.1, "dropped", "slow_client")),
        ],
        2.0,
        [1.0],
        0.1,
    )
    report = build_report(outcome, 20.0, not_measured="not on this machine")
    viewer, slow = report["kinds"]["viewer"], report["kinds"]["slow"]
    assert list(report["kinds"]) == ["viewer", "slow"] and viewer["sessions"] == 2
    assert viewer["fairness"]["max_over_min"] == 2.0 and viewer["quality"]["changes"] == {"network": 1}
    assert viewer["quality"]["final_max_splats"] == 75
    assert slow["frames"]["dropped"] == {"slow_client": 1} and slow["age_ms"]["p50"] == pytest.approx(900.0)
    text = text_of(report)
    assert "3 sessions (2 viewer, 1 slow)" in text and "1 slow_client" in text and "not measured: not on this machine" in text


def test_a_ramps_steps_have_rows_of_the_sessions_that_were_there() -> None:
    parts = steps([1, 2], 0.0, 1.0)
    sessions = [LoadSession(index, client(""), schedule) for index, schedule in enumerate(ramp(parts, 10.0))]
    sessions[0].frames.extend([frame(0.5, 0.1), frame(1.5, 0.2), frame(1.6, 0.2)])
    sessions[1].frames.append(frame(1.5, 0.4))
    report = build_report(Outcome(sessions, 2.0, [1.0], 0.1), 20.0, parts)
    one, two = report["steps"]
    assert (one["sessions"], one["frames"]["offered"], one["age_ms"]["p50"]) == (1, 1, pytest.approx(100.0))
    assert (two["sessions"], two["delivered_fps"], two["fairness"]["max_over_min"]) == (2, 3.0, 2.0)
    assert "from s" in text_of(report)


def test_a_client_that_kept_up_has_no_excuse_and_one_that_did_not_says_why() -> None:
    assert client_limits([1.0] * 100, [2.0] * 100, 0.5, 20.0) == []
    assert client_limits([1.0] * 99 + [500.0], [], 0.5, 20.0) == [], "one stumble in a hundred is let pass"
    (lag,) = client_limits([1.0] * 90 + [50.0] * 10, [], 0.5, 20.0)
    assert "event loop lag" in lag and "50.0 ms" in lag and "bound 20 ms" in lag
    (slip,) = client_limits([], [30.0] * 10, 0.5, 20.0)
    assert "send schedule slip" in slip
    (cpu,) = client_limits([], [], 0.97, 20.0)
    assert "97%" in cpu


def recorded(*frames: FrameRecord, measure_from_s: float = 0.0) -> Outcome:
    session = LoadSession(0, Client("", []), Schedule(10.0, 0.0, measure_from_s, measure_from_s + 2.0))
    session.frames.extend(frames)
    return Outcome([session], 2.0, [1.0], 0.1)


def frame(due_s: float, age_s: float | None = None, outcome: str = "delivered", reason: str = "", **more: Any) -> FrameRecord:
    answered_s = None if age_s is None else due_s + age_s
    return FrameRecord(due_s, due_s, due_s, answered_s, outcome, reason, **more)


def test_every_measured_frame_is_counted_once_and_warm_up_is_not() -> None:
    outcome = recorded(
        frame(0.5, 9.0),
        frame(1.0, 0.1, reply_bytes=1000, splats=10, sent_bytes=100, timings_ms={"infer": 20.0, "total": 60.0}),
        frame(1.1, 0.3, reply_bytes=3000, splats=30, sent_bytes=100, timings_ms={"infer": 40.0, "total": 60.0}),
        frame(1.2, 0.1, "dropped", "superseded"),
        frame(1.3, 0.1, "dropped", "superseded"),
        frame(1.4, 0.1, "dropped", "stale"),
        frame(1.5, 0.1, "errored", "image_broken"),
        frame(1.6, None, "unanswered"),
        measure_from_s=1.0,
    )
    report = build_report(outcome, 20.0)
    assert report["frames"] == {
        "offered": 7,
        "sent": 7,
        "delivered": 2,
        "dropped": {"stale": 1, "superseded": 2},
        "errored": {"image_broken": 1},
        "unanswered": 1,
    }
    assert report["age_ms"]["p50"] == pytest.approx(200.0) and report["age_ms"]["max"] == pytest.approx(300.0)
    assert report["stages_ms"]["infer"]["p50"] == 30.0 and report["stages_ms"]["decode"] is None
    assert report["stages_ms"]["outside"]["p50"] == pytest.approx(140.0)
    assert report["bytes"]["received"] == 4000 and report["bytes"]["down_mbit_s"] == 0.016
    assert report["delivered_fps"] == 1.0
    assert report["is_measurement"]
    json.dumps(report)


def test_the_table_has_the_figures_and_says_when_they_are_none() -> None:
    good = build_report(recorded(frame(0.0, 0.25, timings_ms={"total": 1.0})), 20.0)
    assert "250.0" in text_of(good) and "1 delivered" in text_of(good) and "NOT A MEASUREMENT" not in text_of(good)
    late = recorded(frame(0.0, 0.25))
    late.sessions[0].frames[0].woke_s = 0.2
    text = text_of(build_report(late, 20.0))
    assert "NOT A MEASUREMENT" in text and "send schedule slip: p99 200.0 ms" in text


def test_a_run_without_a_frame_is_no_measurement_and_still_a_report() -> None:
    report = build_report(recorded(), 20.0)
    assert not report["is_measurement"] and report["age_ms"] is None
    assert "no frame fell due" in text_of(report)


# --- a whole run ---


def client(url: str, *clip: bytes, codecs: Sequence[str] = ("packed",), **more: Any) -> Client:
    return Client(url, clip or (jpeg(),), codecs, **more)


async def test_an_open_loop_against_the_real_app_accounts_for_every_frame() -> None:
    pipeline = StubPipeline()
    async with stub_server(pipeline) as url:
        outcome = await run(client(url), plan(3, 50.0, 0.1, 0.4), drain_s=5.0)
    report = build_report(outcome, 1e6)
    frames = report["frames"]
    assert 57 <= frames["offered"] <= 63 and frames["sent"] == frames["offered"] and frames["unanswered"] == 0
    assert frames["delivered"] + sum(frames["dropped"].values()) == frames["offered"]
    assert frames["delivered"] > 0 and report["stages_ms"]["infer"]["p50"] == 2.0
    assert report["bytes"]["received"] == frames["delivered"] * REPLY_BYTES
    assert report["extensions"] == [] and [entry["failure"] for entry in report["sessions"]] == [None] * 3


async def test_a_closed_loop_drops_nothing() -> None:
    async with stub_server(StubPipeline()) as url:
        outcome = await run(client(url), plan(2, CLOSED_LOOP, 0.05, 0.3), drain_s=5.0)
    frames = build_report(outcome, 1e6)["frames"]
    assert frames["offered"] == frames["delivered"] > 0


async def test_refusals_and_drops_are_told_apart() -> None:
    async with stub_server(StubPipeline()) as url:
        outcome = await run(client(url, jpeg(), BROKEN, OVERLOAD), plan(1, CLOSED_LOOP, 0.0, 0.5), drain_s=5.0)
    frames = build_report(outcome, 1e6)["frames"]
    assert frames["delivered"] and frames["dropped"].keys() == {"overloaded"} and frames["errored"].keys() == {"image_broken"}
    assert frames["unanswered"] == 0


async def test_a_server_that_never_answers_does_not_keep_the_run_from_ending() -> None:
    pipeline = StubPipeline()
    pipeline.gate.clear()
    async with stub_server(pipeline) as url:
        outcome = await run(client(url), plan(1, 20.0, 0.0, 0.3), drain_s=0.1)
    report = build_report(outcome, 1e6)
    in_graph, waiting = GraphArgs().session.max_in_flight, 1
    assert report["frames"]["unanswered"] == in_graph + waiting and report["frames"]["delivered"] == 0
    assert report["age_ms"] is None and text_of(report)


async def test_drops_beyond_the_numbers_a_notice_names_are_the_ones_right_below() -> None:
    async def replies() -> AsyncIterator[Dropped]:
        yield Dropped("superseded", "", 100, list(range(40, 104)))

    session = LoadSession(0, client(""), Schedule(10.0, 0.0, 0.0, 1.0))
    session.frames.extend(frame(0.0, None, "unanswered") for _ in range(110))
    await session._read(replies())  # type: ignore[arg-type]
    assert [index for index, record in enumerate(session.frames) if record.outcome == "unanswered"] == [
        0,
        1,
        2,
        3,
        *range(104, 110),
    ]


async def test_an_answer_that_nobody_waits_for_is_a_failure() -> None:
    async def replies() -> AsyncIterator[Error]:
        yield Error("image_broken", "", 0)
        yield Error("image_broken", "", 0)

    session = LoadSession(0, client(""), Schedule(10.0, 0.0, 0.0, 1.0))
    session.frames.append(frame(0.0, None, "unanswered"))
    with pytest.raises(ClientError, match="which nobody waits for"):
        await session._read(replies())  # type: ignore[arg-type]


async def test_sessions_that_fail_to_open_are_named_and_the_others_run() -> None:
    async with stub_server(StubPipeline(), GraphArgs(max_sessions=2)) as url:
        outcome = await run(client(url), plan(3, 20.0, 0.0, 0.2), drain_s=5.0)
    report = build_report(outcome, 1e6)
    failures = [entry["failure"] for entry in report["sessions"]]
    assert sum(failure is None for failure in failures) == 2
    assert "limit of 2 sessions" in next(filter(None, failures))
    assert "1 sessions ended early" in text_of(report)


async def test_nobody_there_is_an_error_at_once() -> None:
    with pytest.raises(ClientError, match="Can't open"):
        await run(client(f"ws://127.0.0.1:{free_port()}/ws"), plan(2, 20.0, 0.0, 60.0), drain_s=5.0)


async def test_a_server_that_goes_away_ends_the_sessions_with_a_reason() -> None:
    pipeline = StubPipeline()
    async with stub_server(pipeline) as url:
        running = asyncio.ensure_future(run(client(url), plan(1, 20.0, 0.0, 30.0), drain_s=5.0))
        while not pipeline.captures:
            await asyncio.sleep(0.001)
    outcome = await asyncio.wait_for(running, 10)
    assert outcome.sessions[0].failure and outcome.sessions[0].failure.code == "closed"


async def test_a_viewer_says_what_its_screen_showed_and_how_old_it_was() -> None:
    counts = Counts()
    async with stub_server(StubPipeline(), counts=counts) as url:
        outcome = await run(client(url), plan(1, 10.0, 0.0, 0.5), drain_s=5.0)
    delivered = [record for record in outcome.sessions[0].frames if record.outcome == "delivered"]
    ages_ms = sorted(time_of(step) for (_, step), count in counts.snapshot().cells["age_ms"].items() for _ in range(count))
    # It may leave before the last one is on its screen.
    assert len(ages_ms) >= len(delivered) - 1 > 0
    arrived_ms = sorted((record.answered_s - record.due_s) * 1e3 for record in delivered if record.answered_s is not None)
    assert all(age >= 0.99 * arrived for age, arrived in zip(ages_ms, arrived_ms, strict=False)), "shown after it has arrived"


async def test_every_kind_gets_its_answers_in_one_run() -> None:
    kinds = [kind for kind in KINDS if kind != "deaf"]
    schedules = plan(len(kinds), 10.0, 0.0, 1.0)
    async with stub_server(StubPipeline()) as url:
        outcome = await run(client(url, codecs=["packed", "points"]), schedules, drain_s=5.0, kinds=kinds)
    rows = build_report(outcome, 1e6)["kinds"]
    assert [row["ended_early"] for row in rows.values()] == [0] * len(kinds), outcome.sessions
    assert rows["idle"]["frames"]["offered"] == 0
    for kind in set(kinds) - {"idle"}:
        assert rows[kind]["frames"]["delivered"] > 0 and rows[kind]["frames"]["unanswered"] == 0, kind


async def test_a_deaf_client_takes_one_reply_and_sends_on() -> None:
    async with stub_server(StubPipeline()) as url:
        outcome = await run(client(url), plan(1, 20.0, 0.0, 1.0), drain_s=5.0, kinds=["deaf"])
    row = build_report(outcome, 1e6)["kinds"]["deaf"]["frames"]
    assert row["delivered"] <= 3, "the first one, and what was on the wire with it"
    assert row["sent"] == row["offered"] == 20 == row["delivered"] + row["unanswered"]


async def test_a_session_joins_a_running_ramp_when_its_step_begins() -> None:
    parts = steps([1, 2], 0.0, 1.2)
    async with stub_server(StubPipeline()) as url:
        outcome = await run(client(url), ramp(parts, 10.0), drain_s=5.0)
    first, second = outcome.sessions
    assert first.failure is None and second.failure is None
    assert min(record.due_s for record in second.frames) >= 1.2 > first.frames[0].due_s
    assert build_report(outcome, 1e6, parts)["steps"][1]["frames"]["delivered"] > 0


async def test_a_narrow_link_carries_what_it_may_and_a_stopped_one_nothing() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(200_000))
        await writer.drain()
        writer.write(await reader.readexactly(3))
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/ws"
    async with listener:
        async with open_link(url, Profile(8.0)) as link:
            reader, writer = await connected_to(link.url)
            began_s = time.monotonic()
            assert await reader.readexactly(200_000) == bytes(200_000)
            assert time.monotonic() - began_s >= 0.19, "0.2 s at 8 Mbit/s"
            writer.write(b"end")
            assert await reader.read() == b"end"
            writer.close()
        async with open_link(url) as link:
            reader, writer = await connected_to(link.url)
            await reader.readexactly(1)
            link.stop(both_ways=True)
            writer.write(b"end")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_all_of(reader), 0.2)
            link.cut()
            with suppress(ConnectionError):
                await asyncio.wait_for(_all_of(reader), 5.0)
            writer.close()


async def test_a_long_link_delays_both_ways_and_changes_when_it_is_told_to() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
        writer.close()

    listener = await asyncio.start_server(echo, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/ws"

    async def there_and_back_s(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> float:
        began_s = time.monotonic()
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent
        return time.monotonic() - began_s

    async with listener, open_link(url, Profile(round_trip_ms=200.0)) as link:
        reader, writer = await connected_to(link.url)
        assert await there_and_back_s(reader, writer, b"far") >= 0.19
        link.profile = Profile(0.8)
        assert await there_and_back_s(reader, writer, bytes(range(200)) * 100) >= 0.19, "20 kB at 0.8 Mbit/s"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_viewers_behind_links_that_change_are_reported_span_by_span() -> None:
    async with stub_server(StubPipeline()) as url:
        profiles = [(0.0, Profile(50.0, 20.0)), (0.5, Profile(50.0, 300.0))]
        parts = steps([1, 1], 0.0, 0.5)
        outcome = await run(replace(client(url), profiles=profiles), ramp(parts, 20.0), drain_s=5.0)
    near, far = build_report(outcome, 1e6, parts)["steps"]
    assert near["age_ms"]["p50"] < 200 < far["age_ms"]["max"]


@pytest.mark.parametrize("argv", [["--link", "2:60", "--ramp", "1,2"], ["--link", "2:60", "--mix", "slow:1"]])
def test_links_are_for_viewers_who_are_there_from_the_start(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(argv)
    assert "--link is for viewers" in capsys.readouterr().err


def test_links_are_read() -> None:
    assert parse(["--link", "50:60,2"]).link == [Profile(50.0, 60.0), Profile(2.0)]
    with pytest.raises(SystemExit):
        parse(["--link", "fast"])


async def connected_to(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(url)
    return await asyncio.open_connection(address.hostname, address.port)


async def _all_of(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def test_deflate_is_reported_when_the_server_agrees_to_it() -> None:
    async with stub_server(StubPipeline(), deflate=True) as url:
        outcome = await run(client(url), plan(1, 20.0, 0.0, 0.1), drain_s=5.0)
    report = build_report(outcome, 1e6)
    assert report["extensions"] == ["permessage-deflate"] and "NEGOTIATED" in text_of(report)


# --- the command ---


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("example.org", False), ("10.0.0.1", False)],
)
def test_loopback_is_told_from_elsewhere_without_asking_anyone(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--url", "ws://example.org/ws"], "example.org is not this machine"),
        (["--url", "ftp://127.0.0.1/"], "expected ws://HOST:PORT/ws or http://HOST:PORT/"),
        (["--sessions", "0"], "a whole number from 1 to 1000, got '0'"),
        (["--duration-s", "1e9"], "from 0.1 to 3600.0"),
        (["--frame", "8x8"], "expected WIDTHxHEIGHT"),
        (["--option", "max_splats"], "expected NAME=VALUE"),
        (["--mix", "nobody:1"], "expected KIND:COUNT"),
        (["--ramp", "2,1"], "rising whole numbers"),
        (["--ramp", "1,2", "--mix", "viewer:1"], "not allowed with"),
        (["--local", "nothing"], "the path of a serve config, got 'nothing'"),
        (["--latency-ms", "5"], "need --local synthetic"),
        (["--url", "wss://127.0.0.1/ws", "--mix", "slow:1"], "needs a ws:// address"),
    ],
)
def test_wrong_arguments_are_refused_with_words(argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(argv)
    assert exit_.value.code == 2 and sentence in capsys.readouterr().err


def test_options_reach_the_session_as_what_they_are() -> None:
    args = parse(["--option", "max_splats=5000", "--option", "codec=points", "--codecs", "points, ply", "--frame", "320x240"])
    assert args.options == {"max_splats": 5000, "codec": "points"}
    assert args.codecs == ["points", "ply"] and args.frame == (320, 240)
    assert parse(["--url", "wss://example.org/ws", "--allow-remote"]).url == "wss://example.org/ws"


@pytest.mark.parametrize(
    ("page", "socket"),
    [
        ("http://127.0.0.1:8000/", "ws://127.0.0.1:8000/ws"),
        ("http://localhost:8000/#token=abc", "ws://localhost:8000/ws"),
        ("https://[::1]/splat", "wss://[::1]/splat/ws"),
        ("ws://127.0.0.1:8000/splat/ws", "ws://127.0.0.1:8000/splat/ws"),
    ],
)
def test_the_page_that_make_run_prints_stands_for_its_socket(page: str, socket: str) -> None:
    assert parse(["--url", page]).url == socket


def test_a_local_server_has_one_replica_of_the_engine() -> None:
    config = local_config(parse(["--local", "synthetic", "--latency-ms", "100"]))
    assert isinstance(config, dict)
    (application,) = config["applications"]
    assert application["args"]["engine"] == {"name": "synthetic", "params": {"latency_ms": 100.0}}
    (inference,) = (entry for entry in application["deployments"] if entry["name"] == "GaussianInference")
    assert inference["num_replicas"] == 1 and inference["autoscaling_config"] is None


def test_a_server_elsewhere_is_not_looked_at() -> None:
    assert server_processes("ws://example.org/ws") == (None, "not on this machine")
    _, reason = server_processes(f"ws://127.0.0.1:{free_port()}/ws")
    assert "no process that can be seen from here" in reason


async def test_the_command_prints_a_table_and_writes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run.json"
    async with stub_server(StubPipeline()) as url:
        argv = ["--url", url, "--sessions", "2", "--fps", "20", "--duration-s", "0.3", "--warmup-s", "0", "--frame", "64x48"]
        status = await asyncio.to_thread(main, [*argv, "--max-lag-ms", "1000", "--out", str(out)])
    report = json.loads(out.read_text())
    assert status == 0, capsys.readouterr()
    assert report["schema"] == "splatcast.load/3" and report["frames"]["delivered"] > 0
    assert report["server_usage"] == {"not_measured": "client and server are one process"}
    assert report["server"]["engine"]["label"] == "A stub" and report["machine"]["cores"] and "--fps 20" in report["command"]
    assert "age at delivery" in capsys.readouterr().out


async def test_the_command_takes_the_token_from_its_environment_and_tells_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, token = tmp_path / "run.json", "0123456789abcdef-load"
    async with stub_server(StubPipeline(), token=token) as url:
        argv = ["--url", url, "--sessions", "1", "--fps", "20", "--duration-s", "0.2", "--warmup-s", "0", "--frame", "64x48"]
        argv += ["--max-lag-ms", "1000", "--out", str(out)]
        assert await asyncio.to_thread(main, argv) == 2, "it is not let in without"
        assert "SPLATCAST_TOKEN" in capsys.readouterr().err
        monkeypatch.setenv("SPLATCAST_TOKEN", token)
        assert await asyncio.to_thread(main, argv) == 0, capsys.readouterr()
    assert token not in out.read_text() + "".join(capsys.readouterr())


def test_the_command_says_in_one_sentence_that_no_server_runs_and_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert main(["--url", f"http://127.0.0.1:{port}/"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"benchmarks.load: no server answers at 127.0.0.1:{port}") and "start one with `make run`" in said
    assert len(said.splitlines()) == 1


async def test_the_command_ends_with_3_when_it_measured_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async with stub_server(StubPipeline()) as url:
        argv = ["--url", url, "--sessions", "1", "--fps", "0.1", "--duration-s", "0.1", "--warmup-s", "0.05", "--frame", "64x48"]
        assert await asyncio.to_thread(main, argv) == 3
    assert "NOT A MEASUREMENT" in capsys.readouterr().out
