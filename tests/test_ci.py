"""`gate ci` on real repositories: the exam is the base commit's, the head is data, the exit code is the answer."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from gate import pipeline
from tests.support.hub import TOKEN, Fault, Hub, github
from tests.support.repositories import STRICT, Repository, event_of, make_repository, pull_request
from tests.support.tiny import POLICY, Ended, World, gate, predict, without_worker


@pytest.fixture(scope="module")
def _made(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repositories")
    make_repository(folder / "plain", world)
    make_repository(folder / "strict", world, STRICT)
    return folder


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    without_worker(monkeypatch)
    for name in ("GITHUB_EVENT_NAME", "GITHUB_ACTIONS", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repo(_made: Path, world: World, tmp_path: Path) -> Repository:
    return Repository(shutil.copytree(_made / "plain", tmp_path / "repo"), world)


@pytest.fixture
def strict(_made: Path, world: World, tmp_path: Path) -> Repository:
    return Repository(shutil.copytree(_made / "strict", tmp_path / "strict"), world)


def shell(repo: Repository, *words: str, base: str = "main", head: str = "HEAD") -> Ended:
    return gate("ci", "--base", base, "--head", head, *words, cwd=repo.root)


def run(repo: Repository, environment: Mapping[str, str], *words: str) -> Ended:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return gate("ci", *words, cwd=repo.root)


def verdict(repo: Repository) -> dict[str, str]:
    return json.loads((repo.root / "reports/ci/verdict.json").read_text())


def broken(world: World) -> np.ndarray:
    """Distances that nobody could use."""
    return predict(world, noise=20.0, seed=3)["range"]


def test_a_good_release_passes(repo: Repository) -> None:
    repo.proposes()
    ended = shell(repo)
    assert (ended.code, verdict(repo)["decision"]) == (0, "GO"), ended.err
    names = ("report.html", "junit.xml", "summary.md", "gate-publish.json", "verdict.json")
    assert set(names) <= {Path(name).name for name in ended.made if name.startswith("reports/ci/")}


def test_a_bad_release_fails_and_says_on_which_line(repo: Repository, tmp_path: Path) -> None:
    base = repo.git("rev-parse", "main")
    head = repo.proposes(range=broken(repo.world))
    environment = event_of(tmp_path / "event", "pull_request", pull_request(head, base))
    ended = run(repo, environment)
    assert ended.code == 1
    lines = ended.out.splitlines()
    suite = (repo.root / "suites/tiny/suite.toml").read_text().splitlines()
    at = suite.index('head = "cam.range"') + 1
    assert any(line.startswith(f"::error file=suites/tiny/suite.toml,line={at},title=cam.range%3A") for line in lines)
    assert any(line.startswith("::error file=release.toml,line=3,title=NO-GO") for line in lines)
    assert "NO-GO" in (tmp_path / "event/summary.md").read_text()
    outputs = dict(line.split("=", 1) for line in (tmp_path / "event/output").read_text().splitlines())
    assert outputs["verdict"] == "NO-GO"
    assert outputs["regressions"] == "1"
    assert outputs["report-path"] == "reports/ci/report.html"
    assert outputs["bundle-digest"] == verdict(repo)["candidate"]["digest"]  # type: ignore[index]


def test_an_undecided_release_is_inconclusive(strict: Repository) -> None:
    strict.proposes()
    ended = shell(strict)
    assert (ended.code, verdict(strict)["decision"]) == (3, "INCONCLUSIVE"), ended.err


def test_a_change_that_ships_what_shipped_proposes_nothing_and_runs_nothing(repo: Repository) -> None:
    repo.branch("docs")
    (repo.root / "README.md").write_text("hello\n")
    repo.commit()
    ended = shell(repo)
    assert ended.code == 0
    assert "no release is proposed" in ended.err
    assert not (repo.root / "reports/ci/verdict.json").exists()
    case = ET.parse(repo.root / "reports/ci/junit.xml").getroot().find("testsuite/testcase")
    assert case is not None
    assert case.find("failure") is None


def test_an_old_branch_does_not_propose_to_go_back(repo: Repository) -> None:
    repo.branch("old")
    (repo.root / "README.md").write_text("hello\n")
    repo.commit()
    repo.proposes("next")
    repo.git("branch", "--force", "main", "next")
    assert "no release is proposed" in shell(repo, head="old").err


@pytest.mark.parametrize(
    "file",
    [
        "policy.toml",
        "suites/tiny/suite.toml",
        "thresholds/tiny/tiny-1.toml",
        "waivers/a.toml",
        "allowed_signers",
        ".github/workflows/gate.yml",
    ],
)
def test_what_a_change_edits_of_its_own_exam_is_said_first(repo: Repository, file: str) -> None:
    repo.branch("edit")
    path = repo.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# changed\n")
    repo.commit()
    ended = shell(repo)
    assert ended.code == 0
    assert f"This change edits what it is judged by: {file}." in ended.err
    assert (
        (repo.root / "reports/ci/summary.md").read_text().startswith("> ⚠ **This change edits what it is judged by:**")
    )


def test_a_lowered_margin_does_not_help(strict: Repository) -> None:
    """The head would pass under its own policy; it is judged under the base's."""
    strict.proposes()
    (strict.root / "policy.toml").write_text(POLICY)
    strict.commit("Lower the margin")
    ended = shell(strict)
    assert ended.code == 3
    assert "edits what it is judged by: policy.toml." in ended.err


def test_an_easier_suite_that_release_toml_names_does_not_help(strict: Repository) -> None:
    strict.proposes()
    shutil.copytree(strict.root / "suites/tiny", strict.root / "suites/easy")
    (strict.root / "easy.toml").write_text(POLICY)
    strict.ships("2", suite="suites/easy", policy="easy.toml")
    strict.commit("Choose another exam")
    ended = shell(strict)
    assert ended.code == 3
    assert "edits what it is judged by: release.toml, easy.toml," in ended.err


def test_choosing_an_exam_that_was_always_there_is_said_too(repo: Repository) -> None:
    (repo.root / "easy.toml").write_text(POLICY)
    repo.commit("Leave an easy policy lying around")
    repo.branch("next")
    repo.ships("1", policy="easy.toml")
    repo.commit()
    ended = shell(repo)
    assert ended.code == 0
    assert "edits what it is judged by: release.toml." in ended.err


def test_a_release_that_loses_a_head_fails(repo: Repository) -> None:
    repo.proposes(range=None)
    ended = shell(repo)
    assert ended.code == 1
    assert any(r["code"] == "missing-head" for r in verdict(repo)["reasons"])  # type: ignore[index, union-attr]


def test_bytes_that_are_swapped_under_the_digest_are_refused(repo: Repository, tmp_path: Path) -> None:
    base = repo.git("rev-parse", "main")
    repo.proposes()
    good = (repo.root / "release.toml").read_text()
    repo.bundle("2", seed=9)
    repo.ships("2")
    (repo.root / "release.toml").write_text(good)
    head = repo.commit("Swap")
    ended = run(repo, event_of(tmp_path / "event", "pull_request", pull_request(head, base)))
    assert ended.code == 4
    assert "head:release.toml:3" in ended.err
    assert "::error file=release.toml,line=3,title=gate could not judge::" in ended.out
    assert not (repo.root / "reports/ci/verdict.json").exists()
    failure = ET.parse(repo.root / "reports/ci/junit.xml").getroot().find("testsuite/testcase/failure")
    assert failure is not None
    assert "gate could not judge" in failure.attrib["message"]


def test_bytes_that_change_without_a_word_in_release_toml_are_refused(repo: Repository) -> None:
    repo.branch("quiet")
    repo.bundle("1", seed=9)
    repo.commit()
    ended = shell(repo)
    assert ended.code == 4
    assert "bundle" in ended.err


def test_a_bundle_that_git_does_not_hold_is_taken_from_the_working_tree_and_held_to_its_digest(
    repo: Repository,
) -> None:
    repo.branch("next")
    (repo.root / ".gitignore").write_text("reports/\nbundles/2\n")
    repo.bundle("2")
    repo.ships("2")
    repo.commit()
    assert shell(repo).code == 0
    repo.bundle("2", seed=9)
    (repo.root / "bundles/2/bundle.lock").unlink()
    assert shell(repo).code == 4


def test_data_of_the_suite_that_git_does_not_hold_is_held_to_the_lock(repo: Repository) -> None:
    repo.branch("main")
    (repo.root / ".gitignore").write_text("reports/\n*.npz\n")
    repo.git("rm", "--quiet", "--cached", "suites/tiny/rasters.npz")
    repo.commit("Keep the rasters elsewhere")
    repo.proposes()
    assert shell(repo).code == 0
    rasters = repo.root / "suites/tiny/rasters.npz"
    rasters.write_bytes(rasters.read_bytes()[:-1] + b"!")
    assert shell(repo).code == 4


def test_a_released_threshold_comes_from_the_base(repo: Repository, store_folder: Path) -> None:
    assert gate("calibrate", "bundles/1", cwd=repo.root).code == 0
    repo.commit("Release the operating points")
    base = repo.git("rev-parse", "HEAD")
    repo.proposes("next")
    repo.branch("next", base)
    repo.bundle("2")
    repo.ships("2")
    (repo.root / "thresholds/tiny/tiny-1.toml").write_text("nonsense\n")
    repo.commit()
    assert shell(repo, base=base).code == 0


def test_evidence_that_ships_with_the_incumbent_is_used_and_the_heads_is_not(repo: Repository) -> None:
    assert gate("run", "bundles/1", "--export", "evidence/1.safetensors", cwd=repo.root).code == 0
    repo.ships("1", evidence="evidence/1.safetensors")
    repo.commit("Ship evidence")
    repo.proposes()
    (repo.root / "evidence/1.safetensors").write_bytes(b"nonsense")
    repo.commit("Break the evidence of the head's side")
    ended = shell(repo, "--store", "none")
    assert ended.code == 0
    assert "incumbent: 3 of 3 heads from a file" in ended.err
    assert "edits what it is judged by: evidence/1.safetensors." in ended.err


def test_a_second_check_runs_nothing(repo: Repository) -> None:
    repo.proposes()
    shell(repo)
    ended = shell(repo)
    assert "incumbent: 3 of 3 heads from the store" in ended.err
    assert "candidate: 3 of 3 heads from the store" in ended.err


def test_the_head_is_never_checked_out(repo: Repository) -> None:
    repo.proposes()
    repo.branch("elsewhere")
    before = repo.git("status", "--porcelain")
    assert shell(repo, head="next").code == 0
    assert repo.git("rev-parse", "--abbrev-ref", "HEAD") == "elsewhere"
    assert repo.git("status", "--porcelain") == before
    assert not (repo.root / "bundles/2").exists()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "missing; this key is required"),
        ('[release]\nbundle = "../x"\ndigest = "sha256:0"\nsuite = "s"\npolicy = "p"\n', "is not a path"),
        ('[release]\nbundle = "s3://x/y"\ndigest = "sha256:0"\nsuite = "s"\npolicy = "p"\n', "is an address"),
        ('[release]\nbundel = "x"\n', "did you mean 'bundle'?"),
        ("\x1b[31m", "not valid TOML"),
    ],
)
def test_a_release_that_cannot_be_read_is_refused_with_its_line(repo: Repository, text: str, word: str) -> None:
    repo.branch("next")
    (repo.root / "release.toml").write_text(text)
    repo.commit()
    ended = shell(repo)
    assert ended.code == 2
    assert word in ended.err
    assert "head:release.toml" in ended.err
    assert "/tmp" not in ended.err
    assert "\x1b" not in ended.err


def test_a_release_that_is_removed_is_refused(repo: Repository) -> None:
    repo.branch("next")
    (repo.root / "release.toml").unlink()
    repo.commit()
    assert shell(repo).code == 4


def test_a_base_that_ships_nothing_is_no_pass(repo: Repository) -> None:
    repo.git("checkout", "--quiet", "--orphan", "empty")
    repo.git("rm", "-r", "--quiet", "--force", ".")
    first = repo.commit("nothing")
    repo.git("checkout", "--quiet", "main", "--", ".")
    repo.commit("everything")
    ended = shell(repo, base=first)
    assert ended.code == 2
    assert "nothing to compare with" in ended.err


def test_links_in_a_bundle_are_refused(repo: Repository, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    repo.proposes()
    (repo.root / "bundles/2/notes").symlink_to(tmp_path / "secret")
    repo.commit()
    ended = shell(repo)
    assert ended.code == 4
    assert "bundles/2/notes: a link, which is not followed" in ended.err


def test_a_tree_whose_names_lead_outside_is_refused(repo: Repository) -> None:
    """Git itself never makes such a tree; a hostile one can be written by hand."""
    head = repo.proposes()
    raw = b"100644 ..\0" + bytes.fromhex(repo.git("hash-object", "-w", "policy.toml"))
    (repo.root.parent / "tree").write_bytes(raw)
    evil = repo.git("hash-object", "-t", "tree", "-w", "--literally", "../tree")
    names = ("bundles/2", "bundles", "")
    old = [repo.git("rev-parse", f"{head}:{name}") for name in names]
    new = [f"040000 tree {evil}\tx"]
    for tree, inner in zip(old, [None, *old], strict=False):
        listing = repo.git("ls-tree", tree)
        listing = listing.replace(inner, new[-1]) if inner else f"{listing}\n{new[-1]}"
        new.append(repo.git("mktree", said=listing + "\n"))
    ended = shell(repo, head=repo.git("commit-tree", new[-1], "-p", head, "-m", "evil"))
    assert ended.code == 4
    assert "leads out of its folder" in ended.err


def test_a_commit_that_does_not_fit_on_the_disk_is_refused_before_it_is_written(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git packs a terabyte of zeros into a megabyte."""
    repo.proposes()
    real = shutil.disk_usage

    def full(path: Path) -> object:
        return real(path)._replace(free=1000)

    monkeypatch.setattr("gate.github.tree.shutil.disk_usage", full)
    ended = shell(repo)
    assert ended.code == 4
    assert "1,000 free on the disk" in ended.err


def test_content_in_git_lfs_is_read_from_the_clone_and_checked(repo: Repository) -> None:
    repo.proposes()
    file = repo.root / "bundles/2/cam.parquet"
    data = file.read_bytes()
    oid = hashlib.sha256(data).hexdigest()
    file.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n")
    repo.commit("Move it to LFS")
    ended = shell(repo)
    assert ended.code == 4
    assert "in Git LFS and is not here" in ended.err
    kept = repo.root / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
    kept.parent.mkdir(parents=True)
    kept.write_bytes(data)
    assert shell(repo).code == 0


def test_content_in_git_lfs_is_what_its_pointer_says(repo: Repository) -> None:
    """The policy has no digest in release.toml: its pointer is all that says what it is."""
    policy = repo.root / "policy.toml"
    data = policy.read_bytes()
    oid = hashlib.sha256(data).hexdigest()
    kept = repo.root / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
    kept.parent.mkdir(parents=True)
    kept.write_bytes(data)
    policy.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n")
    repo.commit("Move the policy to LFS")
    repo.proposes()
    assert shell(repo).code == 0
    kept.write_bytes(data.replace(b"margin = 0.05", b"margin = 0.95"))
    ended = shell(repo)
    assert ended.code == 4
    assert "policy.toml: its content is in Git LFS and is not here" in ended.err


def test_a_clone_without_history_says_what_to_fetch(repo: Repository, tmp_path: Path) -> None:
    repo.proposes()
    repo.git("clone", "--quiet", "--depth", "1", "--branch", "next", f"file://{repo.root}", str(tmp_path / "shallow"))
    ended = gate("ci", "--base", repo.git("rev-parse", "main"), cwd=tmp_path / "shallow")
    assert ended.code == 2
    assert "fetch-depth: 0" in ended.err


def test_an_earlier_verdict_does_not_stand_for_a_refusal(repo: Repository) -> None:
    repo.proposes()
    assert shell(repo).code == 0
    (repo.root / "release.toml").write_text("nonsense")
    repo.commit()
    assert shell(repo).code == 2
    assert not (repo.root / "reports/ci/verdict.json").exists()
    assert not (repo.root / "reports/ci/report.html").exists()


def test_a_crash_after_the_reports_were_written_leaves_no_verdict(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> object:
        raise RuntimeError("boom")

    monkeypatch.setattr("gate.github.annotations.of_decision", crash)
    repo.proposes()
    assert shell(repo).code == 4
    assert not (repo.root / "reports/ci/verdict.json").exists()


def test_reports_do_not_follow_a_link_that_the_head_may_have_left(repo: Repository, tmp_path: Path) -> None:
    repo.proposes()
    (tmp_path / "elsewhere").mkdir()
    (repo.root / "reports").symlink_to(tmp_path / "elsewhere")
    ended = shell(repo)
    assert ended.code == 2
    assert "reports: this link may be the head's" in ended.err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_nothing_that_is_printed_while_judging_is_a_workflow_command(repo: Repository, tmp_path: Path) -> None:
    base, head = repo.git("rev-parse", "main"), repo.proposes()
    ended = run(repo, event_of(tmp_path / "event", "pull_request", pull_request(head, base)))
    lines = [line for line in ended.out.splitlines() if line]
    word = lines[0].removeprefix("::stop-commands::")
    assert len(word) == 32
    end = lines.index(f"::{word}::")
    assert any("GO" in line for line in lines[1:end])


def test_a_candidate_finds_no_token_in_the_environment(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}
    real = pipeline.compare_bundles

    def spied(*args: object, **options: object) -> object:
        seen.update(os.environ)
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "compare_bundles", spied)
    base, head = repo.git("rev-parse", "main"), repo.proposes()
    told = pull_request(head, base, repository="stranger/stack")  # a fork: nothing is published
    environment = event_of(tmp_path / "event", "pull_request", told)
    secret = {"GITHUB_TOKEN": "t0ken", "ACTIONS_RUNTIME_TOKEN": "t0ken", "GATE_APP_KEY": "t0ken", "GH_TOKEN": "t0ken"}
    run(repo, environment | secret)
    assert seen
    assert "t0ken" not in seen.values()


# Publishing.


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("gate.cli.ci.sleep", lambda seconds: None)
    with github() as served:
        yield served
        assert served.violations == []


def told(
    repo: Repository, hub: Hub, folder: Path, event: dict[str, Any], *words: str, name: str = "pull_request"
) -> Ended:
    environment = event_of(folder, name, event, GITHUB_API_URL=hub.url, GITHUB_TOKEN=TOKEN)
    return run(repo, environment, *words)


def test_each_outcome_is_a_check_on_the_head_of_the_pull_request(
    repo: Repository, strict: Repository, hub: Hub, tmp_path: Path
) -> None:
    base, good = repo.git("rev-parse", "main"), repo.proposes("good")
    bad = repo.proposes("bad", range=broken(repo.world))
    assert told(repo, hub, tmp_path, pull_request(good, base)).code == 0
    assert told(repo, hub, tmp_path, pull_request(bad, base)).code == 1
    base, undecided = strict.git("rev-parse", "main"), strict.proposes()
    assert told(strict, hub, tmp_path, pull_request(undecided, base)).code == 3
    found = [(check["head_sha"], check["conclusion"]) for check in hub.checks]
    assert found == [(good, "success"), (bad, "failure"), (undecided, "action_required")]
    outputs = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert outputs["check-url"] == hub.checks[-1]["html_url"]


@pytest.mark.parametrize("name", ["pull_request", "merge_group", "push", "branch", "workflow_dispatch", "workflow_run"])
def test_every_event_is_answered_on_the_head_that_it_is_about(
    repo: Repository, hub: Hub, tmp_path: Path, name: str
) -> None:
    """GITHUB_SHA is a merge commit in a pull request, and the default branch's in a triggered run: not the answer's."""
    base, head = repo.git("rev-parse", "main"), repo.proposes(range=broken(repo.world))
    repo.git("update-ref", "refs/remotes/origin/main", base)
    merge = repo.git("commit-tree", f"{head}^{{tree}}", "-p", base, "-p", head, "-m", "Merge")
    default = {"repository": {"default_branch": "main"}}
    run_of = {"head_sha": head, "head_branch": "next", "head_repository": {"owner": {"login": "octo"}}}
    event, sha, words = {
        "pull_request": (pull_request(head, base), merge, ()),
        "merge_group": ({"merge_group": {"head_sha": head, "base_sha": base}}, head, ()),
        "push": (default | {"before": base}, head, ()),
        "branch": (default | {"before": head}, head, ()),
        "workflow_dispatch": (default, base, ("--head", head)),
        "workflow_run": ({"workflow_run": run_of}, base, ()),
    }[name]
    hub.pulls = [(7, "octo:next", head)]
    told_by = "push" if name == "branch" else name
    environment = event_of(tmp_path, told_by, event, GITHUB_API_URL=hub.url, GITHUB_TOKEN=TOKEN, GITHUB_SHA=sha)
    ended = run(repo, environment | {"GITHUB_REF": f"refs/heads/{'main' if name == 'push' else 'next'}"}, *words)
    assert ended.code == 1, ended.err
    assert [(check["head_sha"], check["conclusion"]) for check in hub.checks] == [(head, "failure")]
    assert len(hub.comments) == (1 if name in ("pull_request", "workflow_run") else 0)


def test_an_edited_exam_is_the_first_thing_that_check_and_comment_say(
    strict: Repository, hub: Hub, tmp_path: Path
) -> None:
    base = strict.git("rev-parse", "main")
    strict.proposes()
    (strict.root / "policy.toml").write_text(POLICY)
    head = strict.commit("Lower the margin")
    assert told(strict, hub, tmp_path, pull_request(head, base)).code == 3
    first = "> ⚠ **This change edits what it is judged by:** <code>policy&#46;toml</code>."
    assert hub.checks[0]["output"]["summary"].startswith(first)
    assert hub.comments[0]["body"].splitlines()[1].startswith(first)


def test_a_refusal_is_a_failure_that_says_so(repo: Repository, hub: Hub, tmp_path: Path) -> None:
    base = repo.git("rev-parse", "main")
    repo.branch("next")
    repo.bundle("1", seed=9)
    head = repo.commit("Swap")
    assert told(repo, hub, tmp_path, pull_request(head, base)).code == 4
    assert hub.checks[0]["conclusion"] == "failure"
    assert hub.checks[0]["output"]["title"].startswith("gate could not judge: ")


def test_a_crash_is_a_failure_too(repo: Repository, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object, **options: object) -> object:
        raise RuntimeError("boom")

    monkeypatch.setattr(pipeline, "compare_bundles", crash)
    base, head = repo.git("rev-parse", "main"), repo.proposes()
    ended = told(repo, hub, tmp_path, pull_request(head, base))
    assert ended.code == 4
    assert "internal error: RuntimeError: boom" in ended.err
    assert hub.checks[0]["conclusion"] == "failure"


@pytest.mark.parametrize("words", [(), ("--require-publish",)])
def test_the_decision_stands_whatever_github_answers(
    repo: Repository, hub: Hub, tmp_path: Path, words: tuple[str, ...]
) -> None:
    base, good = repo.git("rev-parse", "main"), repo.proposes("good")
    bad = repo.proposes("bad", range=broken(repo.world))
    hub.faults = [Fault(".*", 500, times=10_000)]
    ended = told(repo, hub, tmp_path, pull_request(good, base), *words)
    assert ended.code == (4 if words else 0)
    (line,) = [line for line in ended.out.splitlines() if "not published" in line]
    assert line.startswith("::notice title=gate::not published: the check run: GitHub answered 500; given up after 5")
    assert told(repo, hub, tmp_path, pull_request(bad, base), *words).code == 1


def test_without_a_token_nothing_is_asked_of_github_and_it_is_said(repo: Repository, hub: Hub, tmp_path: Path) -> None:
    base, head = repo.git("rev-parse", "main"), repo.proposes()
    environment = event_of(tmp_path, "pull_request", pull_request(head, base), GITHUB_API_URL=hub.url)
    ended = run(repo, environment)
    assert ended.code == 0
    assert "not published: there is no GITHUB_TOKEN" in ended.out
    assert hub.requests == []


def test_an_output_that_github_could_misread_is_left_empty_and_said(repo: Repository, tmp_path: Path) -> None:
    base, head = repo.git("rev-parse", "main"), repo.proposes()
    event = event_of(tmp_path, "pull_request", pull_request(head, base, repository="stranger/stack"))
    ended = run(repo, event, "--out", "reports/a\nb=c")
    assert ended.code == 0
    assert "report-path=\n" in (tmp_path / "output").read_text()
    assert "b=c" not in (tmp_path / "output").read_text()
    assert "the output report-path" in ended.out


def test_a_fork_gets_its_summary_a_notice_and_a_payload_that_the_second_workflow_publishes(
    repo: Repository, hub: Hub, tmp_path: Path
) -> None:
    base, head = repo.git("rev-parse", "main"), repo.proposes(range=broken(repo.world))
    ended = told(repo, hub, tmp_path, pull_request(head, base, repository="stranger/stack"))
    assert ended.code == 1
    assert sum("::notice" in line for line in ended.out.splitlines()) == 1
    assert hub.requests == []
    assert "NO-GO" in (tmp_path / "summary.md").read_text()
    hub.pulls = [(7, "stranger:next", head)]
    event = {
        "workflow_run": {"head_sha": head, "head_branch": "next", "head_repository": {"owner": {"login": "stranger"}}}
    }
    again = told(repo, hub, tmp_path, event, "--from", "reports/ci/gate-publish.json", name="workflow_run")
    assert again.code == 0
    (check,) = hub.checks
    assert (check["head_sha"], check["conclusion"]) == (head, "failure")
    assert "unverified" in check["output"]["title"]
    assert len(hub.comments) == 1
    quiet = repo.root / "reports/ci/gate-publish.json"
    said = quiet.read_text()
    quiet.write_text(said.replace('"NO-GO"', '"NOTHING"'))
    assert told(repo, hub, tmp_path, event, "--from", str(quiet), name="workflow_run").code == 0
    assert len(hub.checks) == 1, "nothing is proposed: nothing is told"
    event["workflow_run"]["head_sha"] = base  # the artifact of another commit
    refusal = told(repo, hub, tmp_path, event, "--from", "reports/ci/gate-publish.json", name="workflow_run")
    assert refusal.code == 2
    assert len(hub.checks) == 1
