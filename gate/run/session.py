"""A bundle at work: its networks that are wanted, loaded in a worker, asked step by step.

Workers stay while this process lives, a few at most: the spot check and the frames of a report ask the programs that
just ran.
"""

from __future__ import annotations

import atexit
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate.bundle import Bundle, Network
from gate.errors import GateError, SuiteError, UsageError, shown
from gate.run.feed import Given
from gate.run.machine import batches_at_once
from gate.run.process import FallenError, Said, Worker, ask, end, load, plan, start, tell
from gate.run.stack import Outputs, late_of
from gate.suite import Suite

Array = NDArray[Any]
_MEND = "mend `inputs` in bundle.toml"
#: Batches that one request may hold for each that runs, and bytes of what is asked and answered.
DEEP, ROOM = 4, 16 << 20
#: Workers that are kept: incumbent, candidate, and an anchor or two.
KEPT = 4
_kept: dict[tuple[object, ...], Worker] = {}


class Session:
    """The networks that some outputs, `network.head`, come from.

    broken: networks that are known to fail, with the reason. whole: run whole programs, though single heads are wanted.
    careful: run one network at a time, so that it is known which one takes the process down. It is opened before it is
    asked.

    networks: all that are needed. inputs: of the suite, that they read. late: wanted outputs of networks that remember.
    most: batches that run at once. at_once: how many are best asked at once, more where little is asked and answered:
    between two requests cores are idle. failed: network -> why it gives no answer.
    """

    def __init__(
        self,
        bundle: Bundle,
        suite: Suite,
        outputs: Collection[str],
        *,
        device: str = "cpu",
        broken: Mapping[str, str] | None = None,
        whole: bool = False,
        careful: bool = False,
    ) -> None:
        needed = needed_for(bundle, outputs)
        self._suite, self._outputs, self._broken = suite, outputs, dict(broken or {})
        self.failed: dict[str, str] = {}
        self.networks = networks = [n for n in bundle.networks if n.name in needed]
        self._parts = {n.name: n.heads if whole else needed[n.name] for n in networks}
        self.inputs = {source for n in networks for _, source in n.inputs if "." not in source}
        late = late_of(networks)
        if late:
            _check_order(suite)
        self.late = frozenset(o for o in outputs if o.partition(".")[0] in late)
        self._remembers = bool(late)
        self._held: dict[str, list[tuple[Array, str]]] = {}
        self._known = {f"{n.name}.{head}" for n in networks for head in n.heads}
        self._key = (bundle.digest, device, *((name, given.shape) for name, given in suite.inputs.items()))
        most, threads = batches_at_once(suite, device)
        self.most = self.at_once = 1 if careful or not networks else most
        self._deepest = 1 if careful else DEEP * self.most
        self._worker = _worker(self._key, device, threads) if networks else None
        self._opened = self._idle = not networks

    def open(self) -> None:
        """Load the programs, unless that is done. Raises RefusedError, LockError and FallenError."""
        if self._opened:
            return
        ready: list[Network] = []
        for network in self.networks:
            why = self._broken.get(network.name) or _dangling(network, self._suite)
            for upstream in network.upstream():
                if not why and upstream in self.failed:
                    why = f"it reads {upstream}, of which: {self.failed[upstream]}"
            if not why:
                with self._asking() as worker:
                    why = load(worker, network, _shapes(network, self._suite))
            if why:
                self.failed[network.name] = why
            else:
                ready.append(network)
        if ready:
            with self._asking() as worker:
                plan(worker, ready, self._parts, self._outputs, self.most)
        self._opened, self._idle = True, not ready

    def defer(self, outputs: Collection[str]) -> None:
        """From here on, tell these with the rest of a round, though their networks remember nothing."""
        self._held = {output: [] for output in outputs if output not in self.late}

    def say(self, given: Sequence[Given]) -> list[Said]:
        """What is answered to the next steps: batches of one round, or one of its rest. Raises FallenError."""
        step = given[0].step
        if step.begins is not None:  # of a network that failed in the round before, some are left
            self._held = {output: [] for output in self._held}
        if self._idle or (step.rest and not self._remembers):
            return [Said(self._deferred({}, step.rest), {}, []) for _ in given]
        inputs = [{name: one.inputs[name] for name in self.inputs & one.inputs.keys()} for one in given]
        frames = [len(one.step.rows) for one in given]
        with self._asking() as worker:
            if step.begins is not None and self._remembers:
                tell(worker, {"do": "round", "lengths": step.begins.lengths, "fresh": step.begins.fresh})
            about = {"do": "rest", "frames": frames[0]} if step.rest else {"do": "batch", "batches": len(given)}
            said = ask(worker, about, inputs, frames, self._known, self.most)
        if not step.rest:
            size = max(_bytes(batch, one) for batch, one in zip(inputs, said, strict=True))
            self.at_once = max(self.most, min(self._deepest, ROOM // max(size, 1)))
        told = []
        for one in said:
            self.failed.update(one.failed)
            told.append(Said(self._deferred(one.outputs, step.rest), one.failed, one.ran))
        return told

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Around its use, by another thread too: whatever goes wrong, the worker ends, and no answer is waited for."""
        try:
            yield
        except BaseException:
            if self._worker is not None:
                _kept.pop(self._key, None)
                end(self._worker)
            raise

    def _deferred(self, outputs: Outputs, rest: bool) -> Outputs:
        """The outputs without those that are told later, or with those that were held back."""
        for name, held in self._held.items():
            if not rest and name in outputs:
                held.append(outputs.pop(name))
            elif rest and held and name.partition(".")[0] not in self.failed:  # else they are of some frames only
                outputs[name] = held.pop(0)
        return outputs

    @contextmanager
    def _asking(self) -> Iterator[Worker]:
        with self.elsewhere():  # interrupted too: half an answer would be taken for the next one
            assert self._worker is not None
            yield self._worker


def _bytes(inputs: Mapping[str, Array], said: Said) -> int:
    return sum(a.nbytes for a in inputs.values()) + sum(values.nbytes for values, _ in said.outputs.values())


def blame(fallen: FallenError, deaths: Counter[str], broken: dict[str, str]) -> None:
    """Take note of a worker that fell. A network whose process dies has a second try: the system may have looked for
    memory. One that dies again, or falls silent, is broken; it is left out of the sessions that follow. Of several that
    ran side by side it may have been any: the sessions that follow are careful, and will know.

    deaths: of each network so far. broken: network -> why. Raises GateError when no network can be blamed.
    """
    if fallen.beside:
        deaths[", ".join(sorted({fallen.network, *fallen.beside}))] += 1  # the name of no network
        return
    deaths[fallen.network] += 1
    if fallen.hung or deaths[fallen.network] > 1:
        if not fallen.network:
            raise GateError(f"worker processes fail: {fallen.why}", mend="run again") from fallen
        twice = "; so did a second try. The system may have been short of memory: then run again with more"
        broken[fallen.network] = fallen.why if fallen.hung else fallen.why + twice


def needed_for(bundle: Bundle, outputs: Collection[str]) -> dict[str, set[str]]:
    """Network -> its heads that some outputs, `network.head`, come from, with all that these networks read."""
    wanted: dict[str, set[str]] = {}
    for output in outputs:
        network, _, head = output.partition(".")
        wanted.setdefault(network, set()).add(head)
    for network in reversed(bundle.networks):
        if network.name in wanted:
            for source in (source for _, source in network.inputs if "." in source):
                upstream, _, head = source.partition(".")
                wanted.setdefault(upstream, set()).add(head)
    return wanted


def _check_order(suite: Suite) -> None:
    """Raises SuiteError unless the order of frames in a clip is said and certain: some networks remember."""
    order, where = suite.definition.suite.order_by, str(suite.root)
    if order is None:
        mend = "name the column that orders the frames of a clip: order_by in [suite]"
        raise SuiteError("networks remember, and nothing says in what order frames are", where=where, mend=mend)
    at, clip = suite.frames.columns[order], suite.frames.clip
    tied = np.flatnonzero((at[1:] == at[:-1]) & (clip[1:] == clip[:-1]))
    if len(tied):
        frames = " and ".join(shown(suite.frames.ids[k], 40) for k in (tied[0], tied[0] + 1))
        what = f"networks remember, and frames {frames} of one clip have the same {order}"
        raise SuiteError(what, where=where, mend="give each frame of a clip its own place")


def device_name(device: str) -> str:
    """What evidence is told to depend on: `cpu`, or the GPU with its driver. Raises UsageError when there is none."""
    if device == "cpu":
        return device
    worker = start(device)
    try:
        name = str(tell(worker, {"do": "gpu"}).get("gpu", ""))
    except FallenError as fallen:
        raise UsageError(f"--device {device}: {fallen.why}", mend="use --device cpu") from fallen
    finally:
        end(worker)
    if not name:
        raise UsageError(f"--device {device}: torch sees no GPU on this machine", mend="use --device cpu")
    return name


def _dangling(network: Network, suite: Suite) -> str:
    for name, source in network.inputs:
        if "." not in source and source not in suite.inputs:
            offers = f"it offers {', '.join(suite.inputs) or 'none'}; {_MEND}"
            return f"the suite has no input '{shown(source)}', which its input {shown(name)} reads; {offers}"
    return ""


def _shapes(network: Network, suite: Suite) -> dict[str, tuple[int, ...] | None]:
    """Program input -> shape of what it is given for one frame; None where that is another network's head."""
    past = (network.window,) if network.window else ()
    return {name: None if "." in source else (*past, *suite.inputs[source].shape) for name, source in network.inputs}


def _worker(key: tuple[object, ...], device: str, threads: int) -> Worker:
    worker = _kept.pop(key, None) or start(device, threads)
    _kept[key] = worker  # the one that was used last stands last
    while len(_kept) > KEPT:
        end(_kept.pop(next(iter(_kept))))
    return worker


@atexit.register
def end_workers() -> None:
    """End all workers that are kept."""
    while _kept:
        end(_kept.popitem()[1])
