"""Whatever acks say, and however many come: limits stay in their bounds, memory is bounded, frames are within the options."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from deployments.stream import messages
from deployments.stream.messages import Ack
from deployments.stream.options import FrameOptions
from deployments.stream.quality import Quality, QualitySettings
from tests.unit.simulated import Link, World

OPTIONS = FrameOptions()
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
SEQS = st.one_of(st.integers(-3, 60), st.integers(-(2**63), 2**63))
ACKS = st.builds(Ack, SEQS, ANY_FLOAT, ANY_FLOAT, ANY_FLOAT, ANY_FLOAT)


def assert_sound(quality: Quality, wanted: FrameOptions) -> None:
    options = quality.setting(wanted).options
    assert min(wanted.min_splats, wanted.max_splats) <= options.max_splats <= wanted.max_splats
    assert not options.inference_px or wanted.min_inference_px <= options.inference_px
    assert len(quality._sent) <= quality.max_unacked and len(quality._round) <= 256
    assert 1 <= quality._window.size <= quality.max_unacked
    assert 0 < quality._target_s() <= quality.settings.target_age_ms / 1e3
    assert not math.isnan(quality._splats.limit + quality._px.limit + quality._fixed_s)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ACKS, st.floats(0.0, 3.0)), max_size=40), st.booleans())
def test_acks_may_say_anything(said: list[tuple[Ack, float]], also_true_ones: bool) -> None:
    world = World(Link(20.0))
    # It says what it likes in the place of the truth, or beside it.
    tell_the_truth = world._say if also_true_ones else lambda message: None
    world._show = lambda reply, received_s: tell_the_truth(Ack(reply.seq, 1.0, 1.0, 1.0, 50.0))  # type: ignore[method-assign]
    quality = world.session._quality
    for ack, after_s in said:
        world.run(world.link.now_s + after_s)
        world._say(ack)
        assert_sound(quality, OPTIONS)
    counts = world.session.counts
    assert world.session.closing is None and counts.total("acks") <= counts.total("sent")


def test_a_flood_of_acks_changes_nothing_and_costs_nothing() -> None:
    honest, flooded = World(Link(10.0)), World(Link(10.0))

    def flood() -> None:
        for seq in (-1, 0, 3, 2**53, *range(20)):
            # Of replies that were acknowledged before, or that never were: the next one's is left alone.
            if not flooded.session._delivery.is_expected(seq):
                flooded.session.received(messages.encode(Ack(seq, 1.0, 1e300, 1e300, 50_000.0)), flooded.link.now_s)

    flooded.link.every(0.05, flood)
    for world in (honest, flooded):
        world.run(20.0)
    assert flooded.causes == honest.causes and flooded.splats(0.0) == honest.splats(0.0)
    assert flooded.session.counts.total("acks") == honest.session.counts.total("acks")
    assert_sound(flooded.session._quality, OPTIONS)


def test_a_client_that_acknowledges_at_once_whatever_there_may_be_keeps_its_full_quality() -> None:
    world = World(Link(10.0))
    world.link.every(0.01, lambda: world._say(Ack(2**53)))
    world.run(20.0)
    assert world.causes == []
    assert_sound(world.session._quality, OPTIONS)


@pytest.mark.parametrize("adapts", [True, False])
def test_a_client_that_never_acknowledges_gets_no_more_than_a_few_replies(adapts: bool) -> None:
    world = World(Link(100.0), options={"adapt": adapts})
    world._show = lambda reply, received_s: world.shown.append((world.link.now_s, 0.0, reply))  # type: ignore[method-assign]
    world.run(30.0)
    assert 1 <= len(world.shown) <= 4
    assert_sound(world.session._quality, OPTIONS)


def test_memory_does_not_grow_with_the_time_of_a_session() -> None:
    world = World(Link(200.0), settings=QualitySettings(target_age_ms=60.0)).run(60.0)
    assert len(world.shown) > 500
    assert_sound(world.session._quality, OPTIONS)
