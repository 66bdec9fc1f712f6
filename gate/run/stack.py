"""The networks of a bundle at work: each once per batch, and those that remember one instant of all clips at a time.

What a network remembers, a state that it is fed back or a window of frames, is kept clip by clip beside it, and
forgotten where a group of clips begins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Network
from gate.errors import BundleError
from gate.lock import digest_of
from gate.run.abreast import CertainError, abreast
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


@dataclass(frozen=True)
class Told:
    """What a network answered. batch: of those that were asked together. ran: all outputs that it computed. outputs:
    those of them that are told. failed: why there are none.
    """

    network: str
    batch: int = 0
    ran: Sequence[str] = ()
    outputs: Mapping[str, tuple[Array, str]] = field(default_factory=dict)
    failed: str = ""


def late_of(networks: Sequence[Network]) -> frozenset[str]:
    """Networks that remember, and those that read them; `networks` are in running order."""
    late: set[str] = set()
    for network in networks:
        if network.state or network.window or late & set(network.upstream()):
            late.add(network.name)
    return frozenset(late)


def _other_shape(output: str) -> str:
    return f"the shape of its output {output} changes from frame to frame"


def _broken(network: Network, failed: Mapping[str, str]) -> str:
    """Why a network cannot run, if something failed that it reads, or itself."""
    if network.name in failed:
        return failed[network.name]
    return next((f"it reads {name}, of which: {failed[name]}" for name in network.upstream() if name in failed), "")


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
    remember, at the last instant of a round. give: outputs that are told; others are for networks alone. note: told
    which networks run, whenever one begins. most: how many run at once. prepare: called in each thread that runs them.
    failed: network -> why it, or what it reads, cannot run.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        programs: Mapping[str, Program],
        parts: Mapping[str, Collection[str]],
        give: Collection[str],
        note: Callable[[Sequence[str]], None] = lambda names: None,
        most: int = 1,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.networks, self.programs, self.give, self.note = networks, programs, frozenset(give), note
        self.most, self.pool = most, ThreadPoolExecutor(most, "network", prepare)
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

    def batch(self, inputs: list[dict[str, Array]]) -> Iterator[Told]:
        """What each network that remembers nothing answers on the next batches of the round, which run side by side.

        inputs: of each batch; let go of when it is done. Of a network that fails on one of them, nothing counts that is
        told of those after it.
        """
        networks = {n.name: n for n in self.networks if n.name not in self.late}
        failed, left = [dict(self.failed) for _ in inputs], [len(networks) for _ in inputs]
        ends = self.begun + np.cumsum([len(next(iter(batch.values()), ())) for batch in inputs])

        def needs(task: tuple[str, int]) -> Iterator[tuple[str, int]]:
            name, k = task
            if k and self._waits(name):
                yield name, k - 1
            yield from ((upstream, k) for upstream in networks[name].upstream())

        def work(task: tuple[str, int]) -> Outputs | str:
            name, k = task
            if why := _broken(networks[name], failed[k]):
                return why
            return self._run(networks[name], {key: inputs[k][source] for key, source in networks[name].inputs})

        tasks = [(name, k) for k in range(len(inputs)) for name in networks]
        for (name, k), given in abreast(self.pool, self.most, tasks, needs, work, self._noted):
            if isinstance(given, str):
                failed[k][name] = given
                yield Told(name, k, failed=given)
            else:
                inputs[k].update({o: values for o, (values, _) in given.items() if o in self.read})
                yield Told(name, k, list(given), {o: given[o] for o in given if o in self.give})
            left[k] -= 1
            if not left[k]:  # of what it holds, no more than this is read
                inputs[k] = {source: inputs[k][source] for source in self.early & inputs[k].keys()}
        for k, end in enumerate(ends):
            failed[k] |= self.failed  # the first reason counts
            for network in networks.values():
                why = self._changed(network, inputs[k]) or _broken(network, failed[k])
                if why and network.name not in failed[k]:
                    failed[k][network.name] = why
                    yield Told(network.name, k, failed=why)
            for source in self.early & inputs[k].keys():
                if source.rpartition(".")[0] not in failed[k]:
                    self._hold(source, inputs[k][source], np.arange(end - len(inputs[k][source]), end))
            self.failed = failed[k]
        self.begun = int(ends[-1])
        inputs.clear()

    def _changed(self, network: Network, batch: Mapping[str, Array]) -> str:
        """Do outputs that networks remember have another shape than on the batches before?"""
        for source in sorted(self.early & batch.keys() & self.kept.keys()):
            if source.rpartition(".")[0] == network.name and batch[source].shape[1:] != self.kept[source].shape[1:]:
                return _other_shape(source)
        return ""

    def _noted(self, tasks: Sequence[tuple[str, int]]) -> None:
        self.note([name for name, _ in tasks])

    def _hold(self, name: str, values: Array, at: Ints) -> None:
        """Keep values of some frames with those of the others of the round."""
        if name not in self.kept:
            self.kept[name] = self._room(name, values)
        if self.kept[name].shape[1:] != values.shape[1:]:
            self.failed[name.rpartition(".")[0]] = _other_shape(name)
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
        for name in [n.name for n in self.networks if n.name in self.late]:
            if name in self.failed:
                yield Told(name, failed=self.failed[name])
            else:
                kinds = {o: kind for o, kind in self.kinds.items() if o.rpartition(".")[0] == name}
                yield Told(name, 0, self.ran[name], {o: (self.kept[o][rows], kind) for o, kind in kinds.items()})

    def _instants(self) -> None:
        """Let the networks that remember answer on all frames of the round, instant by instant."""
        # What a failed network answered before it failed is of some frames only, and nobody reads it.
        whole = {s: values for s, values in self.kept.items() if s.rpartition(".")[0] not in self.failed}
        networks = {n.name: n for n in self.networks if n.name in self.late}
        needs = {name: [u for u in network.upstream() if u in networks] for name, network in networks.items()}
        steps = list(steps_of(self.lengths))
        last = max((k for k, (lanes, _) in enumerate(steps) if len(lanes) > 2), default=0)
        for k, (lanes, at) in enumerate(steps):
            telling = 0 < k == last  # where clips begin, states are zeros and windows full of one frame
            now = {source: values[at] for source, values in whole.items()}
            work = partial(self._instant, networks, now, lanes, telling)
            for name, answer in abreast(self.pool, self.most, list(networks), needs.__getitem__, work, self.note):
                if isinstance(answer, str):
                    self.failed[name] = answer
                    continue
                given, outputs = answer
                self._keep(networks[name], given, outputs, lanes)
                self.ran[name] = list(outputs)
                for output in self.give & outputs.keys():
                    values, self.kinds[output] = outputs[output]
                    self._hold(output, values, at)
                now |= {o: values for o, (values, _) in outputs.items()}

    def _instant(
        self, networks: Mapping[str, Network], now: Mapping[str, Array], lanes: Ints, telling: bool, name: str
    ) -> tuple[Mapping[str, Array], Outputs] | str:
        """What a network that remembers is given at an instant, and what it answers; or why it cannot run."""
        if why := _broken(networks[name], self.failed):
            return why
        given = self._remembered(networks[name], now, lanes)
        return given, self._run(networks[name], given, telling)

    def _run(self, network: Network, given: Mapping[str, Array], telling: bool = True) -> Outputs:
        """What a network answers; telling: the answer would tell whether it mixes frames. Raises BundleError."""
        self._check(network, given)
        try:
            outputs = self.programs[network.name].forward(given, self.parts[network.name])
            outputs = self._probed(network.name, given, outputs, telling)
        except BundleError as error:
            if not self.programs[network.name].whole:
                raise
            # It may remember in secret that it was asked: a second try could hide what is wrong.
            raise CertainError(error.what, where=error.where, mend=error.mend) from error
        size = sum(v.nbytes for head, (v, _) in outputs.items() if f"{network.name}.{head}" in self.give)
        if size > MAX_ARRAYS:
            raise CertainError(f"it answers a batch with {size >> 20:,} MiB, and {MAX_ARRAYS >> 20:,} MiB are taken")
        return {f"{network.name}.{head}": output for head, output in outputs.items()}

    def _waits(self, name: str) -> bool:
        """Must batches of a network wait for each other, since something is not known yet that must hold, or since it
        may remember or write what its graph does not tell?
        """
        return self.programs[name].whole or name in self.unproven or bool(self.together[name])

    def _probed(self, name: str, given: Mapping[str, Array], outputs: Outputs, telling: bool) -> Outputs:
        """What a network answers to a batch, when it was asked once more for all that must hold and is not known yet.
        Raises BundleError; then nothing more is known.
        """
        forward, part = self.programs[name].forward, self.parts[name]
        if name in self.unasked:
            again = forward(given, part)
            if any(bits(again[head]) != bits(output) for head, output in outputs.items()):
                raise CertainError(
                    "asked the same twice, it answers differently: it draws random numbers, or remembers in secret",
                    mend="export it in evaluation mode, and declare what it remembers as state",
                )
        if name in self.unproven:
            whole = forward(given)
            if any(bits(whole[head]) != bits(output) for head, output in outputs.items()):
                outputs, part = whole, None
        new = varied({key: given[key] for key in self.together[name]}) if telling else set[str]()
        if new:
            check_alone(lambda inputs: forward(inputs, part), given, outputs)
        self.parts[name] = part
        self.unasked.discard(name)
        self.unproven.discard(name)
        self.together[name] -= new
        return outputs

    def _check(self, network: Network, given: Mapping[str, Array]) -> None:
        sources, shapes = dict(network.inputs), self.programs[network.name].shapes
        for name, array in given.items():
            wanted, shape = shapes.get(name), array.shape[1:]
            if wanted is None:
                continue
            if not fits(shape, wanted):
                what = f"input {name} takes frames of shape {told(wanted)}; {sources[name]} gives {told(shape)}"
                raise CertainError(what)

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
            else:
                given[name] = now[source]
        return given

    def _start(self, network: Network, name: str) -> tuple[int, ...]:
        shape = self.programs[network.name].shapes.get(name)
        if shape is None or None in shape:
            raise CertainError(f"the state {name} has no fixed shape; export it with one")
        return tuple(n for n in shape if n is not None)

    def _keep(self, network: Network, given: Mapping[str, Array], outputs: Outputs, lanes: Ints) -> None:
        """Remember the states that a network left, or the frames of a window."""
        for name, source in network.inputs:
            if name not in network.state and network.window:
                self.memory[network.name, name][lanes] = given[name][:, 1:]
            elif name in network.state and source in outputs:
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
