"""Bundles: every network as a `torch.export` program, and `bundle.toml`."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from .cameras import CAMERAS, FINE, NAMES
from .heads import NETWORKS, Network
from .network import FEATURES, FOUND, READ, grid_of
from .second import MAP, MEMORY
from .topdown import GRID
from .truth import ATTRIBUTES


def shape_of(source: str) -> tuple[int, ...]:
    """Shape of one frame of what a network reads."""
    network, _, head = source.partition(".")
    if source == "ego":
        return (4,)
    if not head:
        camera = CAMERAS[NAMES.index(source)]
        return 3, camera.height // FINE, camera.width // FINE
    if head == "read":
        return (READ,)
    if head == "attributes":
        return (len(ATTRIBUTES),)
    if head == "map":
        return MAP, GRID, GRID
    if head == "memory":
        return MEMORY, GRID, GRID
    return FEATURES if head == "features" else FOUND, *grid_of(CAMERAS[NAMES.index(network.removesuffix("_objects"))])


def save_program(network: nn.Module, of: Network, path: Path) -> None:
    """Export for any batch of 1 to 256 and write the archive; the same network gives the same bytes."""
    batch = torch.export.Dim("batch", min=1, max=256)
    example = {name: torch.zeros(2, *shape_of(source)) for name, source in of.inputs}
    shapes = {name: {0: batch} for name in example}
    program = torch.export.export(network, (), kwargs=example, dynamic_shapes=shapes)
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # it would publish the paths of whoever trained
    program._example_inputs = None  # nobody needs zeros; there is no public way to leave them out
    archive = io.BytesIO()  # saved to a path, the archive would contain the file's name
    torch.export.save(program, archive)
    path.write_bytes(archive.getvalue())


def save_model(network: nn.Module, of: Network, path: Path) -> None:
    """The same as an ONNX model, for any batch; needs the package onnx."""
    example = {name: torch.zeros(2, *shape_of(source)) for name, source in of.inputs}
    with torch.no_grad():
        heads = list(network(**example))
    with warnings.catch_warnings():
        # The exporter that torch wants instead needs packages that nothing else here does.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (),
            path,
            kwargs=example,
            input_names=list(example),
            output_names=heads,
            dynamic_axes={name: {0: "batch"} for name in (*example, *heads)},
            opset_version=18,
            dynamo=False,
        )


def write_bundle(folder: Path, networks: Mapping[str, nn.Module], *, version: str, why: str) -> None:
    """Write all programs and `bundle.toml`."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f'# {why}\n\n[bundle]\nname = "roadworld"\nversion = "{version}"\n']
    for of in NETWORKS:
        save_program(networks[of.name], of, folder / f"{of.name}.pt2")
        inputs = ", ".join(f'{name} = "{source}"' for name, source in of.inputs)
        outputs = ", ".join(f'"{name}"' for name in of.outputs)
        lines = [
            f"[networks.{of.name}]",
            f'program = "{of.name}.pt2"',
            f"inputs = {{ {inputs} }}",
            f"heads = [{outputs}]",
        ]
        if "memory" in of.outputs:
            lines.append('state = { memory = "zeros" }')
        parts.append("\n".join(lines) + "\n")
    (folder / "bundle.toml").write_bytes("\n".join(parts).encode())
