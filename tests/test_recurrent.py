"""Networks that remember: a stack of four networks answers as a plain loop over the frames of each clip does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gate.bundle import Bundle, Network, impact_of, read_bundle
from gate.errors import BundleError, ConfigError, SuiteError
from gate.run import Run, Watch, partition, process, run, session, stack, watched
from gate.run.partition import rounds_of, steps_of
from gate.run.replay import replay
from gate.run.signature import Program
from gate.suite import Suite, read_suite
from tests.support.hydra import archive, saved
from tests.support.tiny import refreeze

Array = NDArray[Any]
#: Frames of each clip, of one, of many, and more than stay in memory at once.
LENGTHS = [1, 3, 40, 7, 2, 16, 17, 5, 4, 6, 33, 8, 9, 3, 3, 3, 3, 12, 11, 1, 2]
WINDOW = 4


class Camera(torch.nn.Module):
    """A picture in, features and their sum out."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Linear(12, 5)

    def forward(self, picture: torch.Tensor) -> dict[str, torch.Tensor]:
        features = torch.tanh(self.mix(picture.flatten(1)))
        return {"features": features, "sum": features.sum(1)}


class Memory(torch.nn.Module):
    """A gated memory of the features, and the state beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = torch.nn.GRUCell(5, 6)
        self.out = torch.nn.Linear(6, 1)

    def forward(self, features: torch.Tensor, memory: torch.Tensor, speed: torch.Tensor) -> dict[str, torch.Tensor]:
        left = self.cell(features * speed[:, None], memory)
        return {"seen": self.out(left)[:, 0], "memory": left}


class Look(torch.nn.Module):
    """What was last seen, the latest frame most."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor([0.1, 0.2, 0.3, 0.9]))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (features * self.weights[None, :, None]).sum((1, 2))


class Top(torch.nn.Module):
    """Reads the memory; remembers nothing itself."""

    def forward(self, seen: torch.Tensor, speed: torch.Tensor) -> torch.Tensor:
        return seen.sin() * speed


SUITE = """\
[suite]
name = "clips"
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
"""
HEADS = ("camera.sum", "memory.seen", "look.out", "top.out")
HEAD = """
[[heads]]
head = "{head}"
task = "regression"
unit = "1"
truth = {{ columns = "zero" }}
"""
BUNDLE = """\
[bundle]
name = "clips"
version = "1"

[networks.top]
program = "top.pt2"
inputs = { seen = "memory.seen", speed = "speed" }
heads = ["out"]

[networks.look]
program = "look.pt2"
inputs = { features = "camera.features" }
heads = ["out"]
window = 4

[networks.memory]
program = "memory.pt2"
inputs = { features = "camera.features", memory = "memory.memory", speed = "speed" }
heads = ["seen", "memory"]
state = { memory = "zeros" }

[networks.camera]
program = "camera.pt2"
inputs = { picture = "picture" }
heads = ["features", "sum"]
"""


def expected(nets: dict[str, torch.nn.Module], pictures: Array, speeds: Array, clip: Array) -> dict[str, Array]:
    """Head -> value of each frame, by a loop over frames, one at a time."""
    found: dict[str, list[float]] = {head: [] for head in HEADS}
    with torch.inference_mode():
        for name in sorted(set(clip.tolist())):
            state, past = torch.zeros(1, 6), list[torch.Tensor]()
            for k in np.flatnonzero(clip == name).tolist():
                speed = torch.from_numpy(speeds[k : k + 1])
                seen = nets["camera"](torch.from_numpy(pictures[k : k + 1]))
                past.append(seen["features"])
                told = nets["memory"](seen["features"], state, speed)
                state = told["memory"]
                window = ([past[0]] * WINDOW + past)[-WINDOW:]
                found["camera.sum"].append(seen["sum"].item())
                found["memory.seen"].append(told["seen"].item())
                found["look.out"].append(nets["look"](torch.stack(window, 1)).item())
                found["top.out"].append(nets["top"](told["seen"], speed).item())
    return {head: np.array(values) for head, values in found.items()}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, Path, dict[str, Array]]:
    """(suite, bundle, head -> what a plain loop says of each frame, in the suite's order)."""
    torch.manual_seed(2)
    nets = {"camera": Camera(), "memory": Memory(), "look": Look(), "top": Top()}
    root = tmp_path_factory.mktemp("clips")
    suite, bundle = root / "suite", root / "bundle"
    (suite / "arrays").mkdir(parents=True)
    bundle.mkdir()
    rng, rows = np.random.default_rng(4), ["frame_id,clip_id,at,split,speed,zero"]
    for k, length in enumerate(LENGTHS):
        split = "calibration" if k < 9 else "validation"
        for at in range(length):
            name = f"c{k:02d}f{at:02d}"
            np.save(suite / "arrays" / f"{name}.npy", rng.normal(size=(3, 4)).astype(np.float32))
            rows.append(f"{name},c{k:02d},{at},{split},{rng.uniform(1, 3):.3f},0")
    (suite / "frames.csv").write_text("\n".join(rows) + "\n")
    (suite / "suite.toml").write_text(SUITE + "".join(HEAD.format(head=head) for head in HEADS))
    refreeze(suite)
    shapes = {"camera": [(3, 4)], "memory": [(5,), (6,), ()], "look": [(WINDOW, 5)], "top": [(), ()]}
    for name, net in nets.items():
        (bundle / f"{name}.pt2").write_bytes(archive(net.eval(), *shapes[name]))
    (bundle / "bundle.toml").write_text(BUNDLE)
    exam = read_suite(suite)
    pictures = np.stack([np.load(suite / "arrays" / f"{name}.npy") for name in exam.frames.ids])
    speeds = exam.frames.columns["speed"].astype(np.float32)
    return exam, bundle, expected(nets, pictures, speeds, exam.frames.clip)


def by_clip(answers: Run, head: str) -> Array:
    return answers.evidence[head].sums("sum_error")[0]


def summed(suite: Suite, values: Array) -> Array:
    return np.bincount(suite.frames.cell, values)


def test_every_network_answers_as_a_plain_loop_over_the_frames(clips: tuple[Suite, Path, dict[str, Array]]) -> None:
    suite, bundle, loop = clips
    answers = run(read_bundle(bundle), suite)
    assert answers.faults() == {}
    for head, values in loop.items():
        assert by_clip(answers, head) == pytest.approx(summed(suite, values), abs=1e-5)


@pytest.mark.parametrize(("batch", "lanes", "steps"), [(1, 1, 1), (7, 5, 3), (64, 32, 64)])
def test_no_size_of_batch_group_or_round_changes_an_answer(
    clips: tuple[Suite, Path, dict[str, Array]], monkeypatch: pytest.MonkeyPatch, batch: int, lanes: int, steps: int
) -> None:
    suite, bundle, loop = clips
    for name, value in (("BATCH", batch), ("LANES", lanes), ("STEPS", steps)):
        monkeypatch.setattr(partition, name, value)
    answers = run(read_bundle(bundle), suite)
    for head, values in loop.items():
        assert by_clip(answers, head) == pytest.approx(summed(suite, values), abs=1e-5)


def _side_by_side(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    session.end_workers()  # they have as many threads as they were started with
    monkeypatch.setattr(session, "batches_at_once", lambda suite, device: (batches, 1))


def test_however_many_batches_run_side_by_side_the_bits_are_the_same(
    clips: tuple[Suite, Path, dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, bundle, loop = clips
    found = []
    for batches in (1, 2, 3, 8):
        _side_by_side(monkeypatch, batches)
        found.append(run(read_bundle(bundle), suite))
    for answers in found:
        assert (answers.faults(), sorted(answers.ran)) == ({}, sorted(found[0].ran))
        assert {head: answers.evidence[head] == found[0].evidence[head] for head in HEADS} == dict.fromkeys(HEADS, True)
        assert by_clip(answers, "top.out") == pytest.approx(summed(suite, loop["top.out"]), abs=1e-5)
    session.end_workers()


def test_chosen_clips_are_replayed_to_the_bits_that_were_counted(
    clips: tuple[Suite, Path, dict[str, Array]],
) -> None:
    suite, bundle, loop = clips
    wanted = [2, 18]
    seen: dict[str, list[int]] = {head: [] for head in HEADS}
    for rows, (side,) in replay([read_bundle(bundle)], suite, HEADS, wanted):
        for head, answered in side.items():
            assert answered.rows.tolist() == rows.tolist()
            assert answered.outputs[""] == pytest.approx(loop[head][rows], abs=1e-5)
            seen[head] += rows.tolist()
    everything = np.flatnonzero(np.isin(suite.frames.clip, wanted)).tolist()
    assert all(sorted(rows) == everything for rows in seen.values())


def test_answers_of_networks_that_remember_come_a_batch_at_a_time(
    clips: tuple[Suite, Path, dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, rows = process.receive, dict[str, list[int]]()

    def hear(source: Any, seconds: float | None = None) -> Any:
        head, arrays = real(source, seconds)
        for name, values in arrays.items():
            rows.setdefault(name, []).append(len(values))
        return head, arrays

    monkeypatch.setattr(process, "receive", hear)
    run(read_bundle(clips[1]), clips[0])
    assert "memory.memory" not in rows  # nobody asked for it outside
    for head in HEADS:
        assert sum(rows[head]) == sum(LENGTHS)
        assert max(rows[head]) == partition.BATCH


def test_a_network_whose_answer_to_a_batch_is_too_large_is_broken_and_says_so(
    clips: tuple[Suite, Path, dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {n.name: n for n in read_bundle(clips[1]).networks}
    monkeypatch.setattr(stack, "MAX_ARRAYS", 200)

    def wide(inputs: Any, heads: Any = None) -> Any:
        return {"features": (np.zeros((4, 5), np.float32), ""), "sum": (np.zeros((4, 13), np.float32), "")}

    for give, fails in (({"camera.features"}, False), ({"camera.features", "camera.sum"}, True), (set[str](), False)):
        chosen, parts = [made["camera"]], {"camera": ["features", "sum"]}
        working = stack.Stack(chosen, {"camera": Program(wide, {}, False)}, parts, give)
        (told,) = working.batch([{"picture": np.zeros((4, 3, 2, 2), np.float32)}])
        assert (told.network, set(told.outputs)) == ("camera", set() if fails else give)
        assert ("camera" in working.failed, bool(told.ran)) == (fails, not fails)
        if fails:
            assert working.failed["camera"].startswith("it answers a batch with ")


@pytest.mark.parametrize("together", [1, 2, 3, 6])
@pytest.mark.parametrize("breaks", [{2}, {4}, set[int]()])
def test_where_an_output_that_is_remembered_changes_its_shape_hangs_on_no_grouping(
    together: int, breaks: set[int]
) -> None:
    """Batch 3 has another shape; `breaks`: batches on which the network fails by itself."""

    def forward(inputs: Mapping[str, Array], heads: object = None) -> dict[str, tuple[Array, str]]:
        at = int(inputs["x"][0, 0])
        if at in breaks:
            raise BundleError("the program failed")
        return {"f": (np.ones((len(inputs["x"]), 5 if at == 3 else 4), np.float32), "float32")}

    def plain(inputs: Mapping[str, Array], heads: object = None) -> dict[str, tuple[Array, str]]:
        return {"y": (inputs["f"].sum(1), "float32")}

    def late(inputs: Mapping[str, Array], heads: object = None) -> dict[str, tuple[Array, str]]:
        return {"z": (inputs["f"].sum((1, 2)), "float32")}

    networks = [
        Network("cam", Path("cam.pt2"), (), (("x", "x"),), ("f",), ""),
        Network("head", Path("head.pt2"), (), (("f", "cam.f"),), ("y",), ""),
        Network("look", Path("look.pt2"), (), (("f", "cam.f"),), ("z",), "", window=2),
    ]
    programs = {n.name: Program(f, {}) for n, f in zip(networks, (forward, plain, late), strict=True)}
    parts = {n.name: list(n.heads) for n in networks}
    nets = stack.Stack(networks, programs, parts, ["cam.f", "head.y", "look.z"], most=2)
    nets.begin([6] * 4, True)
    batches = [{"x": np.full((4, 1), k, np.float32)} for k in range(6)]
    answered: dict[str, set[int]] = {"cam": set(), "head": set()}
    failed: dict[str, str] = {}
    for start in range(0, 6, together):
        told = list(nets.batch(batches[start : start + together]))
        for k in range(together):
            failed = {t.network: t.failed for t in told if t.batch == k and t.failed} | failed
            for name in {t.network for t in told if t.batch == k} - failed.keys():
                answered[name].add(start + k)
    first = min(breaks | {3})
    assert answered == {"cam": set(range(first)), "head": set(range(first))}
    why = "the program failed" if first in breaks else "the shape of its output cam.f changes from frame to frame"
    assert failed == nets.failed == {"cam": why, "head": f"it reads cam, of which: {why}"}
    list(nets.rest(24))
    assert nets.failed["look"] == f"it reads cam, of which: {why}"


def test_a_program_that_is_not_understood_has_no_second_try_that_would_hide_what_it_remembers() -> None:
    calls = list[int]()

    def settles(inputs: Mapping[str, Array], heads: object = None) -> dict[str, tuple[Array, str]]:
        calls.append(len(calls))
        return {"y": (inputs["x"] * (2 if len(calls) == 1 else 1), "float32")}

    def honest(inputs: Mapping[str, Array], heads: object = None) -> dict[str, tuple[Array, str]]:
        return {"y": (inputs["x"], "float32")}

    networks = [Network(name, Path("n.pt2"), (), (("x", "x"),), ("y",), "") for name in ("hiding", "other")]
    programs = {"hiding": Program(settles, {}, True), "other": Program(honest, {}, True)}
    nets = stack.Stack(networks, programs, {n.name: ["y"] for n in networks}, ["hiding.y", "other.y"], most=2)
    list(nets.batch([{"x": np.full((4, 1), k, np.float32)} for k in (1, 2, 3)]))
    assert set(nets.failed) == {"hiding"}
    assert nets.failed["hiding"].startswith("asked the same twice, it answers differently")


def test_the_spot_check_sees_a_last_bit_of_networks_that_remember(
    clips: tuple[Suite, Path, dict[str, Array]], tmp_path: Path
) -> None:
    suite, bundle, _ = clips
    for path in bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.manual_seed(2)
    Camera()
    memory = Memory().eval()
    with torch.no_grad():
        memory.out.bias.copy_(torch.nextafter(memory.out.bias, torch.tensor(9.0)))
    (tmp_path / "memory.pt2").write_bytes(archive(memory, (5,), (6,), ()))
    outputs = frozenset({"memory.seen", "camera.sum"})
    one, again, other = (watched(read_bundle(b), suite, Watch(3, outputs)) for b in (bundle, bundle, tmp_path))
    assert sorted(one) == ["camera.sum", "memory.seen"]
    assert one == again
    assert one["memory.seen"] != other["memory.seen"]
    early = watched(read_bundle(bundle), suite, Watch(3, frozenset({"camera.sum"})))
    assert early["camera.sum"] == one["camera.sum"] == other["camera.sum"]


def test_chosen_clips_are_replayed_to_the_same_bits_by_both_of_two_equal_bundles(
    clips: tuple[Suite, Path, dict[str, Array]],
) -> None:
    suite, bundle, _ = clips
    made, whole = read_bundle(bundle), dict[int, float]()
    for rows, (side,) in replay([made], suite, ["memory.seen"], range(len(suite.frames.clips))):
        whole |= dict(zip(rows.tolist(), side["memory.seen"].outputs[""].tolist(), strict=True)) if side else {}
    assert len(whole) == len(suite.frames.ids)
    for _, sides in replay([made, made], suite, ["memory.seen"], [2, 18]):
        for side in sides:
            for answered in side.values():
                assert [whole[row] for row in answered.rows.tolist()] == answered.outputs[""].tolist()


class Lone(torch.nn.Module):
    """A memory of the speed alone."""

    def forward(self, speed: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        left = memory * 0.5 + speed[:, None]
        return left.sum(1), left


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_network_that_fails_on_a_later_batch_takes_none_with_it_but_its_readers(
    clips: tuple[Suite, Path, dict[str, Array]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    suite, bundle, _ = clips
    _side_by_side(monkeypatch, batches)
    for path in bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    batch = torch.export.Dim("batch", min=16, max=256)  # the last batch of a round is shorter
    made = torch.export.export(Camera().eval(), (torch.zeros(20, 3, 4),), dynamic_shapes=({0: batch},))
    (tmp_path / "camera.pt2").write_bytes(saved(made))
    (tmp_path / "top.pt2").write_bytes(archive(Lone(), (), (1,)))
    text = BUNDLE.replace(
        'inputs = { seen = "memory.seen", speed = "speed" }', 'inputs = { speed = "speed", memory = "top.memory" }'
    )
    text = text.replace(
        'heads = ["out"]\n\n[networks.look]',
        'heads = ["out", "memory"]\nstate = { memory = "zeros" }\n\n[networks.look]',
    )
    assert text.count('state = { memory = "zeros" }') == 2
    (tmp_path / "bundle.toml").write_text(text)
    answers = run(read_bundle(tmp_path), suite)
    assert set(answers.faults()) == {"camera.sum", "memory.seen", "look.out"}
    assert "network camera: the program failed" in answers.faults()["camera.sum"]
    assert answers.summaries["camera.sum"].answered == sum(min(n, 16) for n in LENGTHS[:16]) // 16 * 16
    speeds, seen = suite.frames.columns["speed"], np.zeros(len(suite.frames.ids))
    for clip in range(len(suite.frames.clips)):
        memory = 0.0
        for k in np.flatnonzero(suite.frames.clip == clip).tolist():
            memory = seen[k] = memory * 0.5 + float(speeds[k])
    assert by_clip(answers, "top.out") == pytest.approx(summed(suite, seen), rel=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('order_by = "at"\n', "", "nothing says in what order frames are"),
        ('order_by = "at"', 'order_by = "zero"', "of one clip have the same zero"),
    ],
)
def test_networks_that_remember_want_a_certain_order_of_frames(
    clips: tuple[Suite, Path, dict[str, Array]], tmp_path: Path, old: str, new: str, words: str
) -> None:
    shutil.copytree(clips[0].root, tmp_path / "suite")
    text = (tmp_path / "suite" / "suite.toml").read_text()
    assert old in text
    (tmp_path / "suite" / "suite.toml").write_text(text.replace(old, new))
    refreeze(tmp_path / "suite")
    suite = read_suite(tmp_path / "suite")
    with pytest.raises(SuiteError) as error:
        run(read_bundle(clips[1]), suite)
    assert words in str(error.value)
    assert run(read_bundle(clips[1]), suite, ["camera.sum"]).faults() == {}  # what remembers nothing needs no order


def test_a_state_that_changes_its_shape_breaks_its_network_and_what_reads_it(
    clips: tuple[Suite, Path, dict[str, Array]], tmp_path: Path
) -> None:
    class Growing(torch.nn.Module):
        def forward(self, features: torch.Tensor, memory: torch.Tensor, speed: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"seen": features.sum(1) + memory.sum(1) * speed, "memory": torch.cat([memory, memory], 1)}

    suite, bundle, loop = clips
    for path in bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "memory.pt2").write_bytes(archive(Growing(), (5,), (6,), ()))
    answers = run(read_bundle(tmp_path), suite)
    faults = answers.faults()
    assert set(faults) == {"memory.seen", "top.out"}
    assert faults["memory.seen"] == "network memory: its state memory changes its shape from (6,) to (12,)"
    assert faults["top.out"].startswith("network top: it reads memory, of which: its state")
    assert by_clip(answers, "look.out") == pytest.approx(summed(suite, loop["look.out"]), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "step", "failed"),
    [("float32", 1e9, False), ("float64", 0.5, True), ("int64", 7, False), ("int64", 1 << 21, True)],
)
def test_a_state_that_float32_cannot_hold_breaks_its_network(kind: str, step: float, failed: bool) -> None:
    def forward(inputs: Mapping[str, Array], heads: object = None) -> dict[str, tuple[Array, str]]:
        state = inputs["h"] + np.float32(step)
        return {"y": (inputs["x"] + state % 1, "float32"), "h": (state, kind)}

    network = Network("net", Path("net.pt2"), (), (("x", "x"), ("h", "net.h")), ("y", "h"), "", state=("h",))
    nets = stack.Stack([network], {"net": Program(forward, {"x": (4,), "h": (4,)})}, {"net": ["y", "h"]}, ["net.y"])
    nets.begin([8], True)
    list(nets.batch([{"x": np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)}]))
    list(nets.rest(8))
    assert set(nets.failed) == ({"net"} if failed else set())
    assert all(kind in why for why in nets.failed.values())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('state = { memory = "zeros" }\n', "", "networks read each other in a circle: memory -> memory"),
        ('state = { memory = "zeros" }', 'state = { memory = "ones" }', "state starts as \"zeros\", not as 'ones'"),
        ('state = { memory = "zeros" }', 'state = { features = "zeros" }', "a head of its own network"),
        ("window = 4", "window = 1", "a window is 2 to 256 frames"),
    ],
)
def test_a_manifest_that_declares_no_sound_memory_is_refused(
    clips: tuple[Suite, Path, dict[str, Array]], tmp_path: Path, old: str, new: str, words: str
) -> None:
    for path in clips[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert old in BUNDLE
    (tmp_path / "bundle.toml").write_text(BUNDLE.replace(old, new))
    with pytest.raises(ConfigError) as error:
        read_bundle(tmp_path)
    assert words in str(error.value)


def test_rounds_hold_every_frame_once_and_clips_in_order(clips: tuple[Suite, Path, dict[str, Array]]) -> None:
    frames = clips[0].frames
    rows = np.concatenate([part.rows for part in rounds_of(frames)])
    assert sorted(rows.tolist()) == list(range(len(frames.ids)))
    for name in range(len(frames.clips)):
        mine = rows[frames.clip[rows] == name]
        assert (np.diff(mine) > 0).all()
    for part in rounds_of(frames):
        assert sum(part.lengths) == len(part.rows) == len(np.concatenate(part.batches))
        stepped = [part.rows[at] for _, at in steps_of(part.lengths)]
        assert all(len(set(frames.clip[r].tolist())) == len(r) for r in stepped)
        assert sorted(np.concatenate(stepped).tolist()) == sorted(part.rows.tolist())


def leaky() -> bytes:
    """An ONNX model of a leaky memory: memory = 0.5 memory + features + speed, seen = its sum."""
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    axes = {name: numpy_helper.from_array(np.array([1]), name) for name in ("out", "sum")}
    nodes = [
        helper.make_node("Mul", ["memory", "half"], ["left"]),
        helper.make_node("Add", ["left", "features"], ["moved"]),
        helper.make_node("Unsqueeze", ["speed", "out"], ["column"]),
        helper.make_node("Add", ["moved", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "sum"], ["seen"], keepdims=0),
    ]
    given = [("features", ["n", 5]), ("memory", ["n", 5]), ("speed", ["n"])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("seen", ["n"]), ("kept", ["n", 5]))]
    graph = helper.make_graph(nodes, "memory", inputs, outputs, [half, *axes.values()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(made.SerializeToString())


def test_an_onnx_network_remembers_beside_archives(clips: tuple[Suite, Path, dict[str, Array]], tmp_path: Path) -> None:
    suite, bundle, _ = clips
    for path in bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "memory.onnx").write_bytes(leaky())
    (tmp_path / "bundle.toml").write_text(BUNDLE.replace("memory.pt2", "memory.onnx"))
    answers = run(read_bundle(tmp_path), suite)
    assert answers.faults() == {}
    torch.manual_seed(2)
    camera, seen, speeds = Camera().eval(), np.zeros(len(suite.frames.ids)), suite.frames.columns["speed"]
    for name in range(len(suite.frames.clips)):
        memory = np.zeros(5)
        for k in np.flatnonzero(suite.frames.clip == name).tolist():
            picture = torch.from_numpy(np.load(suite.root / "arrays" / f"{suite.frames.ids[k]}.npy")[None])
            with torch.inference_mode():
                memory = 0.5 * memory + camera(picture)["features"].numpy()[0] + float(speeds[k])
            seen[k] = memory.sum()
    assert by_clip(answers, "memory.seen") == pytest.approx(summed(suite, seen), rel=1e-5)
    assert sorted(dict(answers.runtime)) == [
        "device", "instructions", "machine", "onnxruntime", "python", "threads", "torch"
    ]  # fmt: skip


# Impact


class Two(torch.nn.Module):
    """Two states, of which the first reads the second; a head of either and one of none."""

    def __init__(self, first: float = 0.5, second: float = 0.5, plain: float = 0.5) -> None:
        super().__init__()
        self.first, self.second, self.plain = (torch.nn.Parameter(torch.tensor(x)) for x in (first, second, plain))

    def forward(self, features: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
        left = {"a": a * self.first + b, "b": b * self.second + features}
        return {**left, "of_a": a.sum(1), "of_b": b.sum(1), "plain": features.sum(1) * self.plain}


TWO = """\
[bundle]
name = "two"
version = "1"

[networks.two]
program = "two.pt2"
inputs = { features = "speed", a = "two.a", b = "two.b" }
heads = ["a", "b", "of_a", "of_b", "plain"]
state = { a = "zeros", b = "zeros" }
"""


def two(folder: Path, text: str = TWO, **weights: float) -> Bundle:
    folder.mkdir()
    (folder / "two.pt2").write_bytes(archive(Two(**weights), (5,), (5,), (5,)))
    (folder / "bundle.toml").write_text(text)
    return read_bundle(folder)


@pytest.mark.parametrize(
    ("weight", "reached"),
    [("plain", {"plain"}), ("first", {"a", "b", "of_a", "of_b"}), ("second", {"a", "b", "of_a", "of_b"})],
)
def test_a_change_of_a_state_reaches_every_head_that_takes_one(tmp_path: Path, weight: str, reached: set[str]) -> None:
    impact = impact_of(two(tmp_path / "old"), two(tmp_path / "new", **{weight: 0.75}))
    assert set(impact.reached) == {f"two.{head}" for head in reached}
    assert set(impact.identical) == {f"two.{head}" for head in {"a", "b", "of_a", "of_b", "plain"} - reached}


def test_the_same_network_without_a_change_is_identical_and_another_wiring_of_states_is_not(tmp_path: Path) -> None:
    old, again = two(tmp_path / "old"), two(tmp_path / "again")
    (tmp_path / "again" / "two.pt2").write_bytes(archive(Two(), (5,), (5,), (5,)))
    assert impact_of(old, again).reached == ()
    crossed = TWO.replace('a = "two.a", b = "two.b"', 'a = "two.b", b = "two.a"')
    assert set(impact_of(old, two(tmp_path / "crossed", crossed)).reached) >= {"two.of_a", "two.of_b", "two.a"}


def test_a_longer_window_reaches_the_network_and_nothing_upstream(
    clips: tuple[Suite, Path, dict[str, Array]], tmp_path: Path
) -> None:
    for path in clips[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "bundle.toml").write_text(BUNDLE.replace("window = 4", "window = 5"))
    impact = impact_of(read_bundle(clips[1]), read_bundle(tmp_path))
    assert impact.reached == ("look.out",)
    assert [(c.network, c.kind) for c in impact.causes] == [("look", "wiring")]
