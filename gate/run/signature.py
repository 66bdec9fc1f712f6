"""What a loaded program is to those that run it, and what must hold between its inputs and the manifest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from gate.bundle import Network
from gate.errors import BundleError, shown

Array = NDArray[Any]
_MEND = "mend `inputs` in bundle.toml, or export the program anew"


class Forward(Protocol):
    """A forward pass: program input -> (B, ...) float32 in, head -> ((B, ...) float32, dtype) out.

    heads: those that are asked for, None for all. Others are then not computed, unless the program cannot be cut.
    """

    def __call__(
        self, inputs: Mapping[str, Array], heads: Collection[str] | None = None
    ) -> dict[str, tuple[Array, str]]: ...


@dataclass(frozen=True)
class Program:
    """shapes: program input -> shape of one frame, None where any size is taken. whole: its graph is not understood."""

    forward: Forward
    shapes: Mapping[str, tuple[int | None, ...]]
    whole: bool = False


def check_inputs(
    given: Mapping[str, Sequence[int | None] | None],
    network: Network,
    shapes: Mapping[str, tuple[int, ...] | None],
    where: str,
) -> None:
    """Raises BundleError unless a program's inputs are those of the manifest, in batches of any size.

    given: name -> sizes, the batch first, None where any is taken; None for an input that does not say. shapes: of one
    frame, of what each is fed with, None where it is another network's head.
    """
    where, declared = f"{where}, network {network.name}", [name for name, _ in network.inputs]
    if sorted(given) != sorted(declared):
        raise BundleError(
            f"the program's inputs are {', '.join(map(shown, given))}; the manifest names {', '.join(declared)}",
            where=where,
            mend=_MEND,
        )
    for name, sizes in given.items():
        if sizes is None:
            continue
        if tuple(sizes[:1]) != (None,):
            raise BundleError(
                f"input {name} takes batches of exactly {sizes[0]}" if sizes else f"input {name} is a single number",
                where=where,
                mend="export with a dynamic batch, torch.export.Dim('batch', min=1, max=256)",
            )
        wanted = shapes.get(name)
        if wanted is not None and not fits(wanted, sizes[1:]):
            raise BundleError(
                f"input {name} takes frames of shape {told(sizes[1:])}, the suite gives {told(wanted)}",
                where=where,
                mend=_MEND,
            )


def fits(shape: Sequence[int], sizes: Sequence[int | None]) -> bool:
    """Is a shape one that is taken?"""
    return len(shape) == len(sizes) and all(s in (None, n) for n, s in zip(shape, sizes, strict=True))


def told(sizes: Sequence[int | None]) -> str:
    """`(3, any)`"""
    return "(" + ", ".join("any" if size is None else str(size) for size in sizes) + ")"


def first_line(error: Exception) -> str:
    """What a library says is wrong, fit for a message of ours."""
    return shown((str(error).strip() or type(error).__name__).splitlines()[0], 300)
