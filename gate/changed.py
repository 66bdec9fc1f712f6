"""The candidate at work: what a change reaches is run, what it cannot reach is the incumbent's, and a sample of that is
compared bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from gate.bundle import Bundle, Impact
from gate.compare import seed_of
from gate.run import Run, Store, Watch, needed_for, outputs_of, rounds_of, run, watched
from gate.suite import Suite

#: Takes one line of what was done
Tell = Callable[[str], None]


def changed_answers(
    old: Bundle,
    new: Bundle,
    suite: Suite,
    before: Run,
    impact: Impact,
    names: Collection[str],
    progress: Callable[[int, int], None],
    store: Store | None,
    device: str,
    tell: Tell,
) -> tuple[Run, set[str]]:
    """What the candidate answers, and those of its outputs that are identical by construction.

    before: what the incumbent answered. names: outputs of the candidate, `network.head`. progress: takes frames done,
    and frames in all.
    """
    identical = {name for name in names if impact.is_identical(name)}
    watch = _watch_of(old, new, suite, impact, before.stored)
    differing, unseen = _differing(old, new, suite, watch, device)
    if differing or unseen:
        identical = set()  # a digest that was wrong once is trusted no more, nor is one that could not be checked
    trusted = None if differing else store  # the store's addresses are made of such digests
    after = _run_what_changed(new, suite, before, identical, progress, trusted, device, tell)
    _refuse(after, suite, watch, differing)
    if identical or watch is not None:
        tell(_what_ran(after, names, identical, watch, differing, unseen))
    return after, identical


def tell_stored(stage: str, answers: Run, source: str, tell: Tell) -> None:
    """Say for how many heads nothing was run; nothing when that is none."""
    if answers.stored:
        tell(f"{stage}: {len(answers.stored)} of {len(answers.evidence)} heads from {source}")


def _watch_of(old: Bundle, new: Bundle, suite: Suite, impact: Impact, stored: Collection[str]) -> Watch | None:
    """What the spot check looks at: one batch, drawn by the digests, of all judged heads that are called identical
    although their network, or one that it reads, was rewritten. None when there are none: equal bytes leave nothing to
    be mistaken about.

    stored: heads whose evidence of the incumbent was not run here: nothing is run for a check alone.
    """
    judged = {output for head in suite.heads if head.name not in stored for output in outputs_of(head)}
    rewritten = {n.name for n in new.networks if n.program is not None and n.name in impact.rewritten}
    outputs = {o for o in judged if impact.is_identical(o) and rewritten & needed_for(new, [o]).keys()}
    batches = sum(len(part.batches) for part in rounds_of(suite.frames))
    seed = seed_of(suite.digest, old.digest, new.digest)
    return Watch(seed % batches, frozenset(outputs)) if outputs and batches else None


def _run_what_changed(
    bundle: Bundle,
    suite: Suite,
    before: Run,
    identical: Collection[str],
    progress: Callable[[int, int], None],
    store: Store | None,
    device: str,
    tell: Tell,
) -> Run:
    """Evidence of a candidate: of heads that the change cannot reach, the incumbent's own."""
    kept = {h.name for h in suite.heads if set(outputs_of(h)) <= set(identical)}
    changed = [h.name for h in suite.heads if h.name not in kept]
    after = run(bundle, suite, changed, progress, store, device) if changed else before
    if changed:
        tell_stored("candidate", after, "the store", tell)
        if after.runtime and before.runtime and after.runtime != before.runtime:
            # Only evidence from a file can have another runtime: the store's is part of its address.
            now = dict(after.runtime)  # what only one of them needed, such as onnxruntime, tells nothing
            if other := ", ".join(f"{k} {v}" for k, v in before.runtime if now.get(k, v) != v):
                what = f"the incumbent's evidence is from another machine ({other})"
                tell(f"warning: {what}: last bits of scores may differ")
    return Run(
        before.evidence.of(kept) | after.evidence,
        {**{name: s for name, s in before.summaries.items() if name in kept}, **after.summaries},
        (*(name for name in before.missing if name in kept), *(after.missing if changed else ())),
        after.runtime,
        ran=after.ran if changed else (),
    )


def _differing(
    old: Bundle, new: Bundle, suite: Suite, watch: Watch | None, device: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Outputs that are called identical and are not, on the watched batch, and those of which one side said nothing."""
    if watch is None:
        return (), ()
    before, after = (watched(bundle, suite, watch, device) for bundle in (old, new))
    seen = [o for o in sorted(watch.outputs) if o in before and o in after]
    return tuple(o for o in seen if before[o] != after[o]), tuple(sorted(watch.outputs - set(seen)))


def _refuse(answers: Run, suite: Suite, watch: Watch | None, differing: Collection[str]) -> None:
    """Heads with such an output are broken: nothing that was said of them holds."""
    if watch is None or not differing:
        return
    rows = watch.rows(suite)
    for head in suite.heads:
        if set(outputs_of(head)) & set(differing):
            answers.summaries[head.name].refused = (
                "called identical by its graph, and not equal bit for bit in the spot check on frames "
                f"{suite.frames.ids[rows[0]]} to {suite.frames.ids[rows[-1]]}"
            )


def _what_ran(
    after: Run,
    names: Collection[str],
    identical: Collection[str],
    watch: Watch | None,
    differing: Collection[str],
    unseen: Collection[str],
) -> str:
    """`candidate: ran 1 of 9 heads (front.road_edge); 8 identical by construction, of which ...`."""
    shown_names = ", ".join(after.ran[:3]) + (", …" if len(after.ran) > 3 else "")
    line = f"candidate: ran {len(after.ran):,} of {len(names):,} heads{f' ({shown_names})' if after.ran else ''}"
    line += f"; {len(identical):,} identical by construction"
    if watch is not None:
        line += f", {len(watch.outputs) - len(unseen):,} of these compared bit for bit on a batch of frames"
    if unseen:
        line += f"; {len(unseen):,} could not be compared, so nothing is taken to be identical"
    if differing:
        line += f": {', '.join(sorted(differing)[:3])} differ, so nothing is taken to be identical and all heads ran"
    return line
