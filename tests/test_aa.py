"""False alarms: releases that are equally good by construction, how often they block, and what a user reads of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gate import planning
from gate.judge import Identity
from gate.judge.shuffles import Alarms, Said, alarms, halves, interval, other_clips
from gate.planning import false_alarms
from gate.report.shuffles import said
from gate.table import ClipIndex
from tests.support.tiny import World, gate, make_world, predict, refused, sign_only, write_bundle, write_suite

AA = ("suite", "aa", "old", "--suite", "suite")
WHO = (Identity("town", "7", "sha256:0"), Identity("tiny", "1", "sha256:1"))
#: Everything that can err does: one family takes all of a generous alpha, and any loss counts.
EAGER = """\
resamples = 999
alpha = 0.3
min_effect = 0.0
shares = { critical = 0.02, supporting = 0.94, slices = 0.02, groups = 0.02 }

[[rules]]
match = "*"
metrics = ["average_precision"]
margin = 0.05

[[rules]]
match = "cam.range"
metrics = ["mae"]
margin = 0.5
"""
Outputs = dict[str, np.ndarray]


def measured(
    folder: Path,
    world: World,
    old: Outputs,
    new: Outputs | None = None,
    *,
    repeats: int = 40,
    policy: str | None = None,
) -> Alarms:
    write_suite(folder / "suite", world, **({} if policy is None else {"policy": policy}))
    write_bundle(folder / "old", world, old, version="1")
    if new is not None:
        write_bundle(folder / "new", world, new, version="2")
    found, who = false_alarms(
        folder / "old",
        suite=folder / "suite",
        policy=folder / "suite" / "policy.toml",
        thresholds=folder / "thresholds",
        twin=None if new is None else folder / "new",
        repeats=repeats,
    )
    assert [w.version for w in who] == (["1", "1"] if new is None else ["1", "1", "2"])
    return found


# Shuffles


@given(st.integers(2, 60), st.integers(0, 10_000))
@settings(deadline=None)
def test_a_clip_is_paired_with_another_one_and_each_with_one(clips: int, seed: int) -> None:
    other = other_clips(clips, np.random.default_rng(seed))
    assert sorted(other.tolist()) == list(range(clips))
    assert (other != np.arange(clips)).all()


@given(st.integers(2, 60), st.integers(0, 10_000))
@settings(deadline=None)
def test_halves_share_no_clip_and_are_of_one_size(clips: int, seed: int) -> None:
    index = ClipIndex(np.r_[-1, np.arange(clips)], clips)
    a, b = halves(index, np.random.default_rng(seed))
    assert a.clips == b.clips == clips // 2
    for half in (a, b):
        assert half.clip[0] == -1
        assert sorted(half.clip[half.clip >= 0].tolist()) == list(range(clips // 2))
    assert not ((a.clip >= 0) & (b.clip >= 0)).any()


def test_every_clip_meets_every_other_one_in_the_long_run() -> None:
    index, rng = ClipIndex(np.arange(6), 6), np.random.default_rng(0)
    met = np.zeros((6, 6), int)
    for _ in range(2000):
        a, b = halves(index, rng)
        for place in range(3):
            met[int(np.flatnonzero(a.clip == place)[0]), int(np.flatnonzero(b.clip == place)[0])] += 1
    apart = met[~np.eye(6, dtype=bool)]
    assert stats.chisquare(apart).pvalue > 0.001
    assert met.trace() == 0


# Counting


@pytest.mark.parametrize(("count", "total"), [(0, 100), (3, 100), (50, 100), (100, 100), (1, 1), (0, 1)])
def test_the_interval_is_that_of_clopper_and_pearson(count: int, total: int) -> None:
    exact = stats.binomtest(count, total).proportion_ci(0.95, "exact")
    assert interval(count, total) == pytest.approx((exact.low, exact.high))


def test_a_release_is_blocked_once_however_much_is_wrong_with_it() -> None:
    releases = [
        Said(("a", "b"), (), ("s",), 9),
        Said(("a",), ("a", "c"), (), 8),
        Said((), ("c",), (), 8),
        Said((), (), ("s", "t"), 7),
    ]
    found = alarms(releases, clips=12, counted="clip", alpha=0.05)
    assert (found.repeats, found.blocked, found.rate) == (4, 3, 0.75)
    assert (found.blocking, found.suspects, found.tested) == ((2, 2, 1, 0), (1, 0, 0, 2), (9, 8, 8, 7))
    assert found.blamed == (("a", 2), ("c", 2), ("b", 1))


# Rates


def test_equally_good_halves_are_blocked_at_most_as_often_as_the_policy_allows(tmp_path: Path) -> None:
    # Worlds of their own, as releases of one world share its clips; alpha is generous so that there is a rate to see.
    blocked = repeats = 0
    for seed in range(10):
        world = make_world(validation=60, frames=2, seed=seed)
        found = measured(tmp_path / str(seed), world, predict(world, noise=2.0), repeats=8, policy=EAGER)
        assert found.alpha == 0.3
        assert min(found.tested) > 0
        blocked, repeats = blocked + found.blocked, repeats + found.repeats
    assert stats.binomtest(blocked, repeats, 0.3, "greater").pvalue > 0.01
    assert blocked / repeats > 0.1, "a gate that never errs at this alpha is blind"


def test_a_twin_that_lost_much_is_blocked_nearly_always_and_by_its_name(tmp_path: Path) -> None:
    world = make_world(validation=60)
    worse = predict(world, seed=2) | {"edge": predict(world, noise=4.0, seed=2)["edge"]}
    found = measured(tmp_path, world, predict(world), worse)
    assert found.clips == 30
    assert found.blocked >= 0.95 * found.repeats
    assert found.blamed[0] == ("cam.edge", found.blocked)
    assert found.low > found.alpha


def test_a_twin_as_good_is_hardly_ever_blocked(tmp_path: Path) -> None:
    world = make_world(validation=60)
    found = measured(tmp_path, world, predict(world), predict(world, seed=2))
    assert found.low <= found.alpha


def test_a_loss_of_a_declared_group_is_an_alarm(tmp_path: Path) -> None:
    world = make_world(validation=60)
    policy = EAGER.replace("alpha = 0.3", 'alpha = 0.3\ngroups = { signs = "cam.sign*" }')
    worse = predict(world, seed=2) | {"sign": predict(world, noise=4.0, seed=2)["sign"]}
    found = measured(tmp_path, world, predict(world), worse, repeats=20, policy=policy)
    assert "group:signs" in dict(found.blamed)


def test_a_twin_that_can_no_longer_be_measured_blocks(tmp_path: Path) -> None:
    # On the validation clips the twin accepts nothing: its precision is not defined, the incumbent's was.
    world = make_world(validation=60)
    policy = EAGER.replace('"average_precision"', '"precision"')
    late = np.array([s == "validation" for s in world.splits])
    dead = predict(world, seed=2)
    dead["sign"][late] = -30.0
    found = measured(tmp_path, world, predict(world), dead, repeats=5, policy=policy)
    assert found.blocked == 5
    assert {"cam.sign[stop]", "cam.sign[yield]"} <= dict(found.blamed).keys()


def test_same_inputs_same_answer_and_another_twin_other_shuffles(tmp_path: Path) -> None:
    world = make_world(validation=30)
    old = predict(world, noise=2.0)
    first, again = (measured(tmp_path / name, world, old, repeats=8, policy=EAGER) for name in ("a", "b"))
    assert first == again
    assert len(set(first.suspects)) > 1 or len(set(first.blocking)) > 1, "shuffles differ"


def test_leaving_out_what_no_clip_can_answer_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(validation=30, frames=2)
    rare = replace(world, signs=world.signs * (np.arange(len(world.ids)) % 11 == 0)[:, None])
    old = predict(rare, noise=2.0)
    short = measured(tmp_path / "short", rare, old, repeats=8, policy=EAGER)
    dropped = []

    def everything(alone: object) -> tuple[np.ndarray, np.ndarray]:
        dropped.append(kept_of(alone))  # type: ignore[arg-type]
        return np.unique(alone.question), np.unique(alone.slice)  # type: ignore[attr-defined]

    kept_of = planning.answerable
    monkeypatch.setattr(planning, "answerable", everything)
    full = measured(tmp_path / "full", rare, old, repeats=8, policy=EAGER)
    assert len(dropped[0][0]) < 4, "something was left out"
    assert short == full


# What a user reads


def some(blocked: int, repeats: int = 100) -> Alarms:
    releases = [Said(("front.lamp[red]",) if k < blocked else (), (), ("x",), 5) for k in range(repeats)]
    return alarms(releases, clips=17, counted="drive", alpha=0.05)


@pytest.mark.parametrize(
    ("blocked", "told"),
    [
        (
            3,
            "Blocked 3 of 100 releases (3.0%, 95% interval 0.6% to 8.5%); the policy allows 5.0%: "
            "no more were blocked.",
        ),
        (7, "the policy allows 5.0%: more were blocked, though no more than chance explains."),
        (20, "the policy allows 5.0%: TOO MANY; are drives independent? Declare a coarser `unit`"),
    ],
)
def test_the_rate_is_told_beside_what_the_policy_allows(blocked: int, told: str) -> None:
    assert told in said(some(blocked), WHO)[1]


def test_a_twin_that_blocks_may_be_no_twin() -> None:
    told = said(some(20), (*WHO, Identity("tiny", "2", "sha256:2")))
    assert "the twin tiny 2 on random halves of the drives, 17 drives in each release" in told[0]
    assert "is the twin as good, and are drives independent?" in told[1]


def test_the_command_prints_the_rate_and_ends_with_0_whatever_it_is(tmp_path: Path) -> None:
    world = make_world(validation=60)
    worse = predict(world, seed=2) | {"edge": predict(world, noise=4.0, seed=2)["edge"]}
    write_suite(tmp_path / "suite", world)
    write_bundle(tmp_path / "old", world, predict(world), version="1")
    write_bundle(tmp_path / "new", world, worse, version="2")
    ended = gate(*AA, "--twin", "new", "--repeats", "10", cwd=tmp_path)
    assert (ended.code, ended.made, ended.changed) == (0, (), ()), ended.err
    assert "tiny 1 on tiny 1" in ended.out
    assert "Blocked 10 of 10 releases" in ended.out
    assert "TOO MANY" in ended.out
    assert "10 of 10  cam.edge" in ended.out
    assert "shuffle: 2,400 of 2,400 frames" in ended.err


def test_json_has_every_field(releases: Path) -> None:
    ended = gate(*AA, "--repeats", "6", "--json", cwd=releases)
    assert ended.code == 0, ended.err
    read = json.loads(ended.out)
    assert list(read) == [
        "schema", "gate", "suite", "bundle", "twin", "alpha", "repeats", "clips", "counted", "blocked", "rate",
        "confidence", "low", "high", "said", "blocking", "suspects", "tested", "blamed",
    ]  # fmt: skip
    assert (read["schema"], read["repeats"], read["clips"], read["twin"]) == ("gate.aa/1", 6, 12, None)
    assert read["rate"] == read["blocked"] / 6
    assert len(read["blocking"]) == len(read["suspects"]) == len(read["tested"]) == 6
    assert gate(*AA, "--repeats", "6", "--json", cwd=releases).out == ended.out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((*AA, "--twin", "old"), 2, "the twin is the bundle itself"),
        (("suite", "aa", "nowhere", "--suite", "suite"), 4, "nowhere"),
        ((*AA, "--policy", "nowhere.toml"), 2, "nowhere.toml"),
    ],
)
def test_wrong_input_is_refused_with_a_message(releases: Path, words: tuple[str, ...], code: int, told: str) -> None:
    refused(gate(*words, cwd=releases), code, told)


def test_no_repeats_are_no_measurement(releases: Path) -> None:
    assert gate(*AA, "--repeats", "0", cwd=releases).code == 2


def test_too_few_clips_to_be_halved_are_refused_before_anything_runs(tmp_path: Path) -> None:
    world = make_world(validation=19)
    write_suite(tmp_path / "suite", world)
    write_bundle(tmp_path / "old", world, predict(world))
    ended = gate(*AA, cwd=tmp_path)
    refused(ended, 4, "19 validation clips are too few to be halved", "add 1 or more to the validation split")
    assert "frames" not in ended.err


def test_a_suite_on_which_nothing_can_be_tested_says_so(tmp_path: Path) -> None:
    # A perfect head has the same average precision on every clip: nothing differs, and nothing is proven by that.
    world = make_world(validation=20)
    policy = EAGER.partition('\n[[rules]]\nmatch = "cam.range"')[0]
    write_suite(tmp_path / "suite", world, text=sign_only(), policy=policy)
    write_bundle(tmp_path / "old", world, predict(world, noise=0.0))
    refused(gate(*AA, "--repeats", "3", cwd=tmp_path), 4, "no prediction can be tested on 10 clips")
