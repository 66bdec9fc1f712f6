"""Cost of a run on a stack of 48 networks and 1,000 predictions beside the bare passes of the same programs.

    python -m benchmarks.bench_run [--work FOLDER] [--repeat 3] [--camvid FOLDER] [--memory]

Every figure is of a process of its own with all that it starts, its imports and `read_suite` apart; torch's import is
within the run, as the worker that has it starts there, and within the bare passes, which are told without loading too.
The bare passes decode the same pictures, run the same programs on the same batches with the same threads, and keep
nothing. Figures that make a ratio are taken in turns; medians are told. Ratios count; seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.stack import CHANGED, members, write_stack

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parents[1]


def clock() -> tuple[float, float]:
    """Wall and processor seconds of this process, its threads and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(u.ru_utime + u.ru_stime for u in used)


def spent(since: tuple[float, float]) -> dict[str, float]:
    wall, processor = clock()
    return {"s": wall - since[0], "processor_s": processor - since[1]}


def bare(suite: Path, bundle: Path, *_: Path) -> dict[str, Any]:
    """The programs in a plain loop over the decoded pictures, nothing kept. The loop carries memory and windows as the
    engine must: one instant of sixteen clips at a time.
    """
    import numpy as np

    from gate.bundle import read_bundle
    from gate.run.partition import rounds_of, steps_of
    from gate.suite import read_suite
    from gate.suite.inputs import read_inputs

    exam, made = read_suite(suite), read_bundle(bundle)
    whole = clock()
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    imported = clock()
    programs = {n.name: torch.export.load(io.BytesIO(n.program.read_bytes())) for n in made.networks}
    modules = {name: program.module() for name, program in programs.items()}
    loading, decoding, running = spent(imported), 0.0, clock()

    def call(network: Any, given: dict[str, Any]) -> dict[str, Any]:
        said = modules[network.name](*(given[name] for name in programs[network.name].graph_signature.user_inputs))
        values = said if isinstance(said, tuple) else (said,)
        return {f"{network.name}.{head}": value for head, value in zip(network.heads, values, strict=True)}

    late = [n for n in made.networks if n.state or n.window]
    early = [n for n in made.networks if n not in late]
    sources = {source for n in late for name, source in n.inputs if name not in n.state}
    with torch.inference_mode():
        for part in rounds_of(exam.frames):  # every clip has as many frames as a round has steps
            kept: dict[str, list[Any]] = {source: [] for source in sources}
            for rows in part.batches:
                start = time.perf_counter()
                read = read_inputs(exam.inputs, exam.input_files, exam.root, exam.frames, rows)
                decoding += time.perf_counter() - start
                now = {name: torch.from_numpy(a) for name, a in read.items()}
                for network in early:
                    now |= call(network, {name: now[source] for name, source in network.inputs})
                for source, values in kept.items():
                    values.append(now[source])
            past = {source: torch.cat(values) for source, values in kept.items()}
            memory = {n.name: torch.zeros(len(part.lengths), *_state(programs[n.name])) for n in late if n.state}
            windows: dict[str, Any] = {}
            for _, at in steps_of(part.lengths):
                now = {source: values[torch.from_numpy(at)] for source, values in past.items()}
                for network in late:
                    ((name, source),) = [pair for pair in network.inputs if pair[0] not in network.state]
                    if network.window:
                        here = now[source][:, None]
                        before = windows.get(name, here.repeat(1, network.window, 1))
                        windows[name] = torch.cat([before[:, 1:], here], 1)
                        call(network, {name: windows[name]})
                    else:
                        said = call(network, {name: now[source], "memory": memory[network.name]})
                        memory[network.name] = said[f"{network.name}.memory"]
    told = spent(running) | {"decoding_s": decoding, "loading_s": loading["s"]}
    return told | {"all": spent(whole), "frames": len(exam.frames.ids)}


def _state(program: Any) -> tuple[int, ...]:
    (node,) = [n for n in program.graph.nodes if n.name == "memory"]
    return tuple(node.meta["val"].shape[1:])
