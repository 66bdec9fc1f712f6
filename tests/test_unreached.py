"""Predictions that a change cannot reach: noted or worked out, they are what a whole comparison says of them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.compare import Comparison, Question, Unreached, compare, unreached_of
from gate.judge.layout import Layout
from gate.judge.probabilities import probabilities
from gate.run import Store
from gate.suite import Slice
from gate.table import ClipIndex
from tests.oracles import statistics as oracle
from tests.support.stores import opened

comparing = importlib.import_module("gate.compare.compare")
METRICS = ("f1", "precision", "average_precision", "coco_ap", "brier")
COUNT, CLIPS = 4, 12
#: Predictions that are the same in both releases, all of one network.
SAME = (0, 3)
NETWORKS = ("front", "rear", "rear", "front")


class Releases:
    """Four predictions of two networks in two releases."""

    def __init__(self, seed: int, at: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        truths = [oracle.a_truth(rng, CLIPS) for _ in range(COUNT)]
        old = [oracle.answered(rng, truth) for truth in truths]
        new = [old[k] if k in SAME else oracle.answered(rng, truths[k], quality=0.8) for k in range(COUNT)]
        self.old, self.new = (oracle.side(clips, [at] * COUNT) for clips in (old, new))
        self.slices, self.index = oracle.slices_of(CLIPS), oracle.index_of(CLIPS)

    def unreached(self, store: Store | None) -> Unreached:
        return unreached_of(self.old, self.new, NETWORKS, [(k,) for k in range(COUNT)], SAME, store)

    def compared(self, unreached: Unreached | None, metrics: Sequence[str] = METRICS, **given: Any) -> Comparison:
        slices, index = given.get("slices", self.slices), given.get("index", self.index)
        questions = [Question(k, (k,), name) for k in range(COUNT) for name in metrics]
        return compare(self.old, self.new, questions, slices, index, np.zeros(COUNT, bool), unreached=unreached)


def as_whole(some: Comparison, whole: Comparison, metrics: Sequence[str] = METRICS) -> None:
    """Every bit is that of the whole comparison, but no clip weighs anything where there is no difference."""
    reached = ~np.isin(whole.question // len(metrics), SAME)
    for field in fields(Comparison):
        expected = getattr(whole, field.name)
        if field.name == "weight":
            expected = np.where(reached[:, None], expected, 0.0)
        np.testing.assert_array_equal(getattr(some, field.name), expected, err_msg=field.name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return opened(tmp_path / "kept")


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_still_predictions_are_told_as_if_they_were_compared(seed: int) -> None:
    releases = Releases(seed)
    as_whole(releases.compared(releases.unreached(None)), releases.compared(None))


def test_noted_cells_are_the_same_to_the_bit_and_nothing_is_worked_out_for_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = Releases(1)
    whole = releases.compared(None)
    as_whole(releases.compared(releases.unreached(store)), whole)
    notes = sorted((store.root / "notes").iterdir())
    assert len(notes) == 1, "one for each network with still predictions"
    asked: list[Question] = []
    blocks_of = comparing.blocks_of

    def watched(questions: Sequence[Question], *given: Any) -> Any:
        asked.extend(questions)
        return blocks_of(questions, *given)

    monkeypatch.setattr(comparing, "blocks_of", watched)
    as_whole(releases.compared(releases.unreached(store)), whole)
    assert {q.prediction for q in asked} == {1, 2}, "nothing else is worked out"
    assert sorted((store.root / "notes").iterdir()) == notes


def test_other_questions_slices_clips_thresholds_or_evidence_find_no_note(store: Store) -> None:
    releases = Releases(2)
    releases.compared(releases.unreached(store))
    fewer = releases.slices[:2]
    moved = ClipIndex(np.where(releases.index.clip == 3, -1, releases.index.clip), releases.index.clips)
    narrow = [Slice("all", releases.slices[0].cells & (np.arange(len(releases.slices[0].cells)) % 5 > 0))]
    for given_instead in ({"slices": fewer}, {"index": moved}, {"slices": narrow}):
        as_whole(
            releases.compared(releases.unreached(store), **given_instead), releases.compared(None, **given_instead)
        )
    as_whole(
        releases.compared(releases.unreached(store), ("recall",)), releases.compared(None, ("recall",)), ("recall",)
    )
    for other in (Releases(2, at=1.0), Releases(3)):
        as_whole(other.compared(other.unreached(store)), other.compared(None))
    assert len(list((store.root / "notes").iterdir())) == 7


def test_a_moved_threshold_is_a_change_though_no_score_is_another() -> None:
    releases = Releases(4)
    codes = releases.new.codes.copy()
    codes[0] += 500
    releases.new = replace(releases.new, codes=codes)
    still = releases.unreached(None)
    assert still.predictions == {3}
    whole, some = releases.compared(None), releases.compared(still)
    first = whole.question < len(METRICS)
    np.testing.assert_array_equal(some.delta, whole.delta)
    np.testing.assert_array_equal(some.weight[first], whole.weight[first])
    assert np.nanmax(np.abs(some.delta[first])) > 0


def test_a_damaged_note_is_worked_out_anew(store: Store) -> None:
    releases = Releases(5)
    releases.compared(releases.unreached(store))
    (path,) = (store.root / "notes").iterdir()
    text = path.read_text()
    path.write_text(text[:-40] + ("A" if text[-40] != "A" else "B") + text[-39:])
    as_whole(releases.compared(releases.unreached(store)), releases.compared(None))
    assert path.read_text() == text


def test_probabilities_are_told_the_same_whether_noted_or_not(store: Store) -> None:
    releases = Releases(6)
    layout = Layout({f"p{k}": (k,) for k in range(COUNT)}, np.zeros(COUNT, bool))

    def told(unreached: Unreached) -> Any:
        return probabilities(releases.old, releases.new, layout, releases.index, 0.95, unreached)

    plain = told(Unreached())
    assert [p.incumbent == p.candidate for p in plain] == [k in SAME for k in range(COUNT)]
    assert plain[0].incumbent.bins
    assert told(releases.unreached(None)) == plain
    assert told(releases.unreached(store)) == plain
    assert told(releases.unreached(store)) == plain
