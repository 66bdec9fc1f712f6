"""What several tests share: a tiny world with its suite and two releases, and ways around the slow contract engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.programs import Programs
from tests.support.tiny import World, make_world, predict, with_images, without_worker, write_bundle, write_suite

#: As hypothesis has it, here and in CI, but that no law fails because a machine is busy.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _no_store() -> Iterator[None]:
    """Nothing that is shared between tests takes evidence from a store, least of all the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATE_STORE", "none")
        yield


@pytest.fixture(autouse=True)
def store_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands of this test keep evidence; not there yet."""
    folder = tmp_path_factory.mktemp("cache") / "store"
    monkeypatch.setenv("GATE_STORE", str(folder))
    return folder


@pytest.fixture
def without_contract_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons without the process that imports the contract engine; for tests whose point is not a contract."""
    without_worker(monkeypatch)


@pytest.fixture
def without_table_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gate suite freeze` without the contract engine; pictures and truths are still looked at."""
    monkeypatch.setattr("gate.suite.freeze.contracts", lambda root: ())


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()


@pytest.fixture(scope="session")
def _releases(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("releases")
    write_suite(folder / "suite", world)
    write_bundle(folder / "old", world, predict(world), version="1")
    write_bundle(folder / "new", world, predict(world, seed=2), version="2")
    return folder


@pytest.fixture
def releases(_releases: Path, tmp_path: Path) -> Path:
    """A folder with `suite`, frozen, and the bundles `old` and `new`, which is as good as the old one."""
    return shutil.copytree(_releases, tmp_path / "work")


@pytest.fixture(scope="session")
def programs() -> Programs:
    return Programs()


@pytest.fixture(scope="session")
def small_world() -> World:
    return make_world(calibration=4, validation=12, frames=2)


@pytest.fixture(scope="session")
def _pictures(small_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    with_images(folder / "suite", small_world)
    return folder


@pytest.fixture
def pictures(_pictures: Path, tmp_path: Path) -> Path:
    """A folder with `suite`, frozen, whose frames have pictures."""
    return shutil.copytree(_pictures, tmp_path / "work")
