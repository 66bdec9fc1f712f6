"""Evidence that travels: written whole, read back equal, refused when it is of anything else or was tampered with."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from gate import __version__
from gate.bundle import read_bundle
from gate.errors import EvidenceError
from gate.folded import adjoined, folded, unfolded
from gate.heads import Head, series_of
from gate.run import local, machine, read_evidence, run, write_evidence
from gate.run.pack import Pack, Scope, _canonical, _digest, to_bytes, unpacked, verified
from gate.run.resume import versions
from gate.run.spans import Part, Span, all_joined
from gate.run.summary import HeadSummary
from gate.suite import read_suite
from gate.table import EvidenceTable, keys_of, sum_equal_keys
from gate.tasks import task_of
from tests.support.programs import Programs
from tests.support.stores import broken_world, same
from tests.support.tiny import (
    World,
    gate,
    make_world,
    predict,
    program_bundle,
    refreeze,
    refused,
    with_images,
    write_bundle,
)

COMPARE = ("compare", "old", "new", "--suite", "suite", "--out", "out", "--frames", "0")
FILE = "old.evidence"
MEND = "to mend: write it anew: gate run"


@pytest.fixture(autouse=True)
def _one_time(monkeypatch: pytest.MonkeyPatch, without_contract_worker: None) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture
def exported(releases: Path) -> Path:
    """`releases`, with the evidence of `old` in a file."""
    ended = gate("run", "old", "--suite", "suite", "--export", FILE, "--store", "none", cwd=releases)
    assert ended.code == 0, ended.err
    assert ended.made == (FILE,)
    return releases


def verdict(folder: Path, *more: str) -> tuple[bytes, str]:
    """verdict.json of a comparison, and what was said beside it."""
    ended = gate(*COMPARE, *more, cwd=folder)
    assert ended.code in (0, 1, 3), ended.err
    return (folder / "out" / "verdict.json").read_bytes(), ended.err


# Equal


def test_evidence_of_a_broken_bundle_is_read_back_equal(world: World, tmp_path: Path) -> None:
    broken_world(tmp_path, world)
    bundle, suite = read_bundle(tmp_path / "old"), read_suite(tmp_path / "suite")
    answers = run(bundle, suite)
    write_evidence(tmp_path / FILE, answers, bundle, suite)
    other, again = read_evidence(tmp_path / FILE, suite, [read_bundle(tmp_path / "old")])
    assert other == bundle
    assert same(again, answers)
    assert sorted(again.stored) == ["cam.edge", "cam.over", "cam.range", "cam.sign"]
    first = (tmp_path / FILE).read_bytes()
    write_evidence(tmp_path / FILE, again, bundle, suite)
    assert (tmp_path / FILE).read_bytes() == first


HEAD = Head("cam.a", "multiclass", ("x", "y"), (0, 1))
COUNTED = st.sampled_from([0, 1, 255, 256, 65535, 65536, 2**32, 2**50])


@settings(deadline=None, max_examples=60, database=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 1), st.sampled_from([0, 1, 32768, 65535])),
        st.sampled_from([1, 255, 256, 70_000, 2**40]),
    ),
    st.lists(COUNTED, min_size=40, max_size=40),
)
def test_a_pack_keeps_every_number(histogram: dict[tuple[int, int, int, int], int], sums: list[int]) -> None:
    columns = np.array(list(histogram), np.int64).reshape(-1, 4).T
    counts = np.array(list(histogram.values()), np.int64)
    keys = keys_of(columns[0], columns[1], columns[2].astype(bool), columns[3].astype(np.uint16))
    names = ("fn", "fp", "frames", "tn", "tp")
    moments = np.array(sums, np.int64).reshape(2, 4, 5)
    table = EvidenceTable(series_of(HEAD), 4, *sum_equal_keys(keys, counts), names, moments)
    for (row, cell, label, code), count in histogram.items():
        events = table.row(row, cell).events
        at = [k for k, (c, p) in enumerate(zip(events.codes, events.labels, strict=True)) if (c, p) == (code, label)]
        assert [events.counts[k] for k in at] == [count]
    part = Part(folded(table), HeadSummary(HEAD, 8, first_missing='frame \x1b[31m"quoted"', answered=7))
    pack = Pack(Scope("s", (), ()), Span(0, 8, 5, 4), {"cam.a": "x"}, {"cam.a": part})
    data = to_bytes(pack)
    found = unpacked(*verified(data, ""), {"cam.a": HEAD}, "").parts["cam.a"]
    assert unfolded(found.table) == table
    assert found.table.bare.moments.dtype == np.int64
    assert found.summary.first_missing == 'frame \x1b[31m"quoted"'
    assert found.summary.low.tolist() == [np.inf, np.inf]
    assert to_bytes(pack) == data


@settings(deadline=None, max_examples=20, database=None)
@given(st.lists(st.sampled_from([0, -1, -129, -(2**40), 2**32, 2**62, -(2**62)]), min_size=12, max_size=12))
def test_a_pack_keeps_every_real_sum(sums: list[int]) -> None:
    head = Head("cam.r", "regression", ("r",), (0,))
    names = task_of(head).yields(head).sums
    moments = np.zeros((1, 4, len(names)), np.int64)
    moments[..., [name.startswith("sum_") for name in names]] = np.array(sums).reshape(1, 4, 3)
    none = np.zeros(0, np.int64)
    part = Part(folded(EvidenceTable(series_of(head), 4, none, none, names, moments)), HeadSummary(head, 8))
    data = to_bytes(Pack(Scope("s", (), ()), Span(0, 8, 5, 4), {"cam.r": "x"}, {"cam.r": part}))
    found = unpacked(*verified(data, ""), {"cam.r": head}, "").parts["cam.r"].table.bare
    assert np.array_equal(found.moments, moments)


# The same verdict


def test_with_a_store_or_a_file_or_neither_the_verdict_is_the_same(exported: Path, store_folder: Path) -> None:
    plain, said = verdict(exported, "--store", "none")
    assert "heads from" not in said
    assert not store_folder.exists()
    first, said = verdict(exported)
    assert "heads from" not in said
    second, said = verdict(exported)
    assert "incumbent: 3 of 3 heads from the store\n" in said
    assert "candidate: 3 of 3 heads from the store\n" in said
    brought, said = verdict(exported, "--store", "none", "--evidence", FILE)
    assert "incumbent: 3 of 3 heads from a file\n" in said
    assert "candidate: 3 of 3 heads from" not in said
    assert plain == first == second == brought


def test_evidence_in_a_file_spares_the_incumbent(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    real = local._answered

    def answered(bundle: Any, *given: Any) -> Any:
        ran.append(bundle.version)
        return real(bundle, *given)

    monkeypatch.setattr(local, "_answered", answered)
    verdict(exported, "--store", "none", "--evidence", FILE)
    assert ran == ["2"]
    del ran[:]
    write_bundle(exported / "older", make_world(), predict(make_world(), seed=5), version="0")
    assert gate("run", "older", "--suite", "suite", "--export", "older.evidence", cwd=exported).code == 0
    del ran[:]
    anchored, _ = verdict(exported, "--store", "none", "--anchor", "older")
    assert ran == ["1", "2", "0"]
    del ran[:]
    files = ("--evidence", FILE, "--evidence", "older.evidence")
    assert verdict(exported, "--store", "none", "--anchor", "older", *files)[0] == anchored
    assert ran == ["2"]


def test_evidence_from_another_machine_is_taken_and_said_to_be(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_images(tmp_path / "suite", make_world(calibration=4, validation=12, frames=2))
    program_bundle(tmp_path / "old", programs.honest)
    program_bundle(tmp_path / "new", programs.of_the_batch)

    def there(*given: Any) -> machine.Pairs:
        return tuple((k, "other" if k == "torch" else v) for k, v in machine.runtime(*given))

    with monkeypatch.context() as patch:
        patch.setattr(local, "runtime", there)
        assert gate("run", "old", "--suite", "suite", "--export", FILE, "--store", "none", cwd=tmp_path).code == 0
    _, said = verdict(tmp_path, "--store", "none", "--evidence", FILE)
    assert "incumbent: 1 of 1 heads from a file" in said
    assert "warning: the incumbent's evidence is from another machine (torch other)" in said
    assert json.loads((tmp_path / "out" / "verdict.json").read_text())["runtime"]["torch"] == "other"


# Refused


def test_evidence_of_anything_else_is_refused(exported: Path, world: World) -> None:
    assert gate("run", "new", "--suite", "suite", "--export", "new.evidence", cwd=exported).code == 0
    before = (exported / FILE).read_bytes()
    words = (*COMPARE, "--store", "none", "--evidence")
    refused(gate(*words, "new.evidence", cwd=exported), 4, "new.evidence", "of another bundle, tiny 2", "not of tiny 1")
    refused(gate(*words, "absent.evidence", cwd=exported), 4, "absent.evidence", "no evidence file: no such file", MEND)
    for damaged in (before[:-1], before[: len(before) // 2], b"", b"more", before[:-5] + b"\0" + before[-4:]):
        (exported / FILE).write_bytes(damaged)
        refused(gate(*words, FILE, cwd=exported), 4, FILE, MEND)
    (exported / FILE).write_bytes(before)
    suite = exported / "suite" / "suite.toml"
    suite.write_text(suite.read_text().replace('version = "1"', 'version = "2"'))
    refreeze(exported / "suite")
    refused(gate(*words, FILE, cwd=exported), 4, FILE, "of another suite", MEND)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_regular_file_is_no_evidence(exported: Path) -> None:
    (exported / "zero").symlink_to("/dev/zero")
    (exported / "folder").mkdir()
    os.mkfifo(exported / "fifo")
    for name, what in (("zero", "not a regular file"), ("folder", "a folder, not a file"), ("fifo", "not a regular")):
        ended = gate(*COMPARE, "--store", "none", "--evidence", name, cwd=exported)
        refused(ended, 4, f"{name}: this is no evidence file: {what}", MEND)


def test_a_link_to_evidence_is_evidence(exported: Path) -> None:
    (exported / "link").symlink_to(FILE)
    assert "3 of 3 heads from a file" in verdict(exported, "--store", "none", "--evidence", "link")[1]


def test_evidence_of_any_size_is_refused_unread(exported: Path) -> None:
    os.truncate(exported / FILE, 6 << 30)
    with pytest.raises(EvidenceError, match="6,442,450,944 bytes; the most is 1,073,741,824\n  to mend: write it anew"):
        read_evidence(exported / FILE, read_suite(exported / "suite"), [read_bundle(exported / "old")])


def test_evidence_with_a_very_long_header_is_refused_unparsed(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", pytest.fail)
    (exported / FILE).write_bytes(struct.pack("<Q", 9 << 20) + b'{"a":[' + b"[]," * (3 << 20))
    with pytest.raises(EvidenceError, match="this is no evidence file") as found:
        read_evidence(exported / FILE, read_suite(exported / "suite"), [read_bundle(exported / "old")])
    assert "larger than 8,388,608 bytes" in str(found.value.__cause__.__cause__)


def test_evidence_of_another_version_of_gate_is_refused(exported: Path) -> None:
    data = (exported / FILE).read_bytes()
    (exported / FILE).write_bytes(resealed(data, about(versions=made_with(gate="0.0"))))
    ended = gate(*COMPARE, "--store", "none", "--evidence", FILE, cwd=exported)
    refused(ended, 4, f"{FILE}: this evidence was made with gate 0.0; here is gate {__version__}", MEND)
    (exported / FILE).write_bytes(resealed(data, about(versions=[])))
    refused(gate(*COMPARE, "--store", "none", "--evidence", FILE, cwd=exported), 4, "made with gate none", MEND)


def test_evidence_of_other_libraries_is_taken_and_said_to_be(exported: Path) -> None:
    plain, _ = verdict(exported, "--store", "none")
    data = (exported / FILE).read_bytes()
    (exported / FILE).write_bytes(resealed(data, about(versions=made_with(numpy="0\n", machine="vax"))))
    brought, said = verdict(exported, "--store", "none", "--evidence", FILE)
    told = "the evidence of tiny 1 was made with machine vax, numpy 0\\n"
    assert f"warning: {told}: last bits of scores may differ\n" in said
    assert brought == plain


def made_with(**other: str) -> list[list[str]]:
    return [[key, other.get(key, text)] for key, text in versions(live=False)]


def test_evidence_that_lacks_a_head_is_refused(exported: Path) -> None:
    bundle, suite = read_bundle(exported / "old"), read_suite(exported / "suite")
    write_evidence(exported / FILE, run(bundle, suite, ["cam.sign", "cam.edge"]), bundle, suite)
    words = (*COMPARE, "--store", "none", "--evidence", FILE)
    refused(gate(*words, cwd=exported), 4, FILE, "not of all heads and frames")


def resealed(data: bytes, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> bytes:
    """A file changed by somebody who knows how to make its digest hold."""
    about, arrays = verified(data, "")
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(about, arrays)
    return save(arrays, {"gate": _canonical(about | {"digest": _digest(about, arrays)}).decode()})


def setting(name: str, index: int, value: int) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(about: dict[str, Any], arrays: dict[str, Any]) -> None:
        arrays[name] = arrays[name].astype(np.int64)
        arrays[name][index] = value

    return change


def about(**changes: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda about, arrays: about.update(changes)


def array(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda about, arrays: arrays.__setitem__(name, change(arrays[name]))


def summary(**changes: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    return lambda about, arrays: about["answers"]["cam.sign"].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        setting("cell", 0, 10**6),
        setting("cell", 0, -1),
        setting("code", 0, 1 << 17),
        setting("count", 0, 0),
        setting("count", 0, -5),
        setting("count", 0, 1 << 62),
        array("count", lambda a: np.full(a.shape, (1 << 53) - 1, np.int64)),
        setting("sums", 0, 1 << 62),
        setting("sums", 0, -1),
        setting("unfinite", 0, -5),
        setting("unfinite", 0, 145),
        array("low", lambda a: np.full(a.shape, np.nan)),
        array("high", lambda a: np.full(a.shape, np.nan)),
        array("low", lambda a: a.astype(np.int64)),
        setting("rows", 0, 1 << 62),
        setting("rows", 0, -1),
        array("cell", lambda a: a[:-1]),
        array("rows", lambda a: a[:-1]),
        array("sums", lambda a: np.append(a, a)),
        array("low", lambda a: a[:0]),
        array("code", lambda a: a.astype(np.float32)),
        array("code", lambda a: a.reshape(-1, 1)),
        array("code", lambda a: a[::-1]),
        about(answers={}),
        about(answers=[]),
        about(made_by={"cam.sign": "x"}),
        about(span=[0, 144, 0, 1 << 61]),
        about(span=[0, 144, 0, -1]),
        about(span=[0, True, 0, 36]),
        about(span="0"),
        about(runtime=[["torch"]]),
        about(bundle=7),
        summary(answered="144"),
        summary(answered=145),
        summary(answered=1 << 61),
        summary(refused=None),
        summary(first_unfinite=[]),
    ],
)
def test_impossible_evidence_is_refused_though_its_digest_holds(
    exported: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]
) -> None:
    bundle, suite = read_bundle(exported / "old"), read_suite(exported / "suite")
    data = (exported / FILE).read_bytes()
    (exported / FILE).write_bytes(resealed(data, lambda about, arrays: None))
    read_evidence(exported / FILE, suite, [bundle])
    (exported / FILE).write_bytes(resealed(data, change))
    with pytest.raises(EvidenceError, match=FILE):
        read_evidence(exported / FILE, suite, [bundle])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc")
def test_evidence_of_many_heads_waits_in_few_files() -> None:
    """Each is held open, and a process may open a thousand."""
    keys = keys_of(np.zeros(4096, np.int64), np.arange(4096) % 4, np.ones(4096, bool), np.arange(4096, dtype=np.uint16))
    ordered = sum_equal_keys(keys, np.ones(4096, np.int64))
    table = folded(EvidenceTable(series_of(HEAD), 4, *ordered, (), np.zeros((len(series_of(HEAD)), 4, 0), np.int64)))
    heads, spans = [f"head{k}" for k in range(100)], (Span(0, 4, 0, 4), Span(4, 8, 4, 4))
    parts = [{head: Part(table, HeadSummary(HEAD, 4)) for head in heads} for _ in spans]
    before = os.listdir("/proc/self/fd")
    whole = all_joined(parts, heads, spans, 8)
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    assert parts == [{}, {}]
    assert list(whole) == heads
    alone = unfolded(adjoined([table, table], [0, 4], 8))
    assert all(unfolded(part.table) == alone for part in whole.values())
