"""A checkout of nothing but data: real servers, started and stopped for the test, away from anybody's own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.services import surroundings

GIVEN = ("DATABASE_URL", "DATABASE_OWNER_URL", "DEMO_DATABASE_URL", "REDIS_URL", "REMIT_SECRET_KEY", "REMIT_DATA_DIR", "REMIT_POSTGRES_BIN")


@pytest.fixture(autouse=True)
def no_servers_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make test` hands its own servers to the tests; these tests are about making some."""
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bare_environment() -> dict[str, str]:
    """What a fresh shell would give to a command."""
    return {name: value for name, value in os.environ.items() if name not in GIVEN and name != "JSON"}


@pytest.fixture
def root() -> Iterator[Path]:
    """A checkout that every user of the machine can reach, as under /srv or /opt."""
    yield from open_folder()


@pytest.fixture(scope="module")
def shared_root() -> Iterator[Path]:
    """One for a whole module, whose tests only look."""
    yield from open_folder()


def open_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="remit-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        surroundings.stop(folder)
        for data in folder.glob(".data/*/postgres/cluster"):
            surroundings.stop(folder, data.parents[1])
        shutil.rmtree(folder, ignore_errors=True)
