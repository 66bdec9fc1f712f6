"""Tiny torch.export programs over pictures of 8 x 8 pixels, honest or wrong in one way; and archives made by hand."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any


class Programs:
    """Bytes of `.pt2` files, each exported when it is first asked for."""

    @cached_property
    def honest(self) -> bytes:
        """`image` in, two logits out, which see red and green."""
        return _exported(lambda image: _logits(image))

    @cached_property
    def static(self) -> bytes:
        """The same, for a single frame."""
        return _exported(lambda image: _logits(image), batch=1)

    @cached_property
    def batch_of_two(self) -> bytes:
        return _exported(lambda image: _logits(image), batch=2)

    @cached_property
    def other_input(self) -> bytes:
        return _exported(lambda picture: _logits(picture), name="picture")

    @cached_property
    def larger_input(self) -> bytes:
        return _exported(lambda image: _logits(image), size=9)

    @cached_property
    def two_outputs(self) -> bytes:
        return _exported(lambda image: (_logits(image), image.mean((1, 2, 3))))

    @cached_property
    def other_output_name(self) -> bytes:
        return _exported(lambda image: {"signs": _logits(image)})

    @cached_property
    def named_output(self) -> bytes:
        return _exported(lambda image: {"sign": _logits(image)})

    @cached_property
    def demanding(self) -> bytes:
        """Free height, guards, two cameras in a dict, outputs with odd names: all that text in a model can be."""
        import torch

        class Network(torch.nn.Module):
            def forward(self, images: dict[str, torch.Tensor], *, memory: torch.Tensor) -> dict[str, torch.Tensor]:
                large = torch.nn.functional.interpolate(images["front"], scale_factor=1.5)
                pooled = torch.nn.functional.max_pool2d(images["rear cam"], 3, 2, ceil_mode=True)
                return {"cam/seg": large, "my head": pooled + memory.mean()}

        auto = torch.export.Dim.AUTO
        shapes = {"images": {"front": {0: auto, 2: auto}, "rear cam": {0: auto, 2: auto}}, "memory": {0: auto}}
        images = {"front": torch.zeros(2, 3, 16, 16), "rear cam": torch.zeros(2, 3, 24, 24)}
        made = torch.export.export(Network(), (images,), {"memory": torch.zeros(2, 5)}, dynamic_shapes=shapes)
        file = io.BytesIO()
        torch.export.save(made, file)
        return file.getvalue()

    @cached_property
    def of_the_batch(self) -> bytes:
        """Logits of a frame that depend on the frames beside it: in small what a library's kernels do to last bits."""
        return _exported(lambda image: _logits(image) + 0.5 * image.mean())

    @cached_property
    def three_channels(self) -> bytes:
        return _exported(lambda image: image.mean((2, 3)))


def _logits(image: Any) -> Any:
    return (image.mean((2, 3))[:, :2] - 0.5) * 8


def _exported(forward: Callable[..., Any], *, name: str = "image", batch: int = 0, size: int = 8) -> bytes:
    """batch: fixed number of frames; 0 for any."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = torch.nn.Parameter(torch.ones(1))

    if name == "image":
        Network.forward = lambda self, image: forward(image * self.gain)  # type: ignore[method-assign]
    else:
        Network.forward = lambda self, picture: forward(picture * self.gain)  # type: ignore[method-assign]
    dynamic = None if batch else {name: {0: torch.export.Dim("batch", min=1, max=256)}}
    example = (torch.zeros(batch or 2, 3, size, size),)
    file = io.BytesIO()
    torch.export.save(torch.export.export(Network(), example, dynamic_shapes=dynamic), file)
    return file.getvalue()


def entries_of(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def archive_of(entries: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def replaced(archive: bytes, ending: str, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with the entries whose name ends so changed; there must be one."""
    entries = entries_of(archive)
    chosen = [name for name in entries if name.endswith(ending)]
    assert chosen, f"no entry ends in {ending}"
    return archive_of(entries | {name: change(entries[name]) for name in chosen})


def added(archive: bytes, name: str, data: bytes) -> bytes:
    """The archive with one more entry, in its top folder."""
    entries = entries_of(archive)
    top = next(iter(entries)).partition("/")[0]
    return archive_of({**entries, f"{top}/{name}": data})
