"""What a store notes of a comparison: the same answer as without it, and neither engine nor program for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.bundle import read_bundle
from gate.report.flips import parquet_of
from gate.report.moved import Chosen, Moved, moved_frames
from gate.report.noted import noted_frames
from gate.run import Run, Store, contract_checks, contract_table, run
from gate.suite import ContractResult, Suite, read_suite
from gate.suite.contract import UNCHECKED
from tests.support.programs import Programs
from tests.support.stores import opened
from tests.support.tiny import World, gate, predict, program_bundle, write_bundle

KEPT = ContractResult("labels.rows", True, "there are rows", "96 rows", "frames.csv", ("f1", "f2"))
COMPARE = ("compare", "old", "new", "--suite", "suite", "--policy", "suite/policy.toml", "--out", "out")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The contract engine replaced by one that answers `answer`; what was done with it."""
    done: list[str] = []

    @contextmanager
    def worker(root: Path, *, ahead: bool) -> Iterator[Callable[[], None]]:
        done.extend(["ahead"] * ahead)
        yield lambda: None

    def check_all(worker: None, root: Path, predictions: Any) -> tuple[ContractResult, ...]:
        done.append("asked")
        return (replace(KEPT, observed=f"{UNCHECKED}: no memory"),) if "fail" in done else (KEPT,)

    monkeypatch.setattr("gate.run.contracts.contract_worker", worker)
    monkeypatch.setattr("gate.run.contracts.check_all", check_all)
    return done


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return opened(tmp_path / "kept")


@pytest.fixture
def answers(releases: Path) -> tuple[Suite, Run]:
    suite = read_suite(releases / "suite")
    return suite, run(read_bundle(releases / "old"), suite)


def checked(suite: Suite, compared: str, store: Store | None, answers: Run) -> tuple[ContractResult, ...]:
    summary = contract_table(list(answers.summaries.values()))
    with contract_checks(suite, compared, store) as check:
        return check({"candidate": summary}).result()


def test_contracts_that_were_checked_before_need_no_engine(
    answers: tuple[Suite, Run], store: Store, engine: list[str]
) -> None:
    suite, said = answers
    assert checked(suite, "a b", store, said) == (KEPT,)
    assert engine == ["ahead", "asked"]
    assert checked(suite, "a b", store, said) == (KEPT,)
    assert engine == ["ahead", "asked"]
    assert checked(suite, "a b", None, said) == (KEPT,)
    assert engine == ["ahead", "asked"] * 2


def test_another_answer_of_a_program_is_checked_anew_though_the_bundles_were_compared_before(
    answers: tuple[Suite, Run], store: Store, engine: list[str]
) -> None:
    suite, said = answers
    checked(suite, "a b", store, said)
    said.summaries["cam.sign"].low[0] -= 1
    checked(suite, "a b", store, said)
    assert engine == ["ahead", "asked", "asked"]


def test_what_the_engine_could_not_check_is_asked_again(
    answers: tuple[Suite, Run], store: Store, engine: list[str]
) -> None:
    suite, said = answers
    engine.append("fail")
    checked(suite, "a b", store, said)
    engine.clear()
    assert checked(suite, "a b", store, said) == (KEPT,)
    assert engine == ["ahead", "asked"]


def test_a_note_that_was_tampered_with_is_worked_out_anew(
    answers: tuple[Suite, Run], store: Store, engine: list[str]
) -> None:
    suite, said = answers
    checked(suite, "a b", store, said)
    for path in (store.root / "notes").iterdir():
        path.write_text(path.read_text().replace('"success": true', '"success": false'))
    assert checked(suite, "a b", store, said) == (KEPT,)
    assert engine.count("asked") == 2


# Frames


def frames(folder: Path, store: Store | None, *, limit: int = 60, threshold: float = 0.0) -> tuple[Any, bytes, int]:
    """(what moved, as it is written, bytes of the flips, how often programs or recordings were asked)."""
    suite, old, new = read_suite(folder / "suite"), read_bundle(folder / "old"), read_bundle(folder / "new")
    names = ("cam.sign[stop]", "cam.edge", "cam.range")
    chosen = [Chosen(name, threshold, threshold, tuple(range(12, 36)), 1.0) for name in names]
    asked = 0

    def look() -> Any:
        nonlocal asked
        asked += 1
        return moved_frames(old, new, suite, chosen, limit=limit)

    moved, flips = noted_frames(store, (old, new), suite, chosen, limit=limit, device="cpu", look=look)
    return [as_plain(m) for m in moved], parquet_of(flips), asked


def as_plain(moved: Moved) -> dict[str, Any]:
    """All fields, arrays as lists, so that they can be compared."""
    pictures = [
        {**vars(p), **{s: {**vars(d), "raster": (d.raster.dtype, d.raster.tolist())} for s, d in sides(p)}}
        for p in moved.pictures
    ]
    return {**vars(moved), "pictures": pictures}


def sides(picture: Any) -> list[tuple[str, Any]]:
    return [("incumbent", picture.incumbent), ("candidate", picture.candidate)]


def test_frames_that_were_drawn_before_are_the_same_and_ask_nothing(releases: Path, store: Store) -> None:
    drawn = frames(releases, store)
    assert drawn[2] == 1
    assert any(p["incumbent"]["raster"][1] for m in drawn[0] for p in m["pictures"])
    assert frames(releases, store) == (*drawn[:2], 0)
    assert frames(releases, None) == drawn


def test_other_limits_thresholds_or_bundles_are_drawn_anew(releases: Path, store: Store, world: World) -> None:
    frames(releases, store)
    assert frames(releases, store, limit=3) == frames(releases, None, limit=3)
    assert frames(releases, store, threshold=1.5) == frames(releases, None, threshold=1.5)
    write_bundle(releases / "new", world, {k: v + 1 if k == "range" else v for k, v in predict(world).items()})
    assert frames(releases, store)[2] == 1


def test_frames_of_which_some_had_no_answer_are_not_noted(releases: Path, store: Store, world: World) -> None:
    write_bundle(releases / "new", world, predict(world, seed=2), keep=lambda frame: frame != "f0100")
    assert frames(releases, store)[2] == 1
    assert frames(releases, store)[2] == 1


def test_a_second_comparison_writes_the_same_page_without_engine_or_program(
    pictures: Path, small_world: World, programs: Programs, engine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program_bundle(pictures / "old", programs.honest)
    write_bundle(pictures / "new", small_world, {"sign": predict(small_world, noise=4.0)["sign"]}, version="2")
    first = gate(*COMPARE, cwd=pictures)
    assert first.code == 1, first.err
    page = (pictures / "out" / "report.html").read_bytes()
    assert b"data:image/webp" in page
    engine.clear()
    for work in ("gate.report.moved.replay", "gate.run.local.Session"):
        monkeypatch.setattr(work, None)  # calling it would be an internal error
    again = gate(*COMPARE, cwd=pictures)
    assert (again.code, engine) == (1, []), again.err
    assert (pictures / "out" / "report.html").read_bytes() == page
