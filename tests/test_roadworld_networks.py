"""The networks of roadworld: their outputs fit the exam, and every weight of them can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from examples.roadworld import make_suite, train  # noqa: E402
from examples.roadworld.cameras import CAMERAS, FINE, NAMES  # noqa: E402
from examples.roadworld.export import save_program, shape_of  # noqa: E402
from examples.roadworld.heads import NETWORKS  # noqa: E402
from examples.roadworld.lessons import Lessons  # noqa: E402
from examples.roadworld.network import grid_of, pooling  # noqa: E402
from examples.roadworld.second import GRID, SECOND, SIDE, _moved, middles, seen_from  # noqa: E402
from examples.roadworld.truth import CELL  # noqa: E402
from gate.suite import open_suite  # noqa: E402
from gate.tasks import task_of  # noqa: E402


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
    stacks = {name: train.CameraStack(name).eval() for name in NAMES}
    return train.shipped(stacks, {name: make().eval() for name, make in SECOND.items()})


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
            assert heat == (4, *grid_of(camera))
            assert box == heat
        else:
            said = task_of(head).scores({"": outputs[head.name].numpy()}, head)
            wanted = task_of(head).shape(head, np.asarray(truths.read(np.arange(2))))
            assert said.shape[1:] == tuple(wanted), head.name


def test_every_weight_learns_from_some_head(exam: Path) -> None:
    lessons, rows = Lessons(exam), np.arange(0, 32, 4)
    torch.manual_seed(0)
    stack = train.CameraStack("main").train()
    loss = train.camera_loss(stack, lessons, "main", rows, torch.ones(8, 1, 1, 1))
    loss.backward()
    assert torch.isfinite(loss)
    untouched = [name for name, weights in stack.named_parameters() if weights.grad is None]
    assert all(name.startswith("objects.found") for name in untouched)  # the second stage alone reads it


def test_the_second_stage_learns(exam: Path) -> None:
    lessons, rows = Lessons(exam), np.arange(0, 32, 4)
    stacks = {name: train.CameraStack(name).eval() for name in NAMES}
    nets = torch.nn.ModuleDict({name: make() for name, make in SECOND.items() if name != "memory"})
    seen, found, read = train.features_of(lessons, stacks, rows)
    outputs = train.second_stage(
        nets,
        {n: f.float() for n, f in seen.items()},
        {n: f.float() for n, f in found.items()},
        read.float(),
        lessons.ego(rows),
    )
    loss = train._judged(outputs, lessons, rows)
    loss.backward()
    assert torch.isfinite(loss)
    assert [name for name, weights in nets.named_parameters() if weights.grad is None] == []


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
