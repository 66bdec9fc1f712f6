"""The same real networks as ONNX models and as archives: the same heads told apart, the same scores, the same decision.

The exam lies beside the repository and is not part of it; without it nothing here can be measured.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gate.bundle import describe, impact_of, read_bundle
from gate.judge import Cell
from gate.lock import write_lock
from gate.pipeline import Result, compare_bundles
from gate.run.onnx_program import load_onnx
from gate.run.store import open_store
from gate.suite import open_suite, read_suite
from gate.suite.inputs import read_inputs

SHARED = Path(__file__).parents[2] / "shared" / "camvid"
pytestmark = pytest.mark.skipif(
    not (SHARED / "suite.toml").is_file(),
    reason=f"the CamVid exam is not at {SHARED}; it is not part of the repository",
)
RELEASES = ("incumbent", "equal", "bad_head", "int8")
FORMATS = ("pt2", "onnx")


@dataclass(frozen=True)
class Exam:
    """bundles: (release, format) -> folder. images: the first frames of the suite."""

    root: Path
    bundles: Mapping[tuple[str, str], Path]
    images: NDArray[np.float32]

    def of_model(self, release: str) -> dict[str, NDArray[np.float32]]:
        """Head -> what gate makes of the ONNX model."""
        (network,) = read_bundle(self.bundles[release, "onnx"]).networks
        assert network.program is not None
        forward = load_onnx(network, network.program.read_bytes(), {"image": self.images.shape[1:]}, 1).forward
        return {head: values for head, (values, _) in forward({"image": self.images}).items()}

    def of_archive(self, release: str) -> dict[str, NDArray[np.float32]]:
        """Head -> what torch makes of the archive, without gate."""
        module = torch.export.load(self.bundles[release, "pt2"] / "model.pt2").module()
        with torch.inference_mode():
            return {head: values.numpy() for head, values in module(torch.from_numpy(self.images)).items()}


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Exam:
    """A frozen copy of the exam, whose releases are there in both formats."""
    root = tmp_path_factory.mktemp("camvid") / "exam"
    shutil.copytree(SHARED, root)
    write_lock(root / "suite.lock", open_suite(root).lock)
    bundles = {}
    for release in RELEASES:
        for form in FORMATS:
            folder = bundles[release, form] = root.parent / form / release
            folder.mkdir(parents=True)
            shutil.copy(SHARED / "bundles" / release / f"model.{form}", folder)
            manifest = (SHARED / "bundles" / release / "bundle.toml").read_text()
            (folder / "bundle.toml").write_text(manifest.replace('"model.pt2"', f'"model.{form}"'))
    suite = read_suite(root)
    images = read_inputs(suite.inputs, suite.input_files, suite.root, suite.frames, np.arange(16))["image"]
    return Exam(root, bundles, images)


def test_of_the_release_with_one_bad_head_that_head_alone_is_reached(exam: Exam) -> None:
    impact = impact_of(*(read_bundle(exam.bundles[release, "onnx"]) for release in ("incumbent", "bad_head")))
    assert impact.reached == ("front.road_edge",)
    assert len(impact.identical) == 8
    assert [(cause.kind, cause.heads) for cause in impact.causes] == [("weights", ("front.road_edge",))]
    assert all("road_edge" in name for cause in impact.causes for name in cause.names)


@pytest.mark.parametrize("release", ["equal", "int8"])
def test_a_release_that_was_trained_or_quantised_anew_is_reached_everywhere(exam: Exam, release: str) -> None:
    impact = impact_of(*(read_bundle(exam.bundles[name, "onnx"]) for name in ("incumbent", release)))
    assert (len(impact.reached), impact.identical) == (9, ())


@pytest.mark.parametrize("release", ["incumbent", "equal", "bad_head"])
def test_both_formats_give_the_same_scores(exam: Exam, release: str) -> None:
    model, archive = exam.of_model(release), exam.of_archive(release)
    assert list(model) == list(archive)
    for head, values in model.items():
        # Kernels that add up in another order differ in the last bits of the largest numbers.
        near = max(1e-4, 1e-5 * float(np.abs(archive[head]).max()))
        np.testing.assert_allclose(values, archive[head], atol=near, err_msg=head)


def test_a_quantised_network_differs_by_what_a_rounding_tie_moves(exam: Exam) -> None:
    """Activations lie on a grid of 255 steps: where two kernels differ in the last bit, one may round the other way.

    Two thirds of the scores are equal within 1e-4; the rest moves by a small part of what quantising itself costs.
    """
    model, archive, exact = exam.of_model("int8"), exam.of_archive("int8"), exam.of_archive("incumbent")
    for head, values in model.items():
        apart, cost = np.abs(values - archive[head]), np.abs(archive[head] - exact[head])
        assert np.mean(apart < 1e-4) > 0.5, head
        assert apart.mean() < cost.mean() / 5, head


def test_both_formats_describe_the_same_network(exam: Exam) -> None:
    for release in RELEASES:
        model, archive = (describe(read_bundle(exam.bundles[release, form]))["front"] for form in ("onnx", "pt2"))
        assert [(p.name, p.frame, p.dtype) for p in model.heads] == [(p.name, p.frame, p.dtype) for p in archive.heads]
        assert model.inputs == archive.inputs
        # The export folds norms into convolutions.
        assert model.parameters == pytest.approx(archive.parameters, rel=0.02)
        assert next(iter(model.weights)) == next(iter(archive.weights)) == ("int8" if release == "int8" else "float32")


@pytest.fixture(scope="module")
def decided(exam: Exam) -> Mapping[tuple[str, str], Result]:
    """(candidate, format) -> what a comparison with the incumbent of the same format says."""
    found: dict[tuple[str, str], Result] = {}
    store = open_store(exam.root.parent / "store", print, required=True)
    for candidate in ("equal", "bad_head"):
        for form in FORMATS:
            found[candidate, form] = compare_bundles(
                exam.bundles["incumbent", form],
                exam.bundles[candidate, form],
                suite=exam.root,
                policy=exam.root / "policy.toml",
                thresholds=exam.root / "thresholds",
                store=store,
            )
    return found


def cells(result: Result) -> dict[tuple[str, str, str], Cell]:
    return {(cell.prediction, cell.metric, cell.slice): cell for cell in result.decision.cells}


@pytest.mark.parametrize(("candidate", "decision"), [("bad_head", "NO-GO"), ("equal", "GO")])
def test_both_formats_give_the_same_decision(
    decided: Mapping[tuple[str, str], Result], candidate: str, decision: str
) -> None:
    model, archive = (decided[candidate, form] for form in ("onnx", "pt2"))
    assert model.decision.decision == archive.decision.decision == decision
    regressed = {c.prediction for c in model.decision.cells if c.verdict == "regressed"}
    assert regressed == ({"front.road_edge"} if candidate == "bad_head" else set())
    ours, theirs = cells(model), cells(archive)
    assert ours.keys() == theirs.keys()
    assert {k: c.verdict for k, c in ours.items()} == {k: c.verdict for k, c in theirs.items()}
    whole, parts = list[float](), list[float]()
    for key, cell in ours.items():
        for side in ("incumbent", "candidate"):
            value, other = getattr(cell, side), getattr(theirs[key], side)
            assert (value is None) == (other is None), key
            if value is not None:
                (whole if cell.slice == "all" else parts).append(abs(value - other))
    assert max(whole) < 1e-4
    # Scores differ by 4e-6. In a slice with a few dozen positives, two frames whose scores are that near to a step of
    # the half-precision lattice can change places, which is worth more: four of 6,518 values, by at most 0.0012.
    assert np.mean(np.array(parts) < 1e-4) > 0.998
    assert max(parts) < 0.005
