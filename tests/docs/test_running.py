"""What tutorials and how-to pages say to type is typed, as it stands there, against the product's own processes; answers are as shown."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents import contracts, identity
from audit import tenancy
from controlplane.connectors import builtin
from controlplane.demo import building, scene
from tests.controlplane import builtin_world, processes
from tests.docs import running

PAGES = [
    slug
    for slug in sorted(str(path.relative_to(running.ROOT / "docs").with_suffix("")) for path in (running.ROOT / "docs").rglob("*.md"))
    if running.blocks(slug)
]


@dataclass(frozen=True)
class Stage:
    """The demo, a web process and a worker, and a folder that looks like the checkout's."""

    url: str
    folder: Path
    key: str


@pytest.fixture(scope="module")
def stage(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("checkout")
    with pytest.MonkeyPatch.context() as patch, builtin_world.fresh_database() as dsn:
        patch.setenv("DEMO_DATABASE_URL", dsn)
        builtin.install(dsn)
        made = building.build(dsn, "handbook")
        tokens = {name: identity.issue(by=made.person(name), member=made.members[name]).token for name in scene.CAST}
        (folder / ".data" / "demo").mkdir(parents=True)
        (folder / ".data" / "demo" / "tokens.json").write_text(json.dumps(tokens))
        with tenancy.within(made.organisation):
            agent = contracts.get("refund-desk", workspace=made.workspace)
        key = identity.issue(by=made.person("Ben"), agent=agent).token
        with processes.fleet(folder) as fleet:
            fleet.environment["DEMO_DATABASE_URL"] = dsn
            port = fleet.web("web")
            fleet.worker("worker")
            yield Stage(f"http://127.0.0.1:{port}", folder, key)


def test_pages_run_that_should() -> None:
    assert {"tutorials/first-agent", "how-to/connect-mcp", "how-to/connect-rest", "how-to/caps", "how-to/rules", "how-to/stop"} <= set(
        PAGES
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_pages_say_to_type_does_what_they_show(stage: Stage) -> None:
    """One test, so that one fleet is enough on however many cores. The pages are independent of each other."""
    for slug in PAGES:
        wrote = running.run(slug, stage.url, stage.folder, REMIT_KEY=stage.key)
        for block, said in zip(running.blocks(slug), wrote, strict=True):
            if block.shown is not None:
                assert running.agrees(block.shown, json.loads(said)), f"{slug}\n{block.code}\nshown {block.shown}\nsaid {said}"
