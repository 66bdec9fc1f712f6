"""The evidence store: the same answer with any store, whatever happened to it, and nothing run that is there."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.bundle import read_bundle
from gate.errors import EvidenceError, LockError, UsageError
from gate.pipeline import compare_bundles
from gate.report.verdict import verdict_json
from gate.run import Run, Store, local, open_store, run
from gate.run.pack import Pack, Scope, address, verified
from gate.run.spans import Span, spans_of
from gate.run.store import MARKER, check, collect, entries
from gate.suite import read_suite
from tests.support.programs import Programs
from tests.support.stores import (
    Killed,
    broken_world,
    failing,
    full,
    opened,
    packs,
    ran,
    same,
    short_spans,
    start,
    told,
)
from tests.support.tiny import World, make_world, nested, predict, program_bundle, refreeze, with_images, write_bundle

#: Runs killed at random instants; GATE_KILLS=50 for a long trial.
KILLS = int(os.environ.get("GATE_KILLS", "8"))
HEADS = ["cam.edge", "cam.over", "cam.range", "cam.sign"]


@pytest.fixture(autouse=True)
def _short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    short_spans(monkeypatch)


@pytest.fixture(scope="module")
def odd_world() -> World:
    """Clips of five frames: spans of sixteen begin and end inside them."""
    return make_world(frames=5)


@pytest.fixture(scope="module")
def exam(odd_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """180 frames in twelve spans, and a bundle `old` with much that is wrong."""
    return broken_world(tmp_path_factory.mktemp("exam"), odd_world)


@pytest.fixture(scope="module")
def plain(exam: Path) -> Run:
    """What the bundle answers at one go, in a single span and without a store."""
    assert len(spans_of(read_suite(exam / "suite").frames, 4096)) == 1
    return ran(exam, None)


@pytest.fixture(scope="module")
def whole_store(exam: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("filled") / "store"
    with pytest.MonkeyPatch.context() as patch:
        short_spans(patch)
        ran(exam, opened(root))
    return root


@pytest.fixture
def filled(whole_store: Path, tmp_path: Path) -> Path:
    """A store that holds everything about `old`."""
    return shutil.copytree(whole_store, tmp_path / "store")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], list[int]]]:
    """What was really run: heads, and the first frames of the spans."""
    runs: list[tuple[list[str], list[int]]] = []
    real = local._answered

    def answered(bundle: Any, suite: Any, truths: Any, recorded: Any, spans: Any, *more: Any) -> Iterator[Any]:
        runs.append(([t.head.name for t in truths], [s.start for s in spans]))
        return real(bundle, suite, truths, recorded, spans, *more)

    monkeypatch.setattr(local, "_answered", answered)
    return runs


Asked = list[tuple[list[str], list[int]]]


# The same answer


def test_the_second_run_says_the_same_and_runs_nothing(exam: Path, plain: Run, filled: Path, asked: Asked) -> None:
    again = ran(exam, opened(filled))
    assert same(again, plain)
    assert (sorted(again.stored), asked) == (HEADS, [])
    faults = again.faults()
    assert faults["cam.edge"] == "outputs of shape (1, 4, 3) a frame; the suite wants (1, 4, 4)"
    assert faults["cam.over"].startswith("an error is too large to be added up")
    assert faults["cam.range"] == "no prediction for 2 of 180 frames, the first is f0040"
    assert faults["cam.sign[stop]"] == faults["cam.sign[yield]"] == faults["cam.range"]
    assert again.summaries["cam.sign"].unfinite.tolist() == [0, 2]
    sign = again.summaries["cam.sign"]
    assert (sign.shape, sign.expected_shape, sign.dtype, sign.answered) == ("(2,)", "(2,)", "float32", 178)
    assert again.summaries["cam.sign"].first_unfinite == ["", "f0070"]
    assert len(packs(filled)) == 12  # one a span, however many heads


@settings(deadline=None, max_examples=15, database=None)
@given(gone=st.sets(st.integers(0, 11)))
def test_whatever_part_of_a_store_is_there_the_evidence_is_the_same(
    exam: Path, plain: Run, whole_store: Path, tmp_path_factory: pytest.TempPathFactory, gone: set[int]
) -> None:
    root = shutil.copytree(whole_store, tmp_path_factory.mktemp("some") / "store")
    before = packs(root)
    for k in gone:
        before[k].unlink()
    left = {path: path.read_bytes() for path in packs(root)}
    with pytest.MonkeyPatch.context() as patch:
        short_spans(patch)
        found = ran(exam, opened(root))
    assert same(found, plain)
    assert len(found.stored) == (0 if gone else 4)
    assert packs(root) == before
    assert all(path.read_bytes() == data for path, data in left.items())


def test_only_heads_of_a_changed_network_run_again(odd_world: World, exam: Path, tmp_path: Path, asked: Asked) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        folder = write_bundle(tmp_path / name, odd_world, {k: v for k, v in predict(odd_world).items() if k != "range"})
        frames = pa.table(
            {"frame_id": pa.array(odd_world.ids), "range": nested(predict(odd_world, seed=seed)["range"])}
        )
        pq.write_table(frames, folder / "far.parquet")
        with (folder / "bundle.toml").open("a") as file:
            file.write('\n[networks.far]\npredictions = "far.parquet"\n')
    text = (exam / "suite" / "suite.toml").read_text().replace('"cam.range"', '"far.range"')
    shutil.copytree(exam / "suite", tmp_path / "suite")
    (tmp_path / "suite" / "suite.toml").write_text(text)
    refreeze(tmp_path / "suite")
    store = opened(tmp_path / "store")
    ran(tmp_path, store, "a")
    found = ran(tmp_path, store, "b")
    every = list(range(0, 180, 15))
    assert asked[1:] == [(["far.range"], every)]
    assert sorted(found.stored) == ["cam.edge", "cam.sign"]
    assert same(found, ran(tmp_path, None, "b"))
    del asked[:]
    assert same(ran(tmp_path, store, "b"), found)
    assert asked == []


def test_evidence_of_programs_is_stored_by_what_they_ran_on(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    monkeypatch.setattr("gate.run.partition.LANES", 16)
    with_images(tmp_path / "suite", make_world(calibration=14, validation=40, frames=4))
    program_bundle(tmp_path / "old", programs.of_the_batch)
    store = opened(tmp_path / "store")
    first = ran(tmp_path, store)
    assert asked == [(["cam.sign"], [0, 64, 128, 192])]
    packs(store.root)[1].unlink()
    again = ran(tmp_path, store)
    assert len(asked[1][1]) == 1
    assert same(again, first)
    assert again.runtime == first.runtime != ()
    monkeypatch.setattr(local, "runtime", lambda networks, device, threads: (("device", "another"),))
    assert ran(tmp_path, store).stored == ()


@pytest.mark.parametrize(
    "other",
    [
        Pack(Scope("suite", (("torch", "2"),), ()), Span(0, 16, 0, 4), {"a": "x"}, {}),
        Pack(Scope("suite", (), (("gate", "2"),)), Span(0, 16, 0, 4), {"a": "x"}, {}),
        Pack(Scope("other", (), ()), Span(0, 16, 0, 4), {"a": "x"}, {}),
        Pack(Scope("suite", (), ()), Span(0, 32, 0, 4), {"a": "x"}, {}),
        Pack(Scope("suite", (), ()), Span(0, 16, 0, 4), {"a": "y"}, {}),
        Pack(Scope("suite", (), ()), Span(0, 16, 0, 4), {"a": "x", "b": "x"}, {}),
        Pack(Scope("suite", (), ()), Span(0, 16, 0, 4), {"a": "x"}, {}, ("name", "1", "sha256:b")),
    ],
)
def test_whatever_evidence_depends_on_is_in_its_address(other: Pack) -> None:
    question = Pack(Scope("suite", (), ()), Span(0, 16, 0, 4), {"a": "x"}, {})
    assert address(other) != address(question)
    two = {"a": "x", "b": "y"}
    assert address(replace(question, made_by=two)) == address(replace(question, made_by=dict(reversed(two.items()))))


@pytest.mark.parametrize(("clips", "least", "spans"), [(1, 16, 1), (16, 16, 1), (17, 16, 2), (256, 16, 16)])
@pytest.mark.parametrize("times", [1, 2, 64])
def test_a_suite_of_any_length_has_few_spans_of_whole_clips(
    clips: int, least: int, spans: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.run.partition.LANES", 16)

    class Frames:
        clip = np.repeat(np.arange(clips), times)
        cell = np.arange(clips * times) // 3

    found = spans_of(Frames(), least * times)  # type: ignore[arg-type]
    assert len(found) == spans
    assert [s.start for s in found[1:]] == [s.stop for s in found[:-1]]
    assert (found[0].start, found[-1].stop) == (0, clips * times)
    assert all(s.start % times == 0 for s in found)
    assert len(spans_of(Frames(), 1)) <= 16  # type: ignore[arg-type]


# Killed


def test_a_run_killed_at_any_write_leaves_nothing_half_done(exam: Path, plain: Run, tmp_path: Path) -> None:
    with failing(10**9, Killed()) as calls:
        ran(exam, opened(tmp_path / "whole"))
    assert calls[0] > 30
    for at in range(0, calls[0], 3):
        root = tmp_path / f"killed-{at}"
        with pytest.raises(Killed), failing(at, Killed()):
            ran(exam, opened(root))
        lines, tell = told()
        found = ran(exam, opened(root, tell))
        assert same(found, plain)
        assert lines == []
        assert packs(root) == [root / p.relative_to(tmp_path / "whole") for p in packs(tmp_path / "whole")]


def test_after_sigkill_at_a_random_instant_the_verdict_has_the_same_bytes(
    releases: Path, tmp_path: Path, without_contract_worker: None
) -> None:
    def verdict(store: Store | None) -> str:
        suite = releases / "suite"
        files = {"suite": suite, "policy": suite / "policy.toml", "thresholds": releases / "thresholds"}
        result = compare_bundles(releases / "old", releases / "new", **files, store=store)
        return verdict_json(result.decision, time="now")

    plain, rng = verdict(None), random.Random(7)
    child, begun = start(releases, tmp_path / "timed", "old", "new"), time.monotonic()
    child.communicate()
    lasts = time.monotonic() - begun
    whole = [p.relative_to(tmp_path / "timed") for p in packs(tmp_path / "timed")]
    assert len(whole) == 12
    halfway = 0
    for k in range(KILLS):
        root = tmp_path / f"store-{k}"
        child = start(releases, root, "old", "new")
        time.sleep(rng.uniform(0, lasts))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        halfway += 0 < len(packs(root)) < 18
        lines, tell = told()
        store = opened(root, tell)
        assert check(store) == (len(packs(root)), 0)
        assert verdict(store) == plain
        assert [p.relative_to(root) for p in packs(root)] == whole
        assert lines == []
    print(f"{halfway} of {KILLS} kills fell between two spans")
    assert halfway or KILLS < 20


def test_two_runs_at_once_share_a_store(exam: Path, plain: Run, tmp_path: Path) -> None:
    children = [start(exam, tmp_path / "store", "old") for _ in range(2)]
    for child in children:
        out, err = child.communicate()
        assert child.returncode == 0, err
        assert "warning" not in out + err
    assert check(opened(tmp_path / "store")) == (12, 0)
    found = ran(exam, opened(tmp_path / "store"))
    assert same(found, plain)
    assert len(found.stored) == 4


def test_a_store_that_another_run_makes_and_fills_meanwhile_is_a_store(
    exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, root = os.listdir, tmp_path / "store"

    def late(folder: Path) -> list[str]:
        monkeypatch.setattr(os, "listdir", look)
        ran(exam, opened(root))
        return look(folder)

    monkeypatch.setattr(os, "listdir", late)
    assert len(ran(exam, opened(root)).stored) == 4
    assert len(packs(root)) == 12


# Damaged


def test_a_byte_that_flips_is_noticed_wherever_it_is(filled: Path) -> None:
    data = packs(filled)[0].read_bytes()
    about, arrays = verified(data, "")
    for k in range(len(data)):
        for bit in (1, 128):
            other = bytearray(data)
            other[k] ^= bit
            try:
                told, found = verified(bytes(other), "")
            except EvidenceError:
                continue
            # Padding may flip; what is read may not.
            assert told == about
            assert all(found[name].tobytes() == arrays[name].tobytes() for name in arrays)


@pytest.mark.parametrize("change", ["flipped", "cut", "empty", "swapped", "another file"])
def test_what_is_damaged_is_set_aside_and_run_again(
    exam: Path, plain: Run, filled: Path, asked: Asked, change: str
) -> None:
    one, other = packs(filled)[2:4]
    data = one.read_bytes()
    if change == "flipped":
        one.write_bytes(data[:-9] + bytes([data[-9] ^ 4]) + data[-8:])
    elif change == "swapped":
        one.write_bytes(other.read_bytes())
        other.write_bytes(data)
    else:
        one.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "another file": b"PK\3\4" + bytes(100)}[change])
    lines, tell = told()
    found = ran(exam, opened(filled, tell))
    assert same(found, plain)
    number = 2 if change == "swapped" else 1
    assert [len(spans) for _, spans in asked] == [number]
    assert len(lines) == number
    assert all(f"{filled}/" in line and "quarantine" in line and "run again" in line for line in lines)
    assert {p.name for p in (filled / "quarantine").iterdir()} == (
        {one.name, other.name} if number == 2 else {one.name}
    )
    assert one.read_bytes() == data
    assert check(opened(filled)) == (12, 0)


def test_what_is_damaged_was_told_too_early_and_in_the_end_every_frame_is_told_once(exam: Path, filled: Path) -> None:
    damaged, gone = packs(filled)[2:4]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    gone.unlink()
    frames, totals = list[int](), set[int]()

    def progress(done: int, total: int) -> None:
        frames.append(done)
        totals.add(total)

    run(read_bundle(exam / "old"), read_suite(exam / "suite"), progress=progress, store=opened(filled))
    assert totals == {sum(frames)}
    assert min(frames) < 0


def test_a_bundle_that_changes_while_it_runs_leaves_nothing_behind(
    odd_world: World, exam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(exam, tmp_path / "work")
    old = tmp_path / "work" / "old"
    bundle, suite, store = read_bundle(old), read_suite(tmp_path / "work" / "suite"), opened(tmp_path / "store")
    write_bundle(old, odd_world, predict(odd_world, seed=9))  # exported anew after its digest was taken
    with pytest.raises(LockError, match="changed while it ran"):
        run(bundle, suite, store=store)
    assert packs(store.root) == []

    bundle = read_bundle(old)
    frames = 0

    def later(done: int, total: int) -> None:
        nonlocal frames
        frames += done
        if frames == 45:
            write_bundle(old, odd_world, predict(odd_world, seed=10))

    with pytest.raises(LockError, match="changed while it ran"):
        run(bundle, suite, progress=later, store=store)
    assert len(packs(store.root)) in (1, 2)  # the second may still have been on its way


def test_a_suite_that_changes_while_it_is_run_leaves_nothing_behind_though_it_is_restored(
    exam: Path, tmp_path: Path
) -> None:
    shutil.copytree(exam, tmp_path / "work")
    bundle, suite, store = read_bundle(exam / "old"), read_suite(tmp_path / "work/suite"), opened(tmp_path / "store")
    truths = suite.root / suite.lock.files[0][0]
    before = truths.read_bytes()

    def swapped(done: int, total: int) -> None:
        truths.rename(tmp_path / "aside")
        truths.write_bytes(before[:-1])
        (tmp_path / "aside").replace(truths)

    with pytest.raises(LockError, match="suite was changed while it was used"):
        run(bundle, suite, progress=swapped, store=store)
    assert packs(store.root) == []
    read_suite(suite.root)  # as frozen, and nobody would know


# No room, no right, no folder


def test_a_disk_that_is_full_at_any_write_costs_nothing_but_the_store(exam: Path, plain: Run, tmp_path: Path) -> None:
    store = opened(tmp_path / "whole")
    with failing(10**9, full()) as calls:
        ran(exam, store)
    for at in range(0, calls[0], 4):
        root = tmp_path / f"full-{at}"
        lines, tell = told()
        store = opened(root, tell)
        with failing(at, full()):
            assert same(ran(exam, store), plain)
        assert len(lines) == 1, lines
        assert "cannot be written (" in lines[0]
        assert os.strerror(errno.ENOSPC) in lines[0]
        assert not list(root.rglob(".*.safetensors.*"))
        assert same(ran(exam, store), plain)
        assert len(packs(root)) == 12
        assert len(lines) == 1


def test_a_store_that_can_only_be_read_is_read(
    exam: Path, plain: Run, filled: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    packs(filled)[4].unlink()
    packs(filled)[5].write_bytes(b"damaged")
    lines, tell = told()
    with failing(0, OSError(errno.EROFS, os.strerror(errno.EROFS))):
        found = ran(exam, opened(filled, tell))
    assert same(found, plain)
    assert [len(spans) for _, spans in asked] == [1, 1]  # what lacks, and what was found damaged meanwhile
    said = list(dict.fromkeys(lines))  # as the command line says them
    assert [("cannot be moved away" in line, "cannot be written" in line) for line in said] == [
        (True, False),
        (False, True),
    ]


def test_a_store_that_vanishes_is_not_made_again(exam: Path, plain: Run, filled: Path) -> None:
    for path in packs(filled)[3:]:
        path.unlink()
    lines, tell = told()

    def gone(done: int, total: int) -> None:
        shutil.rmtree(filled, ignore_errors=True)

    suite, bundle = read_suite(exam / "suite"), read_bundle(exam / "old")
    assert same(run(bundle, suite, progress=gone, store=opened(filled, tell)), plain)
    assert len(lines) == 1
    assert os.strerror(errno.ENOENT) in lines[0]
    assert not filled.exists()


@pytest.mark.parametrize("harm", ["gone", "broken"])
def test_a_marker_that_is_lost_during_a_run_costs_no_result(exam: Path, plain: Run, filled: Path, harm: str) -> None:
    for path in packs(filled)[3:]:
        path.unlink()
    lines, tell = told()

    def lost(done: int, total: int) -> None:
        if harm == "gone":
            (filled / MARKER).unlink(missing_ok=True)
        else:
            (filled / MARKER).write_text("x=")

    suite, bundle = read_suite(exam / "suite"), read_bundle(exam / "old")
    assert same(run(bundle, suite, progress=lost, store=opened(filled, tell)), plain)
    assert [line.startswith("warning: the store was not tidied: ") for line in lines] == [True]


def test_a_shelf_that_cannot_be_read_is_told_and_run_again(
    exam: Path, plain: Run, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, listed = packs(filled)[0].parent, os.listdir

    def refuses(path: object = ".") -> list[str]:
        if path == shelf:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return listed(path)

    lines, tell = told()
    for path in packs(filled):
        path.unlink()
    monkeypatch.setattr("gate.run.store.os.listdir", refuses)
    assert same(ran(exam, opened(filled, tell)), plain)
    assert "cannot be read (Permission denied); what it holds is run again" in lines[0]


@pytest.mark.parametrize("what", ["a folder of other things", "a file", "another version", "a broken marker"])
def test_a_folder_that_is_no_store_is_refused_when_it_was_named_and_left_alone_when_not(
    tmp_path: Path, what: str
) -> None:
    root = tmp_path / "place"
    if what == "a file":
        root.write_text("mine")
    else:
        root.mkdir()
        (root / "thesis.txt").write_text("mine")
    if what == "another version":
        (root / MARKER).write_text('schema = "gate.store/9"\n')
    if what == "a broken marker":
        (root / MARKER).write_text('schema = "gate.store/1"\nlimit_bg = 3.0\n')
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(UsageError) as refused:
        open_store(root, print, required=True)
    assert str(root) in str(refused.value)
    lines, tell = told()
    assert open_store(root, tell, required=False) is None
    assert len(lines) == 1
    assert lines[0].startswith("warning: no evidence is kept: ")
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


# Upkeep


def aged(root: Path, *ages_s: float) -> list[Path]:
    """The packs, used so many seconds ago."""
    found = packs(root)
    for path, age in zip(found, ages_s, strict=True):
        os.utime(path, (time.time() - age,) * 2)
    return found


def test_above_the_limit_what_was_not_used_for_longest_goes_and_the_young_stay(filled: Path) -> None:
    found = aged(filled, 0, *range(1200, 100, -100))
    sizes = [p.stat().st_size for p in found]
    store = opened(filled)
    collect(replace(store, limit=sum(sizes) - sizes[1] - 1))
    assert packs(filled) == sorted([found[0], *found[3:]])
    collect(replace(store, limit=0))
    assert packs(filled) == [found[0]]
    collect(store)
    assert packs(filled) == [found[0]]


def test_files_of_the_future_are_the_oldest(filled: Path) -> None:
    found = aged(filled, *[5000.0] * 11, -1e6)
    collect(replace(opened(filled), limit=sum(p.stat().st_size for p in found) - 1))
    assert packs(filled) == found[:-1]


def test_what_cannot_be_removed_is_counted(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    aged(filled, *[5000.0] * 12)
    lines, tell = told()
    store = replace(opened(filled, tell), limit=0)
    monkeypatch.setattr(Path, "unlink", refuses)
    assert collect(store) == []
    assert "12 files of the store" in lines[0]


def test_a_run_that_reads_a_pack_keeps_it_young(exam: Path, filled: Path) -> None:
    aged(filled, *[5000.0] * 12)
    ran(exam, opened(filled))
    assert collect(replace(opened(filled), limit=0)) == []


def test_a_run_that_writes_keeps_the_store_within_its_limit(odd_world: World, exam: Path, filled: Path) -> None:
    aged(filled, *[5000.0] * 12)
    first = packs(filled)
    store = replace(opened(filled), limit=int(1.6 * sum(p.stat().st_size for p in first)))
    text = (exam / "old" / "bundle.toml").read_text()
    other = shutil.copytree(exam / "old", filled.parent / "other")
    (other / "bundle.toml").write_text(text.replace('version = "1"', 'version = "2"'))
    same_network = run(read_bundle(other), read_suite(exam / "suite"), store=store)
    assert len(same_network.stored) == 4  # the name of a bundle makes no evidence
    aged(filled, *[5000.0] * 12)
    write_bundle(other, odd_world, predict(odd_world, seed=4))
    assert run(read_bundle(other), read_suite(exam / "suite"), store=store).stored == ()
    assert sum(e.size for e in entries(store)) <= store.limit
    assert 12 <= len(packs(filled)) < 24
    assert not set(first) <= set(packs(filled))


def test_upkeep_touches_nothing_but_the_files_of_a_store(filled: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shelf = packs(filled)[0].parent
    shutil.copytree(shelf, outside)
    (filled / "notes.txt").write_text("mine")
    (shelf / "notes.txt").write_text("mine")
    link = shelf.parent / ("0" * 62)
    link.symlink_to(outside, target_is_directory=True)
    half, fresh = shelf / f".{'a' * 64}.safetensors.x1", shelf / f".{'b' * 64}.safetensors.x2"
    for path, age in ((half, 7200), (fresh, 600), *((p, 7200) for p in (*packs(filled), *outside.iterdir()))):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    store = replace(opened(filled), limit=0)
    collect(store)
    assert len(list(outside.iterdir())) == 12
    assert sorted(p.name for p in filled.rglob("*") if p.is_file()) == sorted(
        [MARKER, "notes.txt", "notes.txt", fresh.name]
    )
    (filled / MARKER).unlink()
    with pytest.raises(UsageError, match="no evidence store"):
        collect(store)


def test_verify_finds_what_is_damaged(filled: Path) -> None:
    packs(filled)[7].write_bytes(packs(filled)[6].read_bytes())
    lines, tell = told()
    assert check(opened(filled, tell)) == (12, 1)
    assert "the evidence of something else" in lines[0]
    assert check(opened(filled, tell)) == (11, 0)
