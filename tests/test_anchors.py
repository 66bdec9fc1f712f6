"""Anchors: many small losses are one great one, a gain is locked in once it is proven, and no file is guessed at."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.errors import ConfigError
from gate.judge import Cell
from gate.judge.anchors import moved, read_anchors, render_anchors
from tests.oracles import statistics as oracle
from tests.oracles.statistics import Clips
from tests.support.judged import a_policy, a_rule, judged, only
from tests.support.tiny import (
    POLICY,
    World,
    gate,
    make_world,
    predict,
    refreeze,
    refused,
    without_worker,
    write_bundle,
    write_suite,
)

COMPARE = ("compare", "old", "new", "--suite", "suite", "--out", "out")
PREDICTIONS = ("cam.edge", "cam.range", "cam.sign[stop]", "cam.sign[yield]")


def digests(found: Mapping[str, Any]) -> dict[str, str]:
    return {a["version"]: a["digest"] for a in (*found["anchors"], found["candidate"], found["incumbent"])}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases 1 to 5, each a little worse than the one before; 7 is far better, 6 better in one head; 0 lacks one."""
    folder, world = tmp_path_factory.mktemp("line"), make_world(validation=40)
    write_suite(folder / "suite", world)
    # The same mistakes, a little greater each time: a release fine-tuned from the one before.
    noises = {"1": 2.0, "2": 2.02, "3": 2.04, "4": 2.06, "5": 2.08, "7": 0.5}
    for version, noise in noises.items():
        write_bundle(folder / f"r{version}", world, predict(world, noise=noise), version=version)
    mixed = predict(world, noise=2.0) | {"range": predict(world, noise=0.5)["range"]}
    write_bundle(folder / "r6", world, mixed, version="6")
    lacking = {k: v for k, v in predict(world, noise=2.0).items() if k != "sign"}
    write_bundle(folder / "r0", world, lacking, version="0")
    return folder


def compared(line: Path, out: Path, old: str, new: str, *words: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit code and verdict; reports go to `out`."""
    with pytest.MonkeyPatch.context() as patch:
        without_worker(patch)
        ended = gate("compare", old, new, "--suite", "suite", "--out", out, *words, cwd=line)
    assert ended.code in (0, 1, 3), ended.err
    return ended.code, json.loads((out / "verdict.json").read_text())


def anchors_in(out: Path) -> dict[str, str]:
    return tomllib.loads((out / "anchors.toml").read_text())["anchors"]


def whole(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [c for c in found["cells"] if c["slice"] == "all"]


# Drift.


def test_a_slow_drift_that_no_release_shows_is_caught_since_the_anchor(line: Path, tmp_path: Path) -> None:
    for old, new in (("r1", "r2"), ("r2", "r3"), ("r3", "r4"), ("r4", "r5")):
        _, found = compared(line, tmp_path / new, old, new)
        assert "regressed" not in {c["verdict"] for c in whole(found)}
        assert {c["anchor"] for c in found["cells"]} == {None}
        assert not (tmp_path / new / "anchors.toml").exists()
    code, found = compared(line, tmp_path / "since", "r4", "r5", "--anchor", "r1")
    assert code == 1
    (lost,) = (c for c in whole(found) if c["prediction"] == "cam.edge" and c["metric"] == "average_precision")
    assert lost["verdict"] == "regressed"
    assert lost["p_adjusted"] > 0.0075
    assert lost["p_anchor"] <= 0.0075
    assert lost["delta_anchor"] < lost["delta"] < 0
    assert " since its anchor on 40 clips, adjusted p " in lost["reason"]
    assert lost["anchor"] + lost["delta_anchor"] == pytest.approx(lost["candidate"])
    assert any("cam.edge" in r["text"] and "since its anchor" in r["text"] for r in found["reasons"])
    assert [a["version"] for a in found["anchors"]] == ["1"]


def test_each_reference_spends_half_of_alpha() -> None:
    """A loss proven with all of alpha and not with half of it is none beside an anchor, even one that says the same."""
    truth = oracle.a_truth(np.random.default_rng(0), 40, least=6, most=12)
    a, b = ([oracle.answered(np.random.default_rng(k), truth, quality=q)] for k, q in enumerate((1.6, 1.2)))
    p = only(judged(a, b, [a_rule()])).p_adjusted
    assert p is not None
    assert p < 0.3
    for share, verdicts in ((1.5, ("regressed", "undecided")), (2.5, ("regressed", "regressed"))):
        policy = a_policy(alpha=share * p / 0.3)
        alone, beside = (only(judged(a, b, [a_rule()], policy=policy, anchor=since)) for since in (None, a))
        assert (alone.verdict, beside.verdict) == verdicts
        assert alone.p_adjusted == beside.p_adjusted == beside.p_anchor == p


def test_through_the_judge_the_anchor_alone_makes_the_difference() -> None:
    truth = oracle.a_truth(np.random.default_rng(0), 60, least=6, most=12)
    top, slipped, now = ([oracle.answered(np.random.default_rng(1), truth, quality=q)] for q in (3.0, 1.35, 1.3))
    alone, beside = (only(judged(slipped, now, [a_rule()], anchor=since)) for since in (None, top))
    assert alone.verdict != "regressed"
    assert beside.verdict == "regressed"
    assert alone.p_adjusted == beside.p_adjusted
    assert beside.reason.endswith(f" since its anchor on {beside.clips} clips, adjusted p 0.0010")
    assert "since its anchor" not in alone.reason


def test_a_gain_over_the_incumbent_does_not_excuse_a_loss_since_the_anchor() -> None:
    truth = oracle.a_truth(np.random.default_rng(0), 40, least=6, most=12)
    worst, better, best = (
        [oracle.answered(np.random.default_rng(k), truth, quality=q)] for k, q in enumerate((0.3, 1.2, 4.0))
    )
    assert only(judged(worst, better, [a_rule()])).verdict == "improved"
    cell = only(judged(worst, better, [a_rule()], anchor=best))
    assert cell.verdict == "regressed"
    assert cell.delta is not None
    assert cell.delta > 0
    assert cell.reason.startswith("lost ")
    assert not cell.gained_since_anchor


def test_sign_vectors_that_prove_nothing_at_half_of_alpha_are_refused_beside_an_anchor(
    line: Path, tmp_path: Path
) -> None:
    """199 know no p-value under 0.005: enough for a slice's share of alpha, and not for half of it."""
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.replace("resamples = 999", "resamples = 199"))
    compared(line, tmp_path / "out", "r1", "r2", "--policy", policy)
    words = ("compare", "r1", "r2", "--suite", "suite", "--out", tmp_path / "more", "--policy", policy)
    refused(gate(*words, "--anchor", "r3", cwd=line), 2, "too few sign vectors", "at least 399", "policy.toml")


# Moving.


def test_the_anchor_stays_while_no_gain_over_it_is_proven(line: Path, tmp_path: Path) -> None:
    """Better than the incumbent is not better than the anchor: climbing back locks nothing in."""
    for old, new in (("r2", "r3"), ("r4", "r2"), ("r4", "r4")):
        _, found = compared(line, tmp_path / new, old, new, "--anchor", "r1")
        assert not any(c["gained_since_anchor"] for c in found["cells"])
        assert anchors_in(tmp_path / new) == dict.fromkeys(PREDICTIONS, digests(found)["1"])


def test_a_proven_gain_moves_the_anchor_of_what_gained_and_no_other(line: Path, tmp_path: Path) -> None:
    _, found = compared(line, tmp_path / "all", "r2", "r7", "--anchor", "r1")
    assert all(c["gained_since_anchor"] for c in whole(found))
    assert anchors_in(tmp_path / "all") == dict.fromkeys(PREDICTIONS, digests(found)["7"])

    _, found = compared(line, tmp_path / "one", "r2", "r6", "--anchor", "r1")
    one, six = digests(found)["1"], digests(found)["6"]
    assert anchors_in(tmp_path / "one") == dict.fromkeys(PREDICTIONS, one) | {"cam.range": six}
    text = tomllib.loads((tmp_path / "one" / "anchors.toml").read_text())
    assert (text["schema"], text["suite"]) == ("gate.anchors/1", found["suite"]["digest"])

    # The file of one release is read by the next: each prediction is held against its own anchor.
    file = tmp_path / "one" / "anchors.toml"
    both = ("--anchor", "r1", "--anchor", "r6", "--anchors", file)
    code, found = compared(line, tmp_path / "next", "r2", "r3", *both)
    assert code == 1
    cells = {(c["prediction"], c["metric"]): c for c in whole(found)}
    assert cells["cam.range", "mae"]["verdict"] == "regressed"
    assert "since its anchor" in cells["cam.range", "mae"]["reason"]
    _, first = compared(line, tmp_path / "first", "r2", "r3", "--anchor", "r1")
    _, sixth = compared(line, tmp_path / "sixth", "r2", "r3", "--anchor", "r6")
    for other in (first, sixth):
        for cell in whole(other):
            key = cell["prediction"], cell["metric"]
            same = cells[key]["anchor"] == cell["anchor"]
            assert same or (cell["prediction"] == "cam.range") == (other is first)
    assert sorted(a["version"] for a in found["anchors"]) == ["1", "6"]
    assert anchors_in(tmp_path / "next") == anchors_in(tmp_path / "one")


def test_an_anchor_that_nobody_has_is_not_run(line: Path, tmp_path: Path) -> None:
    file = tmp_path / "anchors.toml"
    _, found = compared(line, tmp_path / "some", "r2", "r3", "--anchor", "r1")
    file.write_text(render_anchors(anchors_in(tmp_path / "some"), suite=found["suite"]["digest"]))
    _, again = compared(line, tmp_path / "more", "r2", "r3", "--anchor", "r1", "--anchor", "r7", "--anchors", file)
    assert [a["version"] for a in again["anchors"]] == ["1"]
    assert again["cells"] == found["cells"]


def test_a_proven_gain_over_an_incumbent_that_is_the_anchor_moves_it(line: Path, tmp_path: Path) -> None:
    _, found = compared(line, tmp_path / "up", "r2", "r7", "--anchor", "r2")
    assert anchors_in(tmp_path / "up") == dict.fromkeys(PREDICTIONS, digests(found)["7"])
    _, found = compared(line, tmp_path / "down", "r2", "r3", "--anchor", "r2")
    assert anchors_in(tmp_path / "down") == dict.fromkeys(PREDICTIONS, digests(found)["2"])


def test_the_incumbent_as_its_own_anchor_is_looked_at_once(line: Path, tmp_path: Path) -> None:
    """There is one question, and it has all of alpha."""
    _, plain = compared(line, tmp_path / "plain", "r1", "r4")
    _, again = compared(line, tmp_path / "again", "r1", "r4", "--anchor", "r1")
    assert [(c["verdict"], c["p_adjusted"]) for c in again["cells"]] == [
        (c["verdict"], c["p_adjusted"]) for c in plain["cells"]
    ]


def test_heads_that_the_anchor_lacks_are_judged_against_the_incumbent_alone(line: Path, tmp_path: Path) -> None:
    _, found = compared(line, tmp_path / "out", "r2", "r3", "--anchor", "r0")
    for cell in found["cells"]:
        lacking = cell["head"] == "cam.sign"
        assert (cell["anchor"] is None) == lacking or cell["verdict"] == "not-measurable"
        assert (cell["p_anchor"] is None) == lacking or cell["verdict"] == "not-measurable"
    # The last accepted release takes the place of an anchor that cannot tell.
    old, lacked = digests(found)["2"], digests(found)["0"]
    signs = dict.fromkeys(("cam.sign[stop]", "cam.sign[yield]"), old)
    assert anchors_in(tmp_path / "out") == dict.fromkeys(PREDICTIONS, lacked) | signs


def test_a_prediction_whose_anchor_is_broken_there_is_judged_against_the_incumbent_alone(
    line: Path, tmp_path: Path
) -> None:
    world = make_world(validation=40)
    outputs = predict(world, noise=0.5)
    outputs["range"][100] = np.nan
    best = write_bundle(tmp_path / "best", world, outputs, version="9")
    _, found = compared(line, tmp_path / "out", "r2", "r3", "--anchor", best)
    for cell in whole(found):
        broken = cell["prediction"] == "cam.range"
        assert (cell["delta_anchor"] is None, cell["p_anchor"] is None) == (broken, broken)
        assert (cell["verdict"] == "regressed") == (not broken)
    old, anchor = digests(found)["2"], digests(found)["9"]
    assert anchors_in(tmp_path / "out") == dict.fromkeys(PREDICTIONS, anchor) | {"cam.range": old}


# The rule for moving, alone.


def cell_of(metric: str = "f1", **fields: Any) -> Cell:
    empty: Clips = [[] for _ in range(12)]
    (cell, *_) = judged([empty], [empty], [a_rule("f1")])
    given = {"prediction": "cam.h", "metric": metric, "delta_anchor": 0.1, "gained_since_anchor": True}
    return replace(cell, **(given | fields))


@pytest.mark.parametrize(
    ("cells", "moves"),
    [
        ([cell_of()], True),
        ([cell_of(gained_since_anchor=False)], False),
        ([cell_of(), cell_of("recall", gained_since_anchor=False)], True),
        ([cell_of(), cell_of("recall", gained_since_anchor=False, delta_anchor=-0.01)], False),
        ([cell_of(), cell_of("recall", gained_since_anchor=False, delta_anchor=None)], False),
        ([cell_of(gained_since_anchor=False), cell_of(slice="light=day")], False),
        ([cell_of(), cell_of(slice="light=day", gained_since_anchor=False, delta_anchor=-0.5)], True),
        ([cell_of("mae", lower_is_better=True, delta_anchor=-0.1)], True),
        ([cell_of(), cell_of("mae", lower_is_better=True, delta_anchor=0.1)], False),
        ([cell_of(gained_since_anchor=False), cell_of(prediction="cam.other")], False),
    ],
)
def test_an_anchor_moves_on_a_proven_gain_of_one_metric_when_no_other_is_worse(cells: list[Cell], moves: bool) -> None:
    after = moved({"cam.h": "anchor"}, cells, incumbent="old", candidate="new", unknown=())
    assert after == {"cam.h": "new" if moves else "anchor"}


@pytest.mark.parametrize(
    ("cells", "moves"),
    [
        ([cell_of(verdict="improved", delta=0.1)], True),
        ([cell_of(verdict="non-inferior", delta=0.1)], False),
        ([cell_of(verdict="improved", delta=0.1), cell_of("recall", verdict="non-inferior", delta=-0.1)], False),
        ([cell_of("mae", verdict="improved", delta=-0.1, lower_is_better=True)], True),
    ],
)
def test_where_the_incumbent_is_the_anchor_its_own_numbers_decide(cells: list[Cell], moves: bool) -> None:
    without = [replace(c, delta_anchor=None, gained_since_anchor=False) for c in cells]
    after = moved({"cam.h": "old"}, without, incumbent="old", candidate="new", unknown=())
    assert after == {"cam.h": "new" if moves else "old"}


def test_an_anchor_that_cannot_tell_is_replaced_by_the_last_accepted_release() -> None:
    after = moved({"cam.h": "a", "cam.i": "b"}, [cell_of()], incumbent="old", candidate="new", unknown=["cam.h"])
    assert after == {"cam.h": "old", "cam.i": "b"}


@pytest.mark.parametrize("who", ["old", "new"])
def test_a_fault_of_incumbent_or_candidate_does_not_throw_a_sound_anchor_away(
    tmp_path: Path, who: str, without_contract_worker: None
) -> None:
    """Else two releases, of which one is broken, would launder any loss."""
    world = make_world(validation=20)
    write_suite(tmp_path / "suite", world)
    for name, noise in (("best", 0.5), ("old", 2.0), ("new", 3.0)):
        outputs = predict(world, noise=noise)
        if name == who:
            outputs["range"][100] = np.nan
        write_bundle(tmp_path / name, world, outputs, version=name)
    ended = gate(*COMPARE, "--anchor", "best", cwd=tmp_path)
    assert ended.code in (0, 1, 3)
    best = digests(json.loads((tmp_path / "out" / "verdict.json").read_text()))["best"]
    assert anchors_in(tmp_path / "out") == dict.fromkeys(PREDICTIONS, best)


def test_an_anchors_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "anchors.toml"
    anchors = {"b.x[a b]": "sha256:2", "a.y": "sha256:1"}
    path.write_text(render_anchors(anchors, suite="sha256:s"))
    assert read_anchors(path, suite="sha256:s") == anchors
    lines = path.read_text().splitlines()
    assert lines.index('"a.y" = "sha256:1"') < lines.index('"b.x[a b]" = "sha256:2"')


# Wrong files.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('schema = "gate.anchors/1"\nsuite = "sha256:t"\n[anchors]\n', "these anchors belong to another suite"),
        ('schema = "gate.anchors/1"\n[anchors]\n', "these anchors belong to another suite"),
        ('schema = "gate.anchors/2"\nsuite = "sha256:s"\n[anchors]\n', "this is not a gate.anchors/1 file"),
        ('suite = "sha256:s"\n[anchors]\n', "this is not a gate.anchors/1 file"),
        ('schema = "gate.anchors/1"\nsuite = "sha256:s"\n', "the anchors cannot be read"),
        ('schema = "gate.anchors/1"\nsuite = "sha256:s"\nanchors = 3\n', "named by the digest of its bundle"),
        ('schema = "gate.anchors/1"\nsuite = "sha256:s"\nanchors = ["ab"]\n', "named by the digest of its bundle"),
        ('schema = "gate.anchors/1"\nsuite = "sha256:s"\n[anchors]\n"a.b" = 3\n', "named by the digest of its bundle"),
        ("[anchors", "the anchors cannot be read"),
    ],
)
def test_a_file_that_is_not_the_anchors_of_this_suite_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "anchors.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_anchors(path, suite="sha256:s")
    assert str(path) in str(caught.value)
    assert "to mend: " in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the anchors cannot be read"):
        read_anchors(tmp_path / "anchors.toml", suite="sha256:s")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, World, dict[str, str]]:
    """Two releases and an older one, the anchors file that they wrote in `anchors.toml`, and its anchors."""
    without_worker(monkeypatch)
    world = make_world(calibration=4, validation=14, frames=4)
    write_suite(tmp_path / "suite", world)
    for k, name in enumerate(("older", "old", "new")):
        write_bundle(tmp_path / name, world, predict(world, seed=k), version=str(k))
    ended = gate(*COMPARE[:-2], "--out", "before", "--anchor", "older", cwd=tmp_path)
    assert ended.code in (0, 1, 3)
    (tmp_path / "anchors.toml").write_bytes((tmp_path / "before" / "anchors.toml").read_bytes())
    return tmp_path, world, anchors_in(tmp_path / "before")


def rewritten(folder: Path, old: str, new: str) -> None:
    path = folder / "anchors.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_anchors_of_another_suite_are_refused(small: tuple[Path, World, dict[str, str]]) -> None:
    folder, _, _ = small
    with (folder / "suite" / "policy.toml").open("a") as policy:
        policy.write("# Another policy is the same suite, another table is not.\n")
    (folder / "suite" / "frames.csv").write_text((folder / "suite" / "frames.csv").read_text() + "\n")
    refreeze(folder / "suite")
    ended = gate(*COMPARE, "--anchor", "older", "--anchors", "anchors.toml", cwd=folder)
    refused(ended, 2, "these anchors belong to another suite", "anchors.toml", "to mend: ")


def test_an_anchor_whose_bundle_is_not_given_is_refused(small: tuple[Path, World, dict[str, str]]) -> None:
    folder, _, anchors = small
    ended = gate(*COMPARE, "--anchor", "new", "--anchors", "anchors.toml", cwd=folder)
    digest = anchors["cam.edge"]
    refused(ended, 2, "the anchor of cam.edge is ", digest[:12], "which is not given", "--anchor")


def test_a_prediction_without_an_anchor_is_refused(small: tuple[Path, World, dict[str, str]]) -> None:
    folder, _, anchors = small
    rewritten(folder, f'"cam.range" = "{anchors["cam.range"]}"\n', "")
    assert "cam.range" not in (folder / "anchors.toml").read_text()
    ended = gate(*COMPARE, "--anchor", "older", "--anchors", "anchors.toml", cwd=folder)
    refused(ended, 2, "cam.range has no anchor", "anchors.toml", "add a line for it")


def test_an_anchor_of_a_prediction_that_the_suite_lacks_is_refused(small: tuple[Path, World, dict[str, str]]) -> None:
    folder, _, _ = small
    rewritten(folder, '"cam.range"', '"cam.rang"')
    ended = gate(*COMPARE, "--anchor", "older", "--anchors", "anchors.toml", cwd=folder)
    refused(ended, 2, "the suite has no prediction cam.rang", "anchors.toml")


def test_several_anchors_without_a_file_are_refused(small: tuple[Path, World, dict[str, str]]) -> None:
    folder, _, _ = small
    refused(
        gate(*COMPARE, "--anchor", "older", "--anchor", "new", cwd=folder),
        2,
        "several anchors, and nothing says which is whose",
        "--anchors FILE",
    )


def test_a_file_without_its_anchors_is_refused(small: tuple[Path, World, dict[str, str]]) -> None:
    folder, _, _ = small
    ended = gate(*COMPARE, "--anchors", "anchors.toml", cwd=folder)
    refused(ended, 2, "--anchors names releases that are not given", "name each with --anchor BUNDLE")


def test_an_anchor_that_is_no_bundle_is_refused(small: tuple[Path, World, dict[str, str]]) -> None:
    folder, _, _ = small
    ended = gate(*COMPARE, "--anchor", "nowhere", cwd=folder)
    assert ended.code in (2, 4)
    assert "nowhere" in ended.err
    assert not (folder / "out").exists() or not list((folder / "out").iterdir())


def test_the_same_anchor_named_twice_is_one_anchor(small: tuple[Path, World, dict[str, str]]) -> None:
    folder, _, anchors = small
    ended = gate(*COMPARE, "--anchor", "older", "--anchor", "older", cwd=folder)
    assert ended.code in (0, 1, 3)
    assert anchors_in(folder / "out") == anchors
