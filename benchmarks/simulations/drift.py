"""Table 5: small losses release after release: with what should a candidate be compared?

    python -m benchmarks.simulations.drift [--quick] [--seed N] [--repetitions N]

Thirty releases of 1,000 heads on one suite. Each release is a fresh retraining: contributions by clip are its true
level plus Gaussian noise that grows with the clip, 30 % of it common to all heads, so that the difference of any two
releases has a standard error of 0.5 points. A blocked candidate does not ship. What is compared: the incumbent alone
(alpha); a fixed anchor, release 0 (alpha); the incumbent (alpha/2) and an anchor (alpha/2) that a head moves up to a
shipped release only when that is a proven gain over the old one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.simulations.rules import ALPHA
from benchmarks.simulations.tables import main, markdown, mean
from benchmarks.simulations.world import COMMON, REGULAR, Floats, Mask
from gate.compare import eligible, prove_loss, sign_vectors

HEADS, CLIPS, RELEASES, RESAMPLES = 1000, 100, 30, 399
ERROR, LOSS, GAIN, RISE = 0.005, 0.002, 0.005, 10
RULES = INCUMBENT, FIXED, MOVING = "incumbent only", "fixed anchor", "incumbent + anchor moved on proven gain"


@dataclass(frozen=True)
class World:
    """weight: (J,) share of each clip. noise: (J,) standard deviation of one release in each clip."""

    weight: Floats
    noise: Floats

    def release(self, rng: np.random.Generator, level: Floats) -> Floats:
        """(H, J) contributions of a release with these true levels (H,)."""
        own = np.sqrt(1 - COMMON) * rng.standard_normal((len(level), len(self.weight)))
        return level[:, None] * self.weight + self.noise * (
            np.sqrt(COMMON) * rng.standard_normal(len(self.noise)) + own
        )


def a_world(rng: np.random.Generator, clips: int = CLIPS) -> World:
    size = rng.lognormal(0.0, REGULAR.spread, clips) * rng.gamma(REGULAR.clumping, 1 / REGULAR.clumping, clips)
    weight = size / size.sum()
    return World(weight, ERROR / np.sqrt(2) * weight / np.sqrt((weight**2).sum()))


def levels(scenario: str, heads: int) -> tuple[Floats, Mask]:
    """((T, H) true levels of release 0, 1, …; (H,) heads that lose)."""
    time = np.arange(RELEASES + 1)
    falling = np.arange(heads) < {"equal": 0, "1 head": 1, "50 heads": 50, "all heads": heads, "rise": 1}[scenario]
    path = -LOSS * time
    if scenario == "rise":
        time = np.arange(RISE + RELEASES + 1)
        path = np.where(time <= RISE, GAIN * time, GAIN * RISE - LOSS * (time - RISE))
    return path[:, None] * falling, falling


def history(seed: tuple[int, ...], scenario: str, rule: str, effect: float, heads: int = HEADS) -> tuple[int, int]:
    """(releases blocked, first release in which a losing head is called regressed, RELEASES + 1 if none).

    Of a rise and fall, releases count from the peak.
    """
    rng = np.random.default_rng(seed)
    world = a_world(rng)
    level, falling = levels(scenario, heads)
    weight = np.broadcast_to(world.weight, (heads, CLIPS))
    incumbent = anchor = world.release(rng, level[0])
    start, blocks = len(level) - RELEASES, 0
    for t in range(1, len(level)):
        candidate = world.release(rng, level[t])
        signs = sign_vectors(CLIPS, RESAMPLES, int(rng.integers(2**63)))

        def proven(d: Floats, alpha: float, signs=signs) -> Mask:
            able = eligible(d, np.full(heads, CLIPS))
            return np.nan_to_num(prove_loss(d, weight, np.full(heads, effect), able, signs, alpha).p, nan=1.0) <= alpha

        called = np.zeros(heads, bool)
        share = ALPHA / 2 if rule == MOVING else ALPHA
        if rule in (INCUMBENT, MOVING):
            called |= proven(candidate - incumbent, share)
        if rule in (FIXED, MOVING):
            called |= proven(candidate - anchor, share)
        if (called & falling).any() and t >= start:
            return blocks, t - start + 1
        blocks += bool(called.any())
        if called.any():
            continue
        incumbent = candidate
        if rule == MOVING:
            anchor = np.where(proven(anchor - candidate, share)[:, None], candidate, anchor)
    return blocks, RELEASES + 1


def table(seed: int, repetitions: int) -> str:
    scenarios = ("1 head", "50 heads", "all heads", "rise")
    rows = []
    for effect in (0.005, 0.0):
        for rule in RULES:
            row = [f"{100 * effect:g}", rule]
            equal = [history((seed, 5, r), "equal", rule, effect)[0] for r in range(repetitions)]
            row.append(mean(equal))
            for scenario in scenarios:
                first = np.array([history((seed, 6, r), scenario, rule, effect)[1] for r in range(repetitions)])
                never = int((first > RELEASES).sum())
                middle = "never" if np.median(first) > RELEASES else f"{np.median(first):.0f}"
                row.append(f"{middle} ({100 * never / repetitions:.0f} %)" if never else middle)
            rows.append(row)
    header = ["least effect, points", "rule", "false blocks in 30 equal releases"]
    header += ["1 head loses 0.2 a release", "50 heads", "all heads", "1 head gains 0.5 x 10, then loses 0.2"]
    return (
        f"First release in which a losing head is called regressed, median of {repetitions} histories (in brackets: "
        f"never within {RELEASES}); of a rise and fall, counted from the peak. Nominal false blocks: "
        f"{RELEASES * ALPHA:.1f} with no least effect. {HEADS:,} heads, {CLIPS} regular clips, "
        f"{RESAMPLES} sign vectors.\n\n"
    ) + markdown(header, rows)


if __name__ == "__main__":
    main(table, full=20, quick=1, what=__doc__.splitlines()[0])
