"""What programs say of themselves is told from their bytes: the same of both formats, and without loading either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from onnx import helper
from torch import nn

from gate.bundle import Port, describe, digests_of, read_bundle
from tests.support.hydra import Hydra, archive
from tests.support.onnx_models import hydra, model
from tests.support.tiny import gate, refused

TOML = """\
[bundle]
name = "stack"
version = "1"

[networks.front]
program = "front.pt2"
inputs = { image = "image" }
heads = ["sign", "lane", "sky"]

[networks.rear]
program = "rear.onnx"
inputs = { image = "image" }
heads = ["sign", "lane", "sky"]

[networks.top]
program = "top.onnx"
inputs = { left = "front.lane", right = "rear.lane" }
heads = ["map"]
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Two camera networks, of each format one, and a network that reads both."""
    folder = tmp_path / "stack"
    folder.mkdir()
    (folder / "bundle.toml").write_text(TOML)
    (folder / "front.pt2").write_bytes(archive(Hydra()))
    (folder / "rear.onnx").write_bytes(hydra().SerializeToString())
    nodes = [helper.make_node("Add", ["left", "right"], ["map"])]
    top = model(nodes, {"map": ["batch", "width"]}, inputs={"left": ["batch", 2], "right": ["batch", 2]})
    (folder / "top.onnx").write_bytes(top.SerializeToString())
    return folder


def test_both_formats_are_described_alike(stack: Path) -> None:
    told = describe(read_bundle(stack))
    heads = tuple(Port(name, (2,), "float32") for name in ("sign", "lane", "sky"))
    for name in ("front", "rear"):
        assert (told[name].inputs, told[name].heads) == ((Port("image", (3, 8, 8), "float32"),), heads)
    assert told["rear"].weights == {"float32": 170}
    # Norms count the batches that they have seen.
    assert told["front"].weights == {"float32": sum(p.numel() for p in Hydra().state_dict().values()) - 1, "int64": 1}
    assert told["top"].inputs == (Port("left", (2,), "float32"), Port("right", (2,), "float32"))
    assert told["top"].heads == (Port("map", (None,), "float32"),)
    assert [d.size for d in told.values()] == [p.stat().st_size for p in sorted(stack.iterdir()) if p.suffix != ".toml"]


def test_digests_are_those_of_the_bundle(stack: Path) -> None:
    bundle = read_bundle(stack)
    told = {f"{network}.{head}": d for network, t in describe(bundle).items() for head, d in t.digests.items()}
    assert told == digests_of(bundle, list(told))


def test_show_tells_what_reads_what(stack: Path) -> None:
    shown = gate("bundle", "show", "stack", cwd=stack.parent)
    assert shown.code == 0, shown.err
    assert "networks: 3; heads of programs: 7; parameters: 345" in shown.out
    front, rear, top = shown.out.split("\nnetwork ")[1:]
    assert "  reads image = image  (3, 8, 8) float32\n  read by top: front.lane\n  program front.pt2" in front
    assert "  read by top: rear.lane\n" in rear
    assert "170 parameters in float32\n" in rear
    assert "  reads left = front.lane  (2) float32\n" in top
    assert "map   (any)             float32  sha256:" in top


def test_show_loads_neither_torch_nor_a_runtime(stack: Path) -> None:
    code = (
        "import sys\nsys.argv = ['gate', 'bundle', 'show', 'stack']\nfrom gate.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code)\n"
        "print([m for m in ('torch', 'onnxruntime', 'pandas', 'sklearn') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=stack.parent, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]


def test_shares_of_precision_are_told_when_they_matter(tmp_path: Path) -> None:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", torch.ones(98, 1, dtype=torch.int8))
            self.register_buffer("scale", torch.ones(2))

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"sign": image.mean((1, 2, 3))[:, None] @ self.weight.float().T * self.scale[0]}

    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "cam.pt2").write_bytes(archive(Quantised()))
    (folder / "bundle.toml").write_text(
        '[bundle]\nname = "q"\nversion = "1"\n\n[networks.cam]\nprogram = "cam.pt2"\n'
        'inputs = { image = "image" }\nheads = ["sign"]\n'
    )
    assert "100 parameters in int8 98 %, float32 2 %\n" in gate("bundle", "show", "b", cwd=tmp_path).out


@pytest.mark.parametrize("program", ["front.pt2", "rear.onnx"])
def test_outputs_that_are_not_the_manifests_are_refused(stack: Path, program: str) -> None:
    text = (stack / "bundle.toml").read_text()
    before, after = text.split(program)
    (stack / "bundle.toml").write_text(before + program + after.replace('"sign", ', "", 1))
    refused(gate("bundle", "show", "stack", cwd=stack.parent), 4, program, "outputs", "manifest", "to mend:")
