"""A bundle over a suite: what is wrong with one prediction stays with it, and programs answer as plain torch does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

import gate.run.feed as feed
import gate.run.local as local
import gate.run.process as process
import gate.run.reducing as reducing
import gate.run.session as session
from gate.bundle import read_bundle
from gate.errors import BundleError
from gate.lattice import decode
from gate.run import Run, contract_table, run
from gate.suite import read_suite
from gate.table import EvidenceTable, by_score
from tests.support.tiny import SUITE, World, make_world, predict, refreeze, write_bundle, write_suite

Array = NDArray[Any]

#: The tiny exam, with a head of every other coupling: a softmax, and boxes read from two outputs.
WHOLE = (
    SUITE
    + """
[[heads]]
head = "cam.light"
task = "multiclass"
channels = ["red", "green"]
truth = { columns = "light_class" }

[[heads]]
head = "cam.det"
task = "detection"
score = "sigmoid"
channels = ["car", "van"]
outputs = { box = "cam.det_box", score = "cam.det_score" }
decoder = { kind = "boxes", floor = 0.1 }
truth = { table = "boxes.csv", class = "class", box = ["x0", "y0", "x1", "y1"] }

[[heads]]
head = "cam.sure"
task = "binary"
score = "probability"
truth = { columns = "has_stop" }
"""
)
ALONE = {
    "cam.sign": ["cam.sign[stop]", "cam.sign[yield]"],
    "cam.edge": ["cam.edge"],
    "cam.range": ["cam.range"],
    "cam.light": ["cam.light[red]", "cam.light[green]"],
    "cam.det": ["cam.det[car]", "cam.det[van]"],
    "cam.sure": ["cam.sure"],
}


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(calibration=6, validation=9, frames=3)


@pytest.fixture(scope="module")
def suite_folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_suite(tmp_path_factory.mktemp("exam"), world, text=WHOLE, freeze=False)
    lines = (folder / "frames.csv").read_text().splitlines()
    classes = ["light_class", *("red" if k % 3 else "green" for k in range(len(world.ids)))]
    (folder / "frames.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(lines, classes, strict=True)) + "\n")
    boxes = [f"{name},{'car' if k % 2 else 'van'},0,0,10,10" for k, name in enumerate(world.ids)]
    (folder / "boxes.csv").write_text("\n".join(["frame_id,class,x0,y0,x1,y1", *boxes]) + "\n")
    refreeze(folder)
    return folder


def answers(world: World) -> dict[str, Array]:
    """All outputs of a decent release, float32."""
    rng = np.random.default_rng(8)
    count = len(world.ids)
    given = predict(world)
    given["light"] = rng.normal(size=(count, 2))
    given["det_box"] = np.tile([[0.0, 0.0, 10.0, 9.0], [20.0, 20.0, 30.0, 30.0]], (count, 1, 1))
    given["det_score"] = rng.normal(size=(count, 2, 2))
    given["sure"] = rng.random(count)
    return {name: values.astype(np.float32) for name, values in given.items()}


def recorded(folder: Path, world: World, outputs: Mapping[str, Array], **options: Any) -> Path:
    return write_bundle(folder, world, outputs, **options)


def write_tensors(folder: Path, world: World, outputs: Mapping[str, Array], rows: Sequence[int] | None = None) -> Path:
    """The same bundle with its predictions in safetensors, rows in another order."""
    folder.mkdir(parents=True, exist_ok=True)
    order = list(rows if rows is not None else range(len(world.ids)))[::-1]
    names = [world.ids[k].encode() for k in order]
    width = max(map(len, names)) + 2
    index = np.array([list(name.ljust(width, b"\0")) for name in names], dtype=np.uint8)
    tensors = {name: np.ascontiguousarray(values[order]) for name, values in outputs.items()}
    save_file({"frame_id": index, **tensors}, folder / "cam.safetensors")
    (folder / "bundle.toml").write_text(
        '[bundle]\nname = "tiny"\nversion = "1"\n\n[networks.cam]\npredictions = "cam.safetensors"\n'
    )
    return folder


def ran(bundle: Path, suite: Path) -> Run:
    return run(read_bundle(bundle), read_suite(suite))


@pytest.fixture(scope="module")
def good(world: World, suite_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ran(recorded(tmp_path_factory.mktemp("good"), world, answers(world)), suite_folder)


def rows_equal(a: EvidenceTable, b: EvidenceTable, series: int) -> bool:
    return all(a.row(series, cell) == b.row(series, cell) for cell in range(a.cells))


def differing(a: Run, b: Run) -> set[str]:
    """Predictions whose evidence differs."""
    return {
        table.series[k].prediction
        for name, table in a.evidence.items()
        for k in range(len(table.series))
        if not rows_equal(table, b.evidence[name], k)
    }


def test_every_judged_head_is_answered_without_fault(good: Run) -> None:
    assert set(good.evidence) == set(ALONE)
    assert good.faults() == {}
    assert good.missing == ()
    assert good.runtime == ()  # no network ran


def test_parquet_and_safetensors_give_equal_evidence(
    world: World, suite_folder: Path, good: Run, tmp_path: Path
) -> None:
    tensors = ran(write_tensors(tmp_path, world, answers(world)), suite_folder)
    assert tensors.evidence == good.evidence
    assert tensors.faults() == {}


def test_rows_of_frames_that_the_suite_does_not_judge_are_not_read(
    world: World, suite_folder: Path, good: Run, tmp_path: Path
) -> None:
    more = World(
        [*world.ids, "zzz"],
        *([*values, values[-1]] for values in (world.clips, world.splits, world.lights)),
        *(np.concatenate([values, values[-1:]]) for values in (world.signs, world.edge, world.range_m)),
    )
    outputs = {name: np.concatenate([v, np.full_like(v[-1:], np.nan)]) for name, v in answers(world).items()}
    again = ran(recorded(tmp_path, more, outputs), suite_folder)
    assert again.evidence == good.evidence
    assert again.faults() == {}


def test_evidence_does_not_depend_on_the_size_of_a_batch(
    world: World, suite_folder: Path, good: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = recorded(tmp_path, world, answers(world))
    for size in (1, 7, 1000):
        monkeypatch.setattr(local, "BATCH", size)
        monkeypatch.setattr(local, "VALUES", 1)
        assert ran(bundle, suite_folder).evidence == good.evidence


def test_only_a_bounded_number_of_tables_waits_to_be_added(
    world: World, suite_folder: Path, good: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[int] = []
    monkeypatch.setattr(local, "BATCH", 1)
    monkeypatch.setattr(local, "VALUES", 1)
    monkeypatch.setattr(reducing, "PENDING", 4)
    merge, keep = reducing.merge, reducing.Reducer.keep

    def counted(self: Any, *given: Any) -> None:
        keep(self, *given)
        waiting.append(len(self.pending))

    merged: list[int] = []
    monkeypatch.setattr(reducing.Reducer, "keep", counted)
    monkeypatch.setattr(reducing, "merge", lambda tables: merged.append(len(tables)) or merge(tables))
    again = ran(recorded(tmp_path, world, answers(world)), suite_folder)
    assert len(waiting) == len(ALONE) * len(world.ids)
    assert max(waiting) < 4
    assert max(merged) == 4
    assert again.evidence == good.evidence


MANY = """
[[heads]]
head = "cam.n{k}"
task = "binary"
score = "sigmoid"
truth = {{ columns = "has_{of}" }}
"""


@pytest.mark.parametrize("together", [1, 3, 16])
def test_heads_reduced_together_answer_as_each_alone_and_a_broken_one_spoils_no_neighbour(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    text = WHOLE[: WHOLE.index("[[heads]]")]
    text += "".join(MANY.format(k=k, of="stop" if k % 2 else "yield") for k in range(7))
    suite = write_suite(tmp_path / "exam", world, text=text, freeze=False)
    refreeze(suite)
    rng = np.random.default_rng(3)
    outputs = {f"n{k}": rng.normal(size=len(world.ids)).astype(np.float32) for k in range(7)}
    outputs["n2"][4] = np.nan
    outputs["n3"] = rng.normal(size=(len(world.ids), 2)).astype(np.float32)  # of a wrong shape
    monkeypatch.setattr(reducing, "TOGETHER", together)
    found = ran(recorded(tmp_path / "all", world, outputs), suite)
    assert sorted(found.faults()) == ["cam.n2", "cam.n3"]
    assert "NaN or infinity in 1 of 45 frames" in found.faults()["cam.n2"]
    assert "shape" in found.faults()["cam.n3"]
    logits, truth = outputs["n5"].astype(np.float16), world.signs[:, 0] == 1
    table = found.evidence["cam.n5"]
    told = sorted(
        (float(x), bool(y), n)
        for x, y, n in zip(decode(by_score(table).code), by_score(table).positive, by_score(table).count, strict=True)
    )
    assert told == sorted((float(x), bool(y), 1) for x, y in zip(logits, truth, strict=True))
    for k in (0, 1, 4, 5, 6):
        alone = run(read_bundle(tmp_path / "all"), read_suite(suite), [f"cam.n{k}"])
        assert alone.evidence[f"cam.n{k}"] == found.evidence[f"cam.n{k}"]


def test_only_a_few_batches_are_decoded_ahead(
    world: World, suite_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "BATCH", 1)
    monkeypatch.setattr(local, "VALUES", 1)
    decoded: list[int] = []
    read = feed.read_inputs
    monkeypatch.setattr(feed, "read_inputs", lambda *given: decoded.append(1) or read(*given))
    ahead: list[int] = []
    done = 0

    def progress(frames: int, total: int) -> None:
        nonlocal done
        done += frames
        ahead.append(len(decoded) - done)

    run(read_bundle(recorded(tmp_path, world, answers(world))), read_suite(suite_folder), progress=progress)
    assert done == len(world.ids)
    assert max(ahead) <= feed.AHEAD + 3


def test_an_interrupt_while_the_last_decoder_ends_is_not_lost(
    world: World, suite_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(ThreadPoolExecutor):
        def shutdown(self, *given: Any, **named: Any) -> None:
            super().shutdown(*given, **named)
            raise KeyboardInterrupt

    monkeypatch.setattr(feed, "ThreadPoolExecutor", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        ran(recorded(tmp_path, world, answers(world)), suite_folder)


Break = Callable[[dict[str, Array]], None]


def set_at(name: str, place: Any, value: float) -> Break:
    def do(outputs: dict[str, Array]) -> None:
        outputs[name][place] = value

    return do


def replace_with(name: str, values: Callable[[Array], Array]) -> Break:
    def do(outputs: dict[str, Array]) -> None:
        outputs[name] = np.ascontiguousarray(values(outputs[name]))

    return do


BROKEN: list[tuple[str, Break, list[str], str]] = [
    ("NaN in one channel", set_at("sign", (5, 0), np.nan), ["cam.sign[stop]"], "NaN or infinity in 1 of 45 frames"),
    ("infinity in one channel", set_at("sign", (5, 1), np.inf), ["cam.sign[yield]"], "NaN or infinity"),
    ("NaN in a raster", set_at("edge", (2, 3, 3), np.nan), ["cam.edge"], "the first is f0002"),
    ("NaN in a quantity", set_at("range", 44, -np.inf), ["cam.range"], "the first is f0044"),
    ("NaN in a softmax", set_at("light", (0, 1), np.nan), ALONE["cam.light"], "NaN or infinity in 1 of 45"),
    ("NaN in a box", set_at("det_box", (9, 0, 2), np.nan), ALONE["cam.det"], "NaN or infinity in 1 of 45"),
    ("a probability above one", set_at("sure", 3, 1.5), ["cam.sure"], "outside 0 to 1"),
    ("a probability below zero", set_at("sure", 3, -0.001), ["cam.sure"], "outside 0 to 1"),
    ("a channel too many", replace_with("sign", lambda v: v[:, [0, 1, 1]]), ALONE["cam.sign"], "shape (3,)"),
    ("a raster of another size", replace_with("edge", lambda v: v[:, :3]), ["cam.edge"], "the suite wants (1, 4, 4)"),
    ("boxes of three numbers", replace_with("det_box", lambda v: v[:, :, :3]), ALONE["cam.det"], "expected (N, 4)"),
    ("quantities too large", set_at("range", 1, 3e9), ["cam.range"], "too large to be added up"),
]


@pytest.mark.parametrize(("spoil", "faulty", "says"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
@pytest.mark.parametrize("write", [recorded, write_tensors])
def test_what_is_wrong_with_a_prediction_stays_with_it(
    world: World,
    suite_folder: Path,
    good: Run,
    tmp_path: Path,
    write: Callable[..., Path],
    spoil: Break,
    faulty: list[str],
    says: str,
) -> None:
    outputs = answers(world)
    spoil(outputs)
    broken = ran(write(tmp_path, world, outputs), suite_folder)
    assert sorted(broken.faults()) == sorted(faulty)
    assert all(says in why for why in broken.faults().values())
    assert differing(good, broken) <= set(faulty)


def test_an_empty_value_of_a_table_is_not_a_number(world: World, suite_folder: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = recorded(tmp_path, world, answers(world))
    table = pq.read_table(folder / "cam.parquet")
    ranges = table.column("range").to_pylist()
    ranges[7] = None
    at = table.column_names.index("range")
    pq.write_table(table.set_column(at, "range", pa.array(ranges, pa.float32())), folder / "cam.parquet")
    faults = ran(folder, suite_folder).faults()
    assert list(faults) == ["cam.range"]
    assert "the first is f0007" in faults["cam.range"]


def test_a_table_of_empty_lists_breaks_the_head(world: World, suite_folder: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = recorded(tmp_path, world, answers(world))
    table = pq.read_table(folder / "cam.parquet")
    nothing = pa.array([[]] * table.num_rows, pa.list_(pa.float32()))
    at = table.column_names.index("range")
    pq.write_table(table.set_column(at, "range", nothing), folder / "cam.parquet")
    faults = ran(folder, suite_folder).faults()
    assert list(faults) == ["cam.range"]
    assert "shape" in faults["cam.range"]


def test_a_missing_frame_is_a_fault_of_the_heads_that_lack_it(
    world: World, suite_folder: Path, good: Run, tmp_path: Path
) -> None:
    outputs = answers(world)
    parts = {"range": outputs.pop("range"), "det_box": outputs.pop("det_box")}
    recorded(tmp_path, world, outputs)
    write_tensors(tmp_path, world, parts, [k for k in range(len(world.ids)) if k not in (4, 20)])
    (tmp_path / "bundle.toml").write_text(
        '[bundle]\nname = "tiny"\nversion = "1"\n\n[networks.cam]\npredictions = ["cam.parquet", "cam.safetensors"]\n'
    )
    found = ran(tmp_path, suite_folder)
    lacking = {"cam.range", *ALONE["cam.det"]}
    assert set(found.faults()) == lacking
    assert set(found.faults().values()) == {"no prediction for 2 of 45 frames, the first is f0004"}
    assert differing(good, found) <= lacking
    frames = read_suite(suite_folder).frames
    whole = set(range(frames.cells)) - set(frames.cell[np.isin(frames.ids, ["f0004", "f0020"])].tolist())
    for name in ("cam.range", "cam.det"):
        old, new = good.evidence[name], found.evidence[name]
        for series in range(len(old.series)):
            assert all(old.row(series, cell) == new.row(series, cell) for cell in whole)


def test_no_frame_at_all_is_a_fault_of_everything(world: World, suite_folder: Path, tmp_path: Path) -> None:
    found = ran(recorded(tmp_path, world, answers(world), keep=lambda frame: False), suite_folder)
    assert set(found.faults()) == {p for many in ALONE.values() for p in many}
    assert not any(table.counts.sum() for table in found.evidence.values())


def test_a_head_that_is_not_there_is_missing_and_the_rest_is_answered(
    world: World, suite_folder: Path, good: Run, tmp_path: Path
) -> None:
    outputs = answers(world)
    del outputs["edge"], outputs["det_box"]
    found = ran(recorded(tmp_path, world, outputs), suite_folder)
    assert set(found.missing) == {"cam.edge", "cam.det"}
    assert found.evidence == {name: good.evidence[name] for name in ALONE if name not in found.missing}


def test_only_the_heads_that_are_asked_for_are_answered(
    world: World, suite_folder: Path, good: Run, tmp_path: Path
) -> None:
    bundle = read_bundle(recorded(tmp_path, world, answers(world)))
    found = run(bundle, read_suite(suite_folder), ["cam.edge"])
    assert found.evidence == {"cam.edge": good.evidence["cam.edge"]}


def test_the_contract_sees_what_the_faults_say(world: World, suite_folder: Path, tmp_path: Path) -> None:
    outputs = answers(world)
    outputs["sign"][5, 0] = np.nan
    outputs["sure"][3] = 1.5
    table = contract_table(list(ran(recorded(tmp_path, world, outputs), suite_folder).summaries.values()))
    row = {name: k for k, name in enumerate(table["prediction"].tolist())}
    assert table["finite_share"][row["cam.sign[stop]"]] == pytest.approx(44 / 45)
    assert table["finite_share"][row["cam.sign[yield]"]] == 1.0
    assert table["high"][row["cam.sure"]] == 1.5
    assert (table["lo"][row["cam.sure"]], table["hi"][row["cam.sure"]]) == (0.0, 1.0)
    assert set(table["frames_answered"].tolist()) == {45}


@pytest.mark.parametrize("write", [recorded, write_tensors])
def test_a_frame_with_two_rows_is_refused(
    world: World, suite_folder: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    twice = World(
        [*world.ids[:-1], world.ids[0]], world.clips, world.splits, world.lights, world.signs, world.edge, world.range_m
    )
    with pytest.raises(BundleError, match="frame f0000 has two rows"):
        ran(write(tmp_path, twice, answers(world)), suite_folder)


# Networks


DAG_SUITE = """\
[suite]
name = "dag"
version = "1"
frames = "frames.csv"
frame_id = "frame_id"
clip_id = "clip_id"
order_by = "at"

[splits]
column = "split"
calibration = "calibration"
validation = "validation"

[inputs.picture]
kind = "array"
file = "arrays/{frame_id}.npy"
shape = [3, 4]

[inputs.speed]
kind = "column"
column = "speed"
shape = []

[[heads]]
head = "trunk.sum"
task = "regression"
unit = "1"
truth = { columns = "zero" }

[[heads]]
head = "top.pair"
task = "regression"
channels = ["a", "b"]
unit = "1"
truth = { columns = "zero_{channel}" }
"""
DAG_BUNDLE = """\
[bundle]
name = "dag"
version = "1"

[networks.top]
program = "top.pt2"
inputs = { features = "trunk.features", speed = "speed" }
heads = ["pair"]

[networks.trunk]
program = "trunk.pt2"
inputs = { picture = "picture" }
heads = ["features", "sum"]
"""
FRAMES = 37


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Array]]:
    """(suite, bundle, outputs that plain torch computes) of two networks, the second of which reads the first."""
    import torch

    class Trunk(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = torch.nn.Linear(12, 5)

        def forward(self, picture: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"features": torch.tanh(self.mix(picture.flatten(1))), "sum": picture.sum(dim=(1, 2))}

    class Top(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = torch.nn.Linear(5, 2)

        def forward(self, features: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
            return self.out(features) * speed[:, None]

    torch.manual_seed(0)
    trunk, top = Trunk().eval(), Top().eval()
    rng = np.random.default_rng(1)
    pictures = rng.normal(size=(FRAMES, 3, 4)).astype(np.float32)
    speeds = rng.uniform(1, 3, FRAMES).round(3)
    root = tmp_path_factory.mktemp("dag")
    suite, bundle = root / "suite", root / "bundle"
    (suite / "arrays").mkdir(parents=True)
    bundle.mkdir()
    rows = ["frame_id,clip_id,at,split,speed,zero,zero_a,zero_b"]
    for k in range(FRAMES):
        np.save(suite / "arrays" / f"f{k:02d}.npy", pictures[k])
        rows.append(f"f{k:02d},c{k // 4},{k},{'validation' if k >= 16 else 'calibration'},{speeds[k]},0,0,0")
    (suite / "frames.csv").write_text("\n".join(rows) + "\n")
    (suite / "suite.toml").write_text(DAG_SUITE)
    refreeze(suite)
    batch = torch.export.Dim("batch", min=1, max=256)
    image, speed = torch.from_numpy(pictures), torch.from_numpy(speeds.astype(np.float32))
    with torch.inference_mode():
        said = trunk(image)
        outputs = {"trunk.sum": said["sum"].numpy(), "top.pair": top(said["features"], speed).numpy()}
    torch.export.save(torch.export.export(trunk, (image[:2],), dynamic_shapes=({0: batch},)), bundle / "trunk.pt2")
    export = torch.export.export(top, (torch.zeros(2, 5), torch.ones(2)), dynamic_shapes=({0: batch}, {0: batch}))
    torch.export.save(export, bundle / "top.pt2")
    (bundle / "bundle.toml").write_text(DAG_BUNDLE)
    return suite, bundle, outputs


def test_two_networks_one_reading_the_other_answer_as_plain_torch(dag: tuple[Path, Path, dict[str, Array]]) -> None:
    suite, bundle, outputs = dag
    found = ran(bundle, suite)
    assert found.faults() == {}
    assert dict(found.runtime)["device"] == "cpu"
    clips = [np.arange(FRAMES) // 4 == c for c in range((FRAMES + 3) // 4)]
    for head, expected in outputs.items():
        table = found.evidence[head]
        for name, values in (("sum_error", expected), ("sum_abs_error", np.abs(expected))):
            by_clip = np.array([values.reshape(FRAMES, -1)[inside].sum(axis=0) for inside in clips]).T
            # Cells are sorted by split and clip name, and clips c0 … c9 are in that order.
            assert table.sums(name) == pytest.approx(by_clip, abs=1e-5)


def test_a_network_that_no_judged_head_needs_is_not_run(
    dag: tuple[Path, Path, dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, bundle, _ = dag
    read, scanned = process.program_bytes, list[str]()
    monkeypatch.setattr(process, "program_bytes", lambda n: scanned.append(n.program.name) or read(n))
    session.end_workers()  # a program that ran in this process would not be loaded again
    run(read_bundle(bundle), read_suite(suite), ["trunk.sum"])
    assert scanned == ["trunk.pt2"]
    run(read_bundle(bundle), read_suite(suite), ["top.pair"])
    assert scanned == ["trunk.pt2", "top.pt2"]  # the trunk is loaded still


def test_heads_of_a_manifest_that_names_other_outputs_are_broken(
    dag: tuple[Path, Path, dict[str, Array]], tmp_path: Path
) -> None:
    suite, bundle, _ = dag
    for name in ("trunk.pt2", "top.pt2"):
        (tmp_path / name).write_bytes((bundle / name).read_bytes())
    (tmp_path / "bundle.toml").write_text(DAG_BUNDLE.replace('["features", "sum"]', '["features", "total", "sum"]'))
    faults = ran(tmp_path, suite).faults()
    assert faults["trunk.sum"].startswith("network trunk: the program's outputs are features, sum")
    assert faults["top.pair[a]"].startswith("network top: it reads trunk, of which: the program's outputs are")


def test_a_head_that_reads_what_the_suite_does_not_offer_is_broken_and_others_are_judged(
    dag: tuple[Path, Path, dict[str, Array]], tmp_path: Path
) -> None:
    suite, bundle, _ = dag
    for name in ("trunk.pt2", "top.pt2"):
        (tmp_path / name).write_bytes((bundle / name).read_bytes())
    (tmp_path / "bundle.toml").write_text(DAG_BUNDLE.replace('speed = "speed"', 'speed = "pace"'))
    found = ran(tmp_path, suite)
    assert set(found.faults()) == {"top.pair[a]", "top.pair[b]"}
    assert "the suite has no input 'pace', which its input speed reads" in found.faults()["top.pair[a]"]
    assert found.evidence["trunk.sum"] == ran(bundle, suite).evidence["trunk.sum"]
