"""Lists of runs: what is found by each filter, in which order, page by page; nothing sensitive, no other tenant's."""

import datetime
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from nexusflow.errors import InvalidInput
from nexusflow.settings import Settings, use_settings
from nexusflow.workflows.reports import runs_query
from nexusflow.workflows.reports.listing import RunLine, list_runs
from nexusflow.workflows.rows.paging import Page
from nexusflow.workflows.saved import library
from tests.integration.workflows.definitions import source
from tests.servers.databases import Database

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
ERROR = '{"code": "HTTP_ERROR", "message": "the vendor says 503 to sesame-open", "cause": "provider"}'
COUNT = 30
EVER = [datetime.datetime(year, 12, 31, tzinfo=datetime.UTC) for year in (1, 9999)]


@pytest.fixture(scope="module")
def listed(database: Database) -> Iterator[dict[str, Any]]:
    """Thirty runs of two workflows, one a minute: each third failed, each fifth runs; and one of another tenant."""
    use_settings(
        Settings(database_url=SecretStr(database.runtime_url), control_database_url=SecretStr(database.control_url))
    )
    tenant, other = str(database.tenant_a), str(database.tenant_b)
    workflows = [library.create_workflow(tenant, source(name)).id for name in ("alpha", "beta")]
    foreign = library.create_workflow(other, source("alpha")).id
    runs = [_insert(database, tenant, workflows[n % 2], n) for n in range(COUNT)]
    _insert(database, other, foreign, 3)
    library.delete_workflow(tenant, workflows[1])
    yield {"tenant": tenant, "workflows": workflows, "runs": runs}
    use_settings(None)


def _insert(database: Database, tenant: str, workflow: str, n: int) -> str:
    accepted = NOW - timedelta(minutes=COUNT - n)
    run = str(uuid.UUID(f"{int(accepted.timestamp() * 1000):012x}70008000{uuid.uuid4().hex[:12]}"))
    status = "failed" if n % 3 == 0 else "running" if n % 5 == 0 else "succeeded"
    # What came in last was over first.
    over = None if status == "running" else accepted + timedelta(minutes=2 * (COUNT - n))
    values = {
        "run": run,
        "tenant": tenant,
        "workflow": workflow,
        "status": status,
        "input": '{"token": "sesame-open"}',
        "error": ERROR if status == "failed" else None,
        "cause": "provider" if status == "failed" else None,
        "accepted": accepted,
        "over": over,
        "key": f"order-{n}",
        "trigger": "schedule" if n == 4 else "api",
    }
    with psycopg.connect(database.owner_url) as connection:
        connection.execute(
            "INSERT INTO runs (id, tenant_id, workflow_id, version_id, status, input, error, cause, accepted_at,"
            " finished_at, request_key, trigger) SELECT %(run)s, %(tenant)s, %(workflow)s, v.id, %(status)s, %(input)s,"
            " %(error)s, %(cause)s, %(accepted)s, %(over)s, %(key)s, %(trigger)s FROM workflow_versions v"
            " WHERE v.workflow_id = %(workflow)s",
            values,
        )
    return run


def numbers(listed: dict[str, Any], page: Page[RunLine]) -> list[int]:
    return [listed["runs"].index(line.id) for line in page.items]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, set(range(COUNT))),
        ({"status": {"failed"}}, set(range(0, COUNT, 3))),
        ({"status": {"running", "queued"}}, {5, 10, 20, 25}),
        ({"status": ["failed", "running"]}, {n for n in range(COUNT) if n % 3 == 0 or n % 5 == 0}),
        ({"status": {"timed_out"}}, set()),
        ({"cause": "provider"}, set(range(0, COUNT, 3))),
        ({"cause": "platform"}, set()),
        ({"trigger": "schedule"}, {4}),
        ({"since": NOW - timedelta(minutes=5)}, set(range(25, 30))),
        ({"until": NOW - timedelta(minutes=25)}, set(range(5))),
        ({"since": NOW - timedelta(minutes=20), "until": NOW - timedelta(minutes=18)}, {10, 11}),
        ({"since": EVER[0], "until": EVER[1]}, set(range(COUNT))),
        ({"text": "order-2"}, {2, *range(20, 30)}),
        ({"text": "ALPHA"}, set(range(0, COUNT, 2))),
        ({"text": "http_err"}, set(range(0, COUNT, 3))),
        ({"text": "100%_"}, set()),
        ({"text": "alpha", "status": {"failed"}, "since": NOW - timedelta(minutes=10)}, {24}),
        ({"workflow": "no id"}, set()),
    ],
)
def test_each_filter_finds_its_runs(listed: dict[str, Any], filters: dict[str, Any], wanted: set[int]) -> None:
    page = list_runs(listed["tenant"], per_page=100, **filters)
    assert numbers(listed, page) == sorted(wanted, reverse=True)
    assert (page.total, page.total_capped, page.next_cursor) == (len(wanted), False, None)


def test_a_workflows_runs_are_listed_even_once_it_is_deleted(listed: dict[str, Any]) -> None:
    page = list_runs(listed["tenant"], workflow=listed["workflows"][1], per_page=100)
    assert numbers(listed, page) == list(range(29, 0, -2))
    assert {line.workflow for line in page.items} == {"beta"}


def test_a_run_is_found_by_how_its_id_begins(listed: dict[str, Any]) -> None:
    run = listed["runs"][7]
    assert numbers(listed, list_runs(listed["tenant"], text=run)) == [7]
    assert 7 in numbers(listed, list_runs(listed["tenant"], text=run[:8].upper()))


@pytest.mark.parametrize("sort", ["-accepted_at", "accepted_at", "-finished_at", "finished_at"])
@pytest.mark.parametrize("filters", [{}, {"text": "order"}])
def test_pages_and_cursors_give_everything_once_in_order(
    listed: dict[str, Any], sort: str, filters: dict[str, Any]
) -> None:
    everything = list_runs(listed["tenant"], sort=sort, per_page=100, **filters)
    moments = [getattr(line, sort.lstrip("-")) for line in everything.items]
    assert moments == sorted(moments, reverse=sort.startswith("-"))
    assert len(moments) == (COUNT if "accepted" in sort else COUNT - 4)
    by_page = [list_runs(listed["tenant"], sort=sort, page=n, per_page=7, **filters) for n in range(1, 6)]
    assert [line.id for page in by_page for line in page.items] == [line.id for line in everything.items]
    page, by_cursor = list_runs(listed["tenant"], sort=sort, per_page=7, **filters), []
    while page.next_cursor:
        by_cursor += page.items
        page = list_runs(listed["tenant"], sort=sort, per_page=7, cursor=page.next_cursor, **filters)
        assert page.total == len(moments)
    assert [line.id for line in [*by_cursor, *page.items]] == [line.id for line in everything.items]


def test_a_page_beyond_the_end_is_empty(listed: dict[str, Any]) -> None:
    page = list_runs(listed["tenant"], page=10**12, per_page=100)
    assert (page.items, page.total, page.next_cursor) == ([], COUNT, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sort": "name"},
        {"page": 0},
        {"per_page": 0},
        {"per_page": 101},
        {"status": {"gone"}},
        {"status": set()},
        {"cause": "fate"},
        {"trigger": "x"},
        {"text": "a\x00b"},
        {"text": "x" * 201},
        {"cursor": "x"},
        {"cursor": ""},
        {"cursor": "é"},
    ],
)
def test_what_cannot_be_asked_is_refused(listed: dict[str, Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        list_runs(listed["tenant"], **wrong)


def test_a_cursor_that_was_changed_or_is_of_another_order_is_refused(listed: dict[str, Any]) -> None:
    cursor = list_runs(listed["tenant"], per_page=3).next_cursor or ""
    for place in range(0, len(cursor), 7):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        with pytest.raises(InvalidInput, match="cannot be read"):
            list_runs(listed["tenant"], cursor=changed)
    with pytest.raises(InvalidInput, match="another order"):
        list_runs(listed["tenant"], cursor=cursor, sort="finished_at")


def test_nothing_sensitive_is_shown_or_can_be_guessed(listed: dict[str, Any]) -> None:
    failed = list_runs(listed["tenant"], status={"failed"})
    assert {line.error_message for line in failed.items} == {"the vendor says 503 to ***"}
    assert failed.items[0].error_code == "HTTP_ERROR"
    assert "sesame" not in str(failed)
    for guess in ("sesame", "sesame-open", "says 503"):
        assert list_runs(listed["tenant"], text=guess).total == 0


def test_a_search_goes_on_behind_its_window(listed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_query, "WINDOW", 10)
    page = list_runs(listed["tenant"], trigger="schedule")
    assert (page.items, page.total_capped) == ([], True)
    seen = []
    for _ in range(3):
        page = list_runs(listed["tenant"], trigger="schedule", cursor=page.next_cursor) if page.next_cursor else page
        seen += numbers(listed, page)
    assert seen == [4]
    assert page.next_cursor is None


def test_totals_are_exact_up_to_a_limit(listed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("nexusflow.workflows.reports.listing", "nexusflow.workflows.reports.runs_query"):
        monkeypatch.setattr(f"{module}.MAX_TOTAL", 20)
    page = list_runs(listed["tenant"])
    assert (page.total, page.total_capped) == (20, True)


def test_lists_are_read_from_their_indexes(listed: dict[str, Any], database: Database) -> None:
    """With enough rows none of these reads the whole table."""
    with psycopg.connect(database.owner_url) as connection:
        connection.execute(
            "INSERT INTO runs (id, tenant_id, workflow_id, version_id, status, input, finished_at)"
            " SELECT (left(uuid_floor(now() - make_interval(secs => n))::text, 24) || lpad(to_hex(n), 12, '0'))::uuid,"
            "  %s, r.workflow_id, r.version_id, CASE WHEN n %% 500 = 0 THEN 'failed' ELSE 'succeeded' END, '{}', now()"
            " FROM generate_series(1, 20000) AS n, (SELECT * FROM runs WHERE tenant_id = %s LIMIT 1) r",
            (database.tenant_b, database.tenant_b),
        )
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("ANALYZE runs")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "tenant_id_id_idx"),
        ({"status": {"failed"}}, "tenant_id_id_idx"),
        ({"status": {"running"}}, "tenant_id_id_idx"),
        ({"workflow": listed["workflows"][0]}, "workflow_id_id"),
    ]
    for filters, index in cases:
        query = runs_query.RunsQuery(listed["tenant"], "-accepted_at", 0, 20)
        query.keep(filters.get("workflow"), filters.get("status"), None, NOW - timedelta(days=1), None)
        plan = _plan(listed["tenant"], query)
        assert f"Seq Scan on runs_{NOW:%Y_%m}" not in plan, plan
        assert index in plan, plan


def _plan(tenant: str, query: runs_query.RunsQuery) -> str:
    import sqlalchemy as sa

    from nexusflow.db.session import tenant_session

    with tenant_session(tenant) as connection:
        return "\n".join(connection.execute(sa.text(f"EXPLAIN {query.rows()}"), query.values).scalars())
