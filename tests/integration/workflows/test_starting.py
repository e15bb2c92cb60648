"""Starting runs: all or none, once per key, with the version that is to run."""

from collections.abc import Iterator

import pytest

from nexusflow.settings import Settings, use_settings
from nexusflow.workflows import library, report, service
from nexusflow.workflows.starting import start_runs
from tests.servers.databases import Database


@pytest.fixture
def tenant(database: Database) -> Iterator[str]:
    use_settings(Settings(database_url=database.runtime_url, control_database_url=database.control_url))
    yield str(database.tenant_a)
    use_settings(None)


def source(name: str, jq: str = ".") -> bytes:
    return f'''\
nexusflow: "1"
name: {name}
input:
  schema:
    type: object
    properties: {{ n: {{ type: integer }}, token: {{ type: string, x-sensitive: true, maxLength: 8 }} }}
steps:
  - {{ id: one, type: transform, with: {{ jq: {jq!r} }} }}
'''.encode()


def test_smoke(tenant: str) -> None:
    made = library.create_workflow(tenant, source("a"))
    started = start_runs(tenant, made.id, [{"n": 1}], idempotency_key="k")
    again = start_runs(tenant, made.id, [{"n": 1}], idempotency_key="k")
    assert again.replayed and again.run_ids == started.run_ids
    assert report.read_run(tenant, started.run_ids[0]).run.status == "queued"
    library.update_workflow(tenant, made.id, source("b"), publish=True)
    assert library.list_workflows(tenant).items[0].name == "b"
    print(library.diff_versions(tenant, made.id, 1, 2))
    service.cancel_run(tenant, started.run_ids[0])
    library.delete_workflow(tenant, made.id)
