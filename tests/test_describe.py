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


def test_show_tells_what_reads_what(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = gate("bundle", "show", "stack", cwd=stack.parent)
    assert shown.code == 0, shown.err
    about, inputs, networks, heads = shown.out.split("\n\n")
    assert about.splitlines()[0] == "bundle stack 1  (not locked)"
    assert "networks: 3; heads of programs: 7" in about
    assert "parameters: 345 in float32; " in about
    assert inputs.splitlines()[1] == "image  (3, 8, 8)  float32  front, rear"
    reads = {line.split()[0]: line.split(maxsplit=3)[3] for line in networks.splitlines()[1:]}
    counted = "input image; weights float32 99 %, int64 1 %"  # norms count the batches that they have seen
    assert reads == {"front": counted, "rear": "input image", "top": "lane of front, rear"}
    shapes = [line.split()[:3] for line in heads.splitlines()[1:]]
    assert shapes[0] == ["front.sign", "(2)", "float32"]
    assert shapes[-1] == ["top.map", "(any)", "float32"]


def test_show_puts_a_network_below_the_only_one_that_it_reads_and_keeps_to_the_terminal(
    stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        (stack / "bundle.toml").read_text().replace('left = "front.lane", right = "rear.lane"', 'left = "front.lane"')
    )
    nodes = [helper.make_node("Identity", ["left"], ["map"])]
    top = model(nodes, {"map": ["batch", 2]}, inputs={"left": ["batch", 2]})
    (stack / "top.onnx").write_bytes(top.SerializeToString())
    (stack / "bundle.toml").write_text(text)
    monkeypatch.setenv("COLUMNS", "60")
    networks = gate("bundle", "show", "stack", cwd=stack.parent).out.split("\n\n")[2].splitlines()
    assert max(map(len, networks)) <= 60
    rows = [line for line in networks[1:] if not line.startswith(" " * 10)]
    assert [line.split()[0] for line in rows] == ["front", "top", "rear"]
    assert rows[1].startswith("  top ")
    assert rows[1].endswith("front.lane")


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
    shown = gate("bundle", "show", "b", cwd=tmp_path).out
    assert "parameters: 100 in int8 98 %, float32 2 %; " in shown
    assert "input image; weights int8 98 %, float32 2 %\n" in shown


@pytest.mark.parametrize("program", ["front.pt2", "rear.onnx"])
def test_outputs_that_are_not_the_manifests_are_refused(stack: Path, program: str) -> None:
    text = (stack / "bundle.toml").read_text()
    before, after = text.split(program)
    (stack / "bundle.toml").write_text(before + program + after.replace('"sign", ', "", 1))
    refused(gate("bundle", "show", "stack", cwd=stack.parent), 4, program, "outputs", "manifest", "to mend:")
