"""The networks of roadworld: their outputs fit the exam, and every weight of them can learn."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from examples.roadworld import make_suite, retrain, stack  # noqa: E402
from examples.roadworld.cameras import CAMERAS, FINE, NAMES  # noqa: E402
from examples.roadworld.export import save_program, shape_of, write_bundle  # noqa: E402
from examples.roadworld.heads import JUDGED, NETWORKS  # noqa: E402
from examples.roadworld.lessons import Lessons  # noqa: E402
from examples.roadworld.network import grid_of, pooling  # noqa: E402
from examples.roadworld.second import GRID, SIDE, _moved, middles, seen_from  # noqa: E402
from examples.roadworld.train import MAPPED, loss_in  # noqa: E402
from examples.roadworld.truth import CELL  # noqa: E402
from gate.bundle import read_bundle  # noqa: E402
from gate.suite import open_suite  # noqa: E402
from gate.tasks import task_of  # noqa: E402

BUNDLES = Path(__file__).parent.parent / "suites" / "roadworld" / "bundles"


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips, a split each."""
    folder = tmp_path_factory.mktemp("exam")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_suite, "SPLITS", {"calibration": 1, "validation": 1})
        make_suite.write_frames(folder, 1, clips=2)
    (folder / "suite.toml").write_text(make_suite.suite_toml())
    return folder


@pytest.fixture(scope="module")
def networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {of.name: stack.build(of.name).eval().requires_grad_(False) for of in NETWORKS}


def run_all(networks: dict[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """Output -> values of two frames of noise, networks in the order of the list."""
    found = {source: torch.rand(2, *shape_of(source)) for source in (*NAMES, "ego", "memory.memory")}
    for of in NETWORKS:
        outputs = networks[of.name](**{name: found[source] for name, source in of.inputs})
        assert tuple(outputs) == of.outputs
        found |= {f"{of.name}.{name}": value for name, value in outputs.items()}
    return found


def test_every_head_has_the_shape_that_the_exam_asks_for(exam: Path, networks: dict[str, torch.nn.Module]) -> None:
    with torch.no_grad():
        outputs = run_all(networks)
    suite = open_suite(exam)
    for truths in suite.truths:
        head = truths.head
        if head.task == "detection":
            heat, box = (tuple(outputs[name].shape[1:]) for _, name in (*reversed(head.outputs),))
            camera = CAMERAS[NAMES.index(head.network.removesuffix("_objects"))]
            assert heat == (4, camera.height // FINE // 2, camera.width // FINE // 2)
            assert box == heat
        else:
            said = task_of(head).scores({"": outputs[head.name].numpy()}, head)
            wanted = task_of(head).shape(head, np.asarray(truths.read(np.arange(2))))
            assert said.shape[1:] == tuple(wanted), head.name


@pytest.mark.parametrize("camera", ["main", "rear"])
def test_every_weight_of_a_camera_learns_from_some_head(exam: Path, camera: str) -> None:
    lessons, rows = Lessons(exam), np.arange(0, 32, 4)
    torch.manual_seed(0)
    network = stack.CameraStack(camera).train()
    loss = loss_in(network(lessons.pictures(camera, rows)), lessons, rows)
    loss.backward()
    assert torch.isfinite(loss)
    assert [name for name, weights in network.named_parameters() if weights.grad is None] == []


def test_every_weight_of_the_second_stage_learns(exam: Path, networks: dict[str, torch.nn.Module]) -> None:
    lessons, rows = Lessons(exam), np.arange(0, 32, 4)
    nets = torch.nn.ModuleDict({name: stack.build(name) for name in (*MAPPED, "traffic")})
    sources = {source for name in nets for _, source in stack.BY_NAME[name].inputs if not source.startswith("topdown")}
    known = {name: values.float() for name, values in stack.answers(networks, sources, lessons, rows).items()}
    outputs = {}
    for name, network in nets.items():
        outputs[name] = network(**{key: known[source] for key, source in stack.BY_NAME[name].inputs})
        known |= {f"{name}.{head}": values for head, values in outputs[name].items()}
    loss = loss_in(outputs, lessons, rows)
    loss.backward()
    assert torch.isfinite(loss)
    assert [name for name, weights in nets.named_parameters() if weights.grad is None] == []


def test_cameras_that_learn_together_share_weights_and_keep_their_own_geometry() -> None:
    stacks = stack.alike(("main", "wide"))
    with torch.no_grad():
        next(stacks["main"].parameters()).add_(1)
    ours, theirs = (stacks[name].state_dict() for name in ("main", "wide"))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(sorted(ours.items()), sorted(theirs.items()), strict=True))
    for camera, stacked in stacks.items():
        with torch.no_grad():
            stacked(torch.rand(2, *shape_of(camera)))


def test_a_network_is_retrained_from_a_written_bundle_and_all_others_stay_the_same_bytes(
    exam: Path, networks: dict[str, torch.nn.Module], tmp_path: Path
) -> None:
    write_bundle(tmp_path / "one", networks, version="1", why="first")
    read = stack.read_networks(tmp_path / "one")
    lessons = Lessons(exam, unlabelled=lambda head, channel, row: channel == "brake")
    changed = {"rear_objects": retrain.retrained(read, "rear_objects", lessons, seed=1, steps=2, tell=lambda _: None)}
    write_bundle(tmp_path / "two", read | changed, version="2", why="second")
    differ = {
        path.name
        for path in (tmp_path / "one").iterdir()
        if path.read_bytes() != (tmp_path / "two" / path.name).read_bytes()
    }
    assert differ == {"bundle.toml", "rear_objects.pt2"}
    assert torch.equal(read["rear"].s2[0].weight, networks["rear"].s2[0].weight)
    again = retrain.retrained(read, "rear_objects", lessons, seed=1, steps=2, tell=lambda _: None)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), changed["rear_objects"].parameters(), strict=True))


def test_labels_that_are_missing_teach_nothing_and_boxes_that_nobody_drew_are_not_there(exam: Path) -> None:
    rows = np.arange(0, 32, 4)
    whole = Lessons(exam)
    lacks = Lessons(exam, unlabelled=lambda head, channel, row: channel in ("brake", "car", "dashed", "day"))
    by_head = {judged.head: judged for judged in JUDGED}
    attributes = by_head["main_objects.attributes"]
    assert lacks.truth(attributes, rows)[:, 0].isnan().all()
    assert torch.equal(
        lacks.truth(attributes, rows)[:, 3:].nan_to_num(-1), whole.truth(attributes, rows)[:, 3:].nan_to_num(-1)
    )
    marking = by_head["main_road.marking"]
    before, after = whole.truth(marking, rows), lacks.truth(marking, rows)
    dashed = marking.channels.index("dashed")
    assert 0 < (before == dashed).sum() < before.numel()
    assert torch.equal(after[before == dashed], torch.full_like(after[before == dashed], 255))
    assert torch.equal(after[before != dashed], before[before != dashed])
    light = by_head["main_scene.light"]
    assert torch.equal(lacks.truth(light, rows) < 0, whole.truth(light, rows) == light.channels.index("day"))
    heat, _, _ = lacks.detections("main", rows)
    assert not heat[:, 0].any()
    assert torch.equal(heat[:, 1:], whole.detections("main", rows)[0][:, 1:])


def test_a_network_is_exported_for_any_batch(networks: dict[str, torch.nn.Module], tmp_path: Path) -> None:
    of = next(n for n in NETWORKS if n.name == "memory")
    save_program(networks["memory"].requires_grad_(False), of, tmp_path / "memory.pt2")
    program = torch.export.load(tmp_path / "memory.pt2").module()
    for size in (1, 5):
        given = {name: torch.rand(size, *shape_of(source)) for name, source in of.inputs}
        with torch.no_grad():
            outputs, expected = program(**given), networks["memory"](**given)
        for name in of.outputs:
            assert torch.allclose(outputs[name], expected[name], atol=1e-5)


@pytest.mark.parametrize(("cells", "parts"), [(16, 12), (12, 12), (24, 8), (16, 8)])
def test_pooling_averages_equal_parts(cells: int, parts: int) -> None:
    matrix = pooling(cells, parts)
    assert torch.allclose(matrix.sum(1), torch.ones(parts))
    assert torch.allclose(matrix.mean(0), torch.full((cells,), 1 / cells))  # every cell counts alike


def test_memory_moves_back_as_the_car_drives_and_turns_as_it_turns() -> None:
    memory = torch.zeros(1, 1, GRID, GRID)
    memory[0, 0, 4, 7] = 1
    ahead = _moved(memory, torch.tensor([[SIDE / 100, 0.0, 0.0, 0.0]]))
    assert (ahead[0, 0] > 0.5).nonzero().tolist() == [[5, 7]]
    left = _moved(memory, torch.tensor([[0.0, SIDE / 100, 0.0, 0.0]]))
    assert (left[0, 0] > 0.5).nonzero().tolist() == [[4, 8]]  # what was beside us is further right
    quarter = _moved(memory, torch.tensor([[0.0, 0.0, 90.0, 0.0]]))
    # what was ahead is to the right after a turn to the left: (u, v) ahead and left becomes (v, -u)
    row, column = (quarter[0, 0] > 0.5).nonzero()[0].tolist()
    assert (row, column) == (7, GRID - 1 - 4)


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_from_above_is_fetched_from_where_the_camera_shows_it(name: str) -> None:
    camera = CAMERAS[NAMES.index(name)]
    rows, columns = grid_of(camera)
    index, mask = seen_from(name)
    ahead, left = (part.flatten() for part in middles())
    side = CELL * FINE
    ground = [part[side // 2 :: side, side // 2 :: side].reshape(-1) for part in camera.ground]
    assert len(ground[0]) == rows * columns
    near = (mask > 0) & (torch.hypot(ahead, left) < 600)
    for cell in near.nonzero().flatten().tolist():
        k = int(index[cell])
        if k // columns * side + side // 2 < camera.horizon + side:
            continue  # too flat a view to tell
        away = np.hypot(ground[0][k] - float(ahead[cell]), ground[1][k] - float(left[cell]))
        assert away < 300


@pytest.mark.parametrize(("name", "version"), [("incumbent", "1.0.0"), ("candidate", "1.1.0")])
def test_a_release_is_locked_and_has_the_heads_of_the_exam(name: str, version: str) -> None:
    bundle = read_bundle(BUNDLES / name)
    assert (bundle.name, bundle.version, bundle.locked) == ("roadworld", version, True)
    assert {network.name: network.heads for network in bundle.networks} == {of.name: of.outputs for of in NETWORKS}
    assert sum(path.stat().st_size for path in (BUNDLES / name).iterdir()) < 10e6


def test_the_weights_of_the_incumbent_fit_the_networks_of_this_source() -> None:
    assert len(stack.read_networks(BUNDLES / "incumbent")) == 48


def test_the_candidate_changes_one_network_of_a_camera_and_the_one_that_follows_it() -> None:
    incumbent, candidate = (
        {path.name: path for path in (BUNDLES / n).glob("*.pt2")} for n in ("incumbent", "candidate")
    )
    assert incumbent.keys() == candidate.keys()
    differ = {name for name, path in incumbent.items() if path.read_bytes() != candidate[name].read_bytes()}
    assert differ == {"main_objects.pt2", "traffic.pt2"}
    before, after = (torch.export.load(programs["traffic.pt2"]).state_dict for programs in (incumbent, candidate))
    # what it says of signals reads no objects, so that head is identical by construction
    assert {name for name in before if torch.equal(before[name], after[name])} >= {"signal.weight", "signal.bias"}


@pytest.mark.parametrize("name", ["incumbent", "candidate"])
def test_programs_tell_no_path_of_whoever_trained_them(name: str) -> None:
    for path in (BUNDLES / name).glob("*.pt2"):
        assert not re.search(rb"/(home|root|tmp|Users|usr|work)/|\w{3}\.py\b", path.read_bytes()), path.name
