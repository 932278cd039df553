"""The autoscaling policy against simulated replicas, with Serve's own delays around it, in virtual time."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from ray.serve._private.common import DeploymentID
from ray.serve.autoscaling_policy import _apply_delay_logic
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from deployments.ops.autoscaling import FramesWanted, Load, Reports, WorkTotals, desired_replicas, measure

TICK_S = 0.25
START_UP_S = 5.0
CONFIG = {
    "min_replicas": 1,
    "max_replicas": 8,
    "upscale_delay_s": 2,
    "downscale_delay_s": 10,
    "look_back_period_s": 4,
    "metrics_interval_s": 1,
}
ID = DeploymentID("GaussianInference", "splatcast")


@dataclass
class Replica:
    """Serves its share of what admission lets in, one batch after the other."""

    ready_s: float
    skew_s: float = 0.0
    totals: WorkTotals = field(default_factory=WorkTotals)
    reports: list[tuple[float, dict[str, float]]] = field(default_factory=list)


@dataclass
class Cluster:
    """Replicas, admission before them (served = at most capacity), and Serve's decisions four times a second.

    Args:
        frame_s: A replica's time for a frame; for a batch of any size if ``free_company``, else for each of its frames.
        skews_s: How far the clocks of the replicas' nodes are ahead of the controller's, in turn.
    """

    frame_s: float = 0.1
    batch: int = 1
    free_company: bool = True
    ingresses: int = 1
    noise: float = 0.0
    skews_s: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        self.config = AutoscalingConfig(**CONFIG)  # type: ignore[arg-type]
        self.policy = FramesWanted()
        self.now_s = 1000.0
        self.replicas = [Replica(self.now_s, self.skews_s[0])]
        self.targets: list[tuple[float, int]] = []
        self._state: dict[str, object] = {}
        self._random = random.Random(7)

    @property
    def running(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.ready_s <= self.now_s]

    @property
    def target(self) -> int:
        return len(self.replicas)

    def run(self, seconds: float, wanted_fps: Callable[[float], float] | float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            self._serve(wanted_fps if isinstance(wanted_fps, (int, float)) else wanted_fps(self.now_s))
            self.now_s += TICK_S
            self._report()
            self._decide()

    def _serve(self, wanted_fps: float) -> None:
        running = self.running
        largest = self.batch if self.free_company else 1
        most_fps = largest / self.frame_s * len(running)
        served_fps = min(wanted_fps, most_fps) * (1 + self.noise * self._random.uniform(-1, 1))
        pressure = max(1.0, wanted_fps / served_fps) if served_fps else 1.0
        for index, replica in enumerate(running):
            frames = served_fps / len(running) * TICK_S
            # Few frames go one by one as they come; many fill the batches.
            size = max(1.0, min(self.batch, served_fps / len(running) * self.frame_s))
            if not self.free_company:
                size = self.batch if pressure > 1.01 else 1.0
            batch_s = self.frame_s * (1.0 if self.free_company else size)
            replica.totals.frames += frames  # type: ignore[assignment]
            # Half of the ingresses see twice the pressure of the others.
            skew = 1.0 if self.ingresses == 1 or pressure == 1.0 else (0.5 + index % 2)
            replica.totals.wanted += frames * max(1.0, pressure * skew)
            replica.totals.room += frames / size * self.batch  # type: ignore[assignment]
            replica.totals.busy_s += min(TICK_S, frames / size * batch_s)

    def _report(self) -> None:
        for replica in self.running:
            node_s = self.now_s + replica.skew_s
            replica.reports.append((node_s, replica.totals.report(node_s)))
            replica.reports = [report for report in replica.reports if report[0] >= node_s - self.config.look_back_period_s]

    def context(self) -> AutoscalingContext:
        running = self.running
        series = {
            name: {id(r): [SimpleNamespace(timestamp=when_s, value=report[name]) for when_s, report in r.reports] for r in running}
            for name in ("frames", "wanted", "room", "busy_s")
        }
        return AutoscalingContext(
            deployment_id=ID, deployment_name=ID.name, app_name=ID.app_name, current_num_replicas=len(running),
            target_num_replicas=self.target, running_replicas=[id(r) for r in running],  # type: ignore[misc]
            total_num_requests=0.0, total_queued_requests=0.0, aggregated_metrics=None, raw_metrics=series,  # type: ignore[arg-type]
            capacity_adjusted_min_replicas=1, capacity_adjusted_max_replicas=8, policy_state={}, last_scale_up_time=None,
            last_scale_down_time=None, current_time=self.now_s, config=self.config,
        )  # fmt: skip

    def _decide(self) -> None:
        desired, _ = self.policy(self.context())
        decided, self._state = _apply_delay_logic(desired, self.target, self.config, self._state, self.now_s)
        decided = min(max(decided, self.config.min_replicas), self.config.max_replicas)
        while self.target < decided:
            self.replicas.append(Replica(self.now_s + START_UP_S, self.skews_s[self.target % len(self.skews_s)]))
        del self.replicas[decided:]
        self.targets.append((self.now_s, decided))

    def changes(self) -> int:
        numbers = [number for _, number in self.targets]
        return sum(before != after for before, after in itertools.pairwise(numbers))


def test_a_step_to_four_times_the_capacity_is_answered_at_once_with_enough_replicas() -> None:
    cluster = Cluster()
    cluster.run(10, 2.0)
    assert cluster.target == 1
    cluster.run(4, 40.0)
    assert cluster.target >= 3, "the calm before the step still counts, and most of the way is made"
    cluster.run(60, 40.0)
    assert cluster.target == 5, "four are the load, and a fifth keeps them from being full"
    assert cluster.changes() <= 2


def test_a_ramp_is_followed_and_never_far_behind() -> None:
    cluster = Cluster()
    began_s = cluster.now_s
    cluster.run(120, lambda now_s: 0.5 * (now_s - began_s))
    assert cluster.target == 7, "for sixty frames a second"
    for when_s, number in cluster.targets:
        load = 0.05 * (when_s - began_s)
        assert number >= min(8, load - 1.0), (when_s - began_s, number)


def test_when_the_load_goes_replicas_go_after_the_delay_and_not_before() -> None:
    cluster = Cluster()
    cluster.run(20, 40.0)
    cluster.run(CONFIG["downscale_delay_s"] - 1.0, 0.0)
    assert cluster.target == 5
    cluster.run(10, 0.0)
    assert cluster.target == 1


@pytest.mark.parametrize("fps", [6.4, 6.6, 8.4, 8.6, 13.0, 17.0, 18.5, 26.0, 34.0, 43.0])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("free_company", [True, False])
def test_a_steady_load_settles_whatever_it_is(fps: float, batch: int, free_company: bool) -> None:
    cluster = Cluster(batch=batch, free_company=free_company, noise=0.1)
    cluster.run(60, fps)
    settled, changes = cluster.target, cluster.changes()
    cluster.run(240, fps)
    assert (cluster.target, cluster.changes()) == (settled, changes), "no flapping"
    capacity = settled * (batch if free_company else 1) / cluster.frame_s
    assert capacity >= fps


def test_batches_with_room_are_filled_before_a_gpu_is_added() -> None:
    cluster = Cluster(batch=4)
    cluster.run(60, 30.0)
    assert cluster.target == 1, "three frames in a batch of four"
    cluster.run(60, 70.0)
    assert cluster.target == 3


@pytest.mark.parametrize("skews_s", [(-10.0,), (10.0,), (-3600.0, 3600.0), (0.0, -3.5, 3.5)])
def test_clocks_that_differ_between_nodes_change_nothing(skews_s: tuple[float, ...]) -> None:
    right, skewed = Cluster(), Cluster(skews_s=skews_s)
    for cluster in (right, skewed):
        cluster.run(30, 40.0)
        cluster.run(30, 1.0)
    assert skewed.targets == right.targets
    assert {number for _, number in skewed.targets} >= {1, 5}


@pytest.mark.parametrize("skew_s", [-3600.0, 0.0, 3600.0])
def test_a_replica_that_is_stuck_says_nothing_whatever_its_clock_says(skew_s: float) -> None:
    policy, cluster = FramesWanted(), Cluster(skews_s=(skew_s,))
    cluster.run(10, 1000.0)
    stuck = cluster.context()
    stuck.running_replicas, stuck.target_num_replicas = stuck.running_replicas[:1], 1
    for later_s, expected in ((0.0, True), (2.9, True), (3.1, False)):
        stuck.current_time = cluster.now_s + later_s
        assert (policy(stuck)[0] > 1) == expected, f"{later_s} s after its last report"


def test_limits_of_the_config_hold() -> None:
    cluster = Cluster()
    cluster.run(60, 1000.0)
    assert cluster.target == 8
    cluster.run(60, 0.0)
    assert cluster.target == 1


def test_ingress_replicas_with_different_pressures_count_by_their_frames() -> None:
    one, four = Cluster(), Cluster(ingresses=4)
    for cluster in (one, four):
        cluster.run(60, 40.0)
    assert one.target == four.target


def test_replicas_that_are_starting_are_not_asked_for_twice() -> None:
    cluster = Cluster()
    cluster.run(60, 30.0)
    assert [number for number, _ in itertools.groupby(number for _, number in cluster.targets)] in ([1, 4], [1, 3, 4])


def series(**reports: list[tuple[float, float]]) -> dict[str, dict[str, list[SimpleNamespace]]]:
    return {name: {"a": [SimpleNamespace(timestamp=t, value=v) for t, v in points]} for name, points in reports.items()}


BUSY = {"busy_s": [(0.0, 0.0), (2.0, 1.0)], "frames": [(0.0, 0.0), (2.0, 10.0)]}


def test_load_is_busy_time_by_frames_wanted_for_each_served() -> None:
    found = measure(series(**BUSY, wanted=[(0.0, 0.0), (2.0, 30.0)], room=[(0.0, 0.0), (2.0, 20.0)]), ["a"])
    assert found == Load(low=0.75, high=1.5, known=1)


def test_reports_that_stopped_say_nothing() -> None:
    reports = Reports()
    assert reports.fresh(series(**BUSY), ["a"], 100.0) == ["a"]
    assert reports.fresh(series(**BUSY), ["a"], 103.0) == ["a"]
    assert reports.fresh(series(**BUSY), ["a"], 103.5) == []
    newer = series(busy_s=[*BUSY["busy_s"], (2.1, 1.0)])
    assert reports.fresh(newer, ["a"], 104.0) == ["a"]


def test_what_is_known_of_replicas_that_are_gone_is_forgotten() -> None:
    reports = Reports()
    reports.fresh(series(**BUSY), ["a"], 100.0)
    assert reports.fresh(series(**BUSY), [], 101.0) == []
    assert not reports._newest


def test_replicas_without_reports_say_nothing() -> None:
    assert measure(series(**BUSY), ["b"]).known == 0
    assert measure({}, ["a"]).known == 0
    assert measure(series(busy_s=[(2.0, 1.0)]), ["a"]).known == 0


def test_nothing_known_changes_nothing_and_no_load_leaves_one() -> None:
    assert desired_replicas(Load(0.0, 0.0, 0), 3, 0.85, 0.65) == 3
    assert desired_replicas(Load(0.0, 0.0, 3), 3, 0.85, 0.65) == 1


@pytest.mark.parametrize(("low", "high", "target", "desired"), [
    (0.84, 0.84, 1, 1), (0.86, 0.86, 1, 2), (1.7, 1.7, 2, 2), (4.0, 4.0, 1, 5),  # up at 0.85 of each
    (1.31, 1.31, 3, 3), (1.29, 1.29, 3, 2), (0.64, 0.64, 8, 1),  # down where 0.65 of each of the rest is enough
    (0.5, 3.0, 2, 2), (0.25, 1.0, 4, 2),  # unknown batches
])  # fmt: skip
def test_the_two_thresholds_leave_a_band_in_which_nothing_moves(low: float, high: float, target: int, desired: int) -> None:
    assert desired_replicas(Load(low, high, 1), target, 0.85, 0.65) == desired


@pytest.mark.parametrize("thresholds", [(0.5, 0.6), (1.2, 0.5), (0.8, 0.0)])
def test_thresholds_out_of_order_are_refused(thresholds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="down_below < up_above"):
        FramesWanted(*thresholds)


def test_totals_count_a_batch_under_way_and_each_frame_once() -> None:
    totals = WorkTotals()
    totals.begin(10.0)
    assert totals.report(10.5) == {"frames": 0, "wanted": 0.0, "room": 0, "busy_s": 0.5}
    totals.end([1.0, 3.0, 0.5], 4, 11.0)
    assert totals.report(20.0) == {"frames": 3, "wanted": 5.0, "room": 4, "busy_s": 1.0}
