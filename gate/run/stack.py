"""The networks of a bundle at work: each once per batch, and those that remember one instant of all clips at a time.

What a network remembers, a state that it is fed back or a window of frames, is kept clip by clip beside it, and
forgotten where a group of clips begins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Network
from gate.errors import BundleError
from gate.lock import digest_of
from gate.run.alone import check_alone, varied
from gate.run.partition import steps_of
from gate.run.signature import Program, fits, told
from gate.run.wire import MAX_ARRAYS
from gate.table import Ints

Array = NDArray[Any]
#: Whole numbers below it are exact in float32.
EXACT = 1 << 24
#: Output `network.head` -> values (B, ...) float32 and the type that the program gave.
Outputs = dict[str, tuple[Array, str]]
#: A network, all outputs that it computed, and those of them that are told; nothing of one that failed.
Told = tuple[str, list[str], Outputs]


def late_of(networks: Sequence[Network]) -> frozenset[str]:
    """Networks that remember, and those that read them; `networks` are in running order."""
    late: set[str] = set()
    for network in networks:
        if network.state or network.window or late & set(network.upstream()):
            late.add(network.name)
    return frozenset(late)


def bits(output: tuple[Array, str]) -> str:
    """Digest of an output's type, shape and bits, in which 0 and -0 differ."""
    values, dtype = output
    return digest_of(f"{dtype} {values.shape} ".encode() + np.ascontiguousarray(values).tobytes())


class Stack:
    """The loaded networks that are wanted of a bundle, in running order.

    parts: network -> heads that are wanted of it; others are not computed where the program can be cut. That is held to
    the whole program, bit for bit, on the first batch, and where it differs the whole program runs. A program whose
    graph is not understood is asked its first batch twice, since it could hide what its answers hang on. Of the first
    batch in which an input has different frames, some are asked by themselves (`check_alone`); of networks that
    remember, at the last instant of a round. give: outputs that are told; others are for networks alone. note: told the
    name of a network before it runs. failed: network -> why it, or what it reads, cannot run.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        programs: Mapping[str, Program],
        parts: Mapping[str, Collection[str]],
        give: Collection[str],
        note: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.networks, self.programs, self.give, self.note = networks, programs, frozenset(give), note
        self.parts: dict[str, Collection[str] | None] = dict(parts)
        self.unproven = {n.name for n in networks if len(parts[n.name]) < len(n.heads)}
        self.unasked = {n.name for n in networks if programs[n.name].whole}
        self.together = {n.name: {name for name, _ in n.inputs} for n in networks}
        self.failed: dict[str, str] = {}
        self.late = late_of(networks)
        remembered = [n for n in networks if n.name in self.late]
        sources = {source for n in remembered for name, source in n.inputs if name not in n.state}
        self.read = {source for n in networks for _, source in n.inputs}
        self.early = {s for s in sources if "." not in s or s.partition(".")[0] not in self.late}
        self.memory: dict[tuple[str, str], Array] = {}
        self.kept: dict[str, Array] = {}
        self.spare: dict[str, Array] = {}
        self.lengths: Sequence[int] = ()
        self.kinds: dict[str, str] = {}
        self.ran: dict[str, list[str]] = {}
        self.begun = self.done = 0

    def begin(self, lengths: Sequence[int], fresh: bool) -> None:
        """A round begins; lengths: frames of each clip; fresh: clips begin here."""
        if fresh:
            self.memory.clear()
        self.spare |= self.kept
        self.lengths, self.kept, self.kinds, self.begun, self.done = lengths, {}, {}, 0, 0

    def batch(self, inputs: Mapping[str, Array]) -> Iterator[Told]:
        """What each network that remembers nothing answers on the next frames of the round."""
        now: dict[str, Array] = dict(inputs)
        for network in self.networks:
            if network.name not in self.late:
                given = self._run(network, lambda n, now=now: {name: now[source] for name, source in n.inputs})
                now |= {name: values for name, (values, _) in given.items() if name in self.read}
                yield network.name, list(given), {o: given[o] for o in given if o in self.give}
        frames = 0
        for source in self.early & now.keys():
            frames = len(now[source])
            self._hold(source, now[source], np.arange(self.begun, self.begun + frames))
        self.begun += frames

    def _hold(self, name: str, values: Array, at: Ints) -> None:
        """Keep values of some frames with those of the others of the round."""
        if name not in self.kept:
            self.kept[name] = self._room(name, values)
        if self.kept[name].shape[1:] != values.shape[1:]:
            self.failed[name.rpartition(".")[0]] = f"the shape of its output {name} changes from frame to frame"
        else:
            self.kept[name][at] = values

    def _room(self, name: str, like: Array) -> Array:
        """An array for values like these of all frames of a round. That of the round before, if it fits: every new one
        leaves a hole where it ends, and memory would grow with the number of rounds.
        """
        frames, spare = sum(self.lengths), self.spare.pop(name, None)
        if spare is None or spare.shape[1:] != like.shape[1:] or spare.dtype != like.dtype or len(spare) < frames:
            return np.empty((frames, *like.shape[1:]), like.dtype)
        return spare

    def rest(self, frames: int) -> Iterator[Told]:
        """What the other networks answer on so many frames more of the round, whose batches are all done."""
        if not self.done:
            self._instants()
        rows = slice(self.done, self.done + frames)
        self.done += frames
        for network in self.networks:
            if network.name in self.late and network.name in self.failed:
                yield network.name, [], {}
            elif network.name in self.late:
                kinds = {o: kind for o, kind in self.kinds.items() if o.rpartition(".")[0] == network.name}
                yield network.name, self.ran[network.name], {o: (self.kept[o][rows], kind) for o, kind in kinds.items()}

    def _instants(self) -> None:
        """Let the networks that remember answer on all frames of the round, instant by instant."""
        # What a failed network answered before it failed is of some frames only, and nobody reads it.
        whole = {s: values for s, values in self.kept.items() if s.rpartition(".")[0] not in self.failed}
        steps = list(steps_of(self.lengths))
        last = max((k for k, (lanes, _) in enumerate(steps) if len(lanes) > 2), default=0)
        for k, (lanes, at) in enumerate(steps):
            telling = 0 < k == last  # where clips begin, states are zeros and windows full of one frame
            now = {source: values[at] for source, values in whole.items()}
            for network in self.networks:
                if network.name in self.late:
                    given = self._run(network, lambda n, now=now, lanes=lanes: self._remembered(n, now, lanes), telling)
                    self._keep(network, given, lanes)
                    self.ran[network.name] = list(given)
                    for output in self.give & given.keys():
                        values, self.kinds[output] = given[output]
                        self._hold(output, values, at)
                    now |= {name: values for name, (values, _) in given.items()}

    def _run(self, network: Network, inputs: Callable[[Network], dict[str, Array]], telling: bool = True) -> Outputs:
        """What a network answers; telling: the answer is one that would tell whether it mixes frames."""
        for upstream in network.upstream():
            if upstream in self.failed and network.name not in self.failed:
                self.failed[network.name] = f"it reads {upstream}, of which: {self.failed[upstream]}"
        if network.name in self.failed:
            return {}
        self.note(network.name)
        try:
            given = inputs(network)
            self._check(network, given)
            outputs = self.programs[network.name].forward(given, self.parts[network.name])
            outputs = self._probed(network.name, given, outputs, telling)
            size = sum(v.nbytes for head, (v, _) in outputs.items() if f"{network.name}.{head}" in self.give)
            if size > MAX_ARRAYS:
                raise BundleError(f"it answers a batch with {size >> 20:,} MiB, and {MAX_ARRAYS >> 20:,} MiB are taken")
        except BundleError as error:
            self.failed[network.name] = error.brief
            return {}
        return {f"{network.name}.{head}": output for head, output in outputs.items()}

    def _probed(self, name: str, given: Mapping[str, Array], outputs: Outputs, telling: bool) -> Outputs:
        """What a network answers to a batch, when it was asked once more for all that must hold and is not known yet.
        Raises BundleError.
        """
        forward = self.programs[name].forward
        if name in self.unasked:
            self.unasked.discard(name)
            again = forward(given, self.parts[name])
            if any(bits(again[head]) != bits(output) for head, output in outputs.items()):
                raise BundleError(
                    "asked the same twice, it answers differently: it draws random numbers, or remembers in secret",
                    mend="export it in evaluation mode, and declare what it remembers as state",
                )
        if name in self.unproven:
            self.unproven.discard(name)
            whole = forward(given)
            if any(bits(whole[head]) != bits(output) for head, output in outputs.items()):
                outputs, self.parts[name] = whole, None
        if telling and (new := varied({key: given[key] for key in self.together[name]})):
            self.together[name] -= new
            check_alone(lambda inputs: forward(inputs, self.parts[name]), given, outputs)
        return outputs

    def _check(self, network: Network, given: Mapping[str, Array]) -> None:
        sources, shapes = dict(network.inputs), self.programs[network.name].shapes
        for name, array in given.items():
            wanted, shape = shapes.get(name), array.shape[1:]
            if wanted is None:
                continue
            if not fits(shape, wanted):
                what = f"input {name} takes frames of shape {told(wanted)}; {sources[name]} gives {told(shape)}"
                raise BundleError(what)

    def _remembered(self, network: Network, now: Mapping[str, Array], lanes: Ints) -> dict[str, Array]:
        """Inputs of one instant: states as they were left, windows that end here, anything else as it is now."""
        given: dict[str, Array] = {}
        for name, source in network.inputs:
            key = (network.name, name)
            if name in network.state:
                if key not in self.memory:
                    self.memory[key] = np.zeros((len(self.lengths), *self._start(network, name)), np.float32)
                given[name] = self.memory[key][lanes]
            elif network.window:
                if key not in self.memory:  # where a clip begins, its first frame stands for those before it
                    self.memory[key] = np.repeat(now[source][:, None], network.window - 1, axis=1)
                given[name] = np.concatenate([self.memory[key][lanes], now[source][:, None]], axis=1)
                self.memory[key][lanes] = given[name][:, 1:]
            else:
                given[name] = now[source]
        return given

    def _start(self, network: Network, name: str) -> tuple[int, ...]:
        shape = self.programs[network.name].shapes.get(name)
        if shape is None or None in shape:
            raise BundleError(f"the state {name} has no fixed shape; export it with one")
        return tuple(n for n in shape if n is not None)

    def _keep(self, network: Network, outputs: Outputs, lanes: Ints) -> None:
        """Remember the states that a network left."""
        for name, source in network.inputs:
            if name in network.state and source in outputs:
                (left, kind), before = outputs[source], self.memory[network.name, name]
                if kind == "float64" or ("int" in kind and np.abs(left).max(initial=0) >= EXACT):
                    what = (
                        f"its state {name} is kept in float32 from frame to frame, which cannot hold its {kind} values"
                    )
                    self.failed[network.name] = what
                elif left.shape[1:] != before.shape[1:]:
                    what = f"its state {name} changes its shape from {before.shape[1:]} to {left.shape[1:]}"
                    self.failed[network.name] = what
                else:
                    before[lanes] = left
