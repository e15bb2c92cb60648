"""Reports on rows as the engine writes them, of few and of ten thousand items."""

import datetime
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from nexusflow.db.session import tenant_session
from nexusflow.errors import InvalidInput, NotFound
from nexusflow.settings import Settings, use_settings
from nexusflow.workflows.reports import report
from nexusflow.workflows.reports.report_steps import awaited
from nexusflow.workflows.reports.step_details import read_items, read_step
from nexusflow.workflows.starts import control, service
from tests.servers.databases import Database

WORKFLOW = b"""\
nexusflow: "1"
name: report-me
input:
  schema:
    properties: { token: { type: string, x-sensitive: true }, note: { type: string } }
steps:
  - id: each
    type: foreach
    with: { items: "${{ [1] }}", as: n }
    steps:
      - { id: fetch, type: http.request, with: { url: "https://example.com" } }
      - { id: shape, type: transform, needs: [fetch], with: { input: "${{ n }}", jq: . } }
  - { id: last, type: transform, needs: [each], with: { jq: . } }
"""
ITEMS = 10_000


@pytest.fixture
def tenant(database: Database) -> Iterator[str]:
    use_settings(Settings(database_url=database.runtime_url, control_database_url=database.control_url))
    yield str(database.tenant_a)
    use_settings(None)


@pytest.fixture
def run(tenant: str) -> str:
    version = service.save_version(tenant, WORKFLOW)
    return service.start_run(tenant, version, {"token": "sesame", "note": "plain"})


def write(database: Database, statement: str, **values: Any) -> None:
    with psycopg.connect(database.owner_url) as connection:
        connection.execute(statement, {"tenant": database.tenant_a} | values)


def record(database: Database, run: str, step: str, item: str, state: str, **more: Any) -> None:
    values = {"output": None, "error": None, "items": None, "attempts": 1} | more
    write(
        database,
        "INSERT INTO steps (run_id, step, item, tenant_id, state, output, error, items, attempts, started_at,"
        " finished_at) VALUES (%(run)s, %(step)s, %(item)s, %(tenant)s, %(state)s, %(output)s::jsonb, %(error)s::jsonb,"
        " %(items)s::jsonb, %(attempts)s, now(), now())",
        run=run,
        step=step,
        item=item,
        state=state,
        **values,
    )


def test_a_new_run_is_queued_with_its_input_masked(tenant: str, run: str) -> None:
    found = report.read_run(tenant, run)
    assert (found.run.status, found.run.workflow, found.run.version) == ("queued", "report-me", 1)
    assert found.run.input == {"token": "***", "note": "plain"}
    assert not found.run.is_terminal
    assert [step.state for step in found.steps] == ["ready", "pending", "pending", "pending"]
    assert [event.type for event in report.read_events(tenant, run)] == ["run.accepted"]
    progress = report.read_progress(tenant, run)
    assert progress.run.input is None
    assert progress.steps == found.steps


def test_sensitive_input_is_masked_wherever_it_turns_up(database: Database, tenant: str, run: str) -> None:
    error = '{"code": "HTTP_ERROR", "cause": "user", "message": "no sesame", "details": {"sesame": ["a sesame"]}}'
    record(database, run, "last", "", "failed", error=error)
    write(
        database,
        'UPDATE runs SET error = %(error)s::jsonb, output = \'{"key": "plain sesame"}\' WHERE id = %(run)s',
        run=run,
        error=error,
    )
    write(
        database,
        "INSERT INTO run_events (run_id, tenant_id, type, step, data) VALUES (%(run)s, %(tenant)s, 'step.failed',"
        " 'last', jsonb_build_object('error', %(error)s::jsonb))",
        run=run,
        error=error,
    )
    found = report.read_run(tenant, run)
    assert found.run.output == {"key": "plain ***"}
    masked = {"code": "HTTP_ERROR", "cause": "user", "message": "no ***", "details": {"***": ["a ***"]}}
    assert found.run.error == masked
    progress = report.read_progress(tenant, run)
    assert [failure.error for step in progress.steps for failure in step.failures] == [masked]
    assert progress.run.error == masked
    assert report.read_events(tenant, run)[-1].data == {"error": masked}


def test_lanes_tell_which_step_of_which_item_runs(database: Database, tenant: str, run: str) -> None:
    write(database, "DELETE FROM segments WHERE run_id = %(run)s", run=run)
    record(database, run, "each", "", "running", items="[1, 2, 3, 4]")
    plan = service.save_version(tenant, WORKFLOW).plan
    body = plan.scopes["each"].single
    assert body is not None, "both steps of the body are one segment"
    lane = (
        "INSERT INTO segments (run_id, segment, lo, hi, tenant_id, queue, state, fence, lease_until) VALUES (%(run)s,"
        " %(segment)s, %(lo)s, %(hi)s, %(tenant)s, 'integration', 'leased', uuid_floor(now()), now())"
    )
    write(database, lane, run=run, segment=body, lo=0, hi=2)
    write(database, lane, run=run, segment=body, lo=2, hi=4)
    record(database, run, "each/fetch", "0", "succeeded")
    record(database, run, "each/shape", "0", "succeeded")
    record(database, run, "each", "0", "succeeded")
    record(database, run, "each/fetch", "2", "succeeded")
    steps = {step.path: step for step in report.read_progress(tenant, run).steps}
    assert steps["each"].progress is not None
    assert (steps["each"].progress.done, steps["each"].progress.total) == (1, 4)
    assert steps["each/fetch"].counts == {"succeeded": 2, "running": 1}, "item 1 fetches"
    assert steps["each/shape"].counts == {"succeeded": 1, "running": 1}, "item 2 shapes"


CONTROL = b"""\
nexusflow: "1"
name: control
input:
  schema:
    properties: { token: { type: string, x-sensitive: true } }
steps:
  - id: poll
    type: until
    until: "${{ steps.look.output == 9 }}"
    with: { delay: 1h, as: pass }
    steps: [{ id: look, type: transform, with: { input: "${{ pass.previous }}", jq: . } }]
  - id: guarded
    type: try
    steps:
      - { id: rest, type: wait, with: { duration: "${{ input.long }}" } }
      - { id: pay, type: transform, with: { jq: . } }
    catch:
      - as: problem
        steps: [{ id: tell, type: transform, with: { input: "${{ problem.code }}", jq: . } }]
"""


@pytest.fixture
def controlled(database: Database, tenant: str) -> str:
    """A run whose until waits for its third iteration, and whose try waits beside."""
    version = service.save_version(tenant, CONTROL)
    run = service.start_run(tenant, version, {"token": "sesame", "long": "2h"})
    write(database, "DELETE FROM segments WHERE run_id = %(run)s", run=run)
    record(database, run, "poll", "", "running")
    for index, output in enumerate(("1", '"my sesame"')):
        record(database, run, "poll", str(index), "succeeded", output=output)
        record(database, run, "poll/look", str(index), "succeeded", output=output)
    record(database, run, "guarded", "", "running")
    record(database, run, "guarded/try/rest", "", "waiting")
    due = (
        "INSERT INTO segments (run_id, segment, item, tenant_id, queue, due_at) VALUES (%(run)s, %(segment)s, %(item)s,"
        " %(tenant)s, 'workflow', now() + make_interval(hours => %(hours)s))"
    )
    plan = version.plan
    write(database, due, run=run, segment=plan.scopes["poll"].entries[0], item="2", hours=1)
    write(database, due, run=run, segment=plan.closers["guarded/try/rest"], item="", hours=2)
    return run


def test_what_a_run_waits_for_is_read_from_what_is_due(tenant: str, controlled: str) -> None:
    found = report.read_progress(tenant, controlled)
    steps = {step.path: step for step in found.steps}
    now = datetime.datetime.now(datetime.UTC)
    waits = {path: step.waits_until - now for path, step in steps.items() if step.waits_until is not None}
    assert {path: round(wait / datetime.timedelta(hours=1)) for path, wait in waits.items()} == {
        "poll": 1,
        "guarded/try/rest": 2,
    }
    assert steps["poll"].told == "iteration 3 of at most 100"
    assert steps["poll/look"].counts == {"succeeded": 2, "waiting": 1}
    assert steps["guarded/try/rest"].state == "waiting"
    assert [step.path for step in awaited(found.steps)] == ["poll", "guarded/try/rest"]


def test_the_details_of_an_iteration_tell_what_the_one_before_gave(tenant: str, controlled: str) -> None:
    look = read_step(tenant, controlled, "poll/look", "1")
    assert (look.item_name, look.item_value) == ("pass", {"index": 1, "previous": 1})
    assert (look.item_of, look.items_of, look.output) == ("until", None, "my ***")
    assert look.input == {"input": 1, "jq": "."}
    assert read_step(tenant, controlled, "poll/look", "0").item_value == {"index": 0, "previous": None}
    next_one = read_step(tenant, controlled, "poll/look", "2")
    assert next_one.item_value == {"index": 2, "previous": "my ***"}
    whole = read_step(tenant, controlled, "poll/look")
    assert (whole.items_of, whole.input_note) == ("until", "Choose an iteration: each has an input of its own.")
    poll = read_step(tenant, controlled, "poll")
    assert (poll.has_items, poll.items_of, poll.written["until"]) == (True, "until", "${{ steps.look.output == 9 }}")
    for path in ("poll", "poll/look"):
        assert [line.item for line in read_items(tenant, controlled, path).items] == ["0", "1"]


def test_the_details_of_a_wait_and_of_a_catch(database: Database, tenant: str, controlled: str) -> None:
    rest = read_step(tenant, controlled, "guarded/try/rest")
    assert (rest.state, rest.input, rest.seconds) == ("waiting", {"duration": "2h"}, None)
    assert read_step(tenant, controlled, "guarded/catch0/tell").caught_name is None, "nothing is caught yet"
    error = '{"code": "NO_STOCK", "cause": "user", "message": "no sesame", "step": "guarded/try/pay"}'
    record(database, controlled, "guarded/try/pay", "", "failed", error=error)
    record(database, controlled, "guarded/try", "", "failed", error=error)
    tell = read_step(tenant, controlled, "guarded/catch0/tell")
    caught = {"code": "NO_STOCK", "cause": "user", "message": "no ***", "step": "guarded/try/pay"}
    assert (tell.caught_name, tell.caught) == ("problem", caught)
    assert tell.input == {"input": "NO_STOCK", "jq": "."}
    assert read_step(tenant, controlled, "guarded/try/pay").caught_name is None
    guarded = read_step(tenant, controlled, "guarded")
    assert (guarded.input, guarded.has_items) == (None, False)
    assert guarded.written["catch"] == [{"errors": [], "as": "problem", "output": None}]
    with pytest.raises(NotFound):
        read_step(tenant, controlled, "guarded/try")


MIXED = b"""\
nexusflow: "1"
name: mixed
steps:
  - { id: shape, type: transform, with: { input: 1, jq: . } }
  - { id: again, type: transform, needs: [shape], with: { jq: . } }
  - { id: fetch, type: http.request, needs: [again], with: { url: "https://example.com" } }
  - { id: last, type: transform, needs: [fetch], with: { jq: . } }
"""


def test_what_runs_behind_pure_steps_is_shown_and_not_they(database: Database, tenant: str) -> None:
    version = service.save_version(tenant, MIXED)
    run = service.start_run(tenant, version, {})
    assert len(version.plan.segments[0].ops) == 4, "one segment has them all"

    def states() -> list[str]:
        return [step.state for step in report.read_progress(tenant, run).steps]

    assert states() == ["ready", "pending", "pending", "pending"]
    lease = (
        "UPDATE segments SET state = 'leased', fence = uuid_floor(now()), lease_until = now() WHERE run_id = %(run)s"
    )
    write(database, lease, run=run)
    assert states() == ["pending", "pending", "running", "pending"]
    for step in ("shape", "again", "fetch"):
        record(database, run, step, "", "succeeded")
    assert states() == ["succeeded", "succeeded", "succeeded", "running"], "behind it there is nothing but itself"


def test_ten_thousand_items_are_counted_without_their_outputs(database: Database, tenant: str, run: str) -> None:
    items = "(SELECT jsonb_agg(n) FROM generate_series(1, %(count)s) n)"
    write(
        database,
        "INSERT INTO steps (run_id, step, tenant_id, state, items, started_at) VALUES (%(run)s, 'each', %(tenant)s,"
        f" 'running', {items}, now())",
        run=run,
        count=ITEMS,
    )
    for step in ("each", "each/fetch", "each/shape"):
        write(
            database,
            "INSERT INTO steps (run_id, step, item, tenant_id, state, output, error, started_at, finished_at)"
            " SELECT %(run)s, %(step)s, n::text, %(tenant)s, CASE WHEN n %% 10 = 0 THEN 'failed' ELSE 'succeeded' END,"
            ' to_jsonb(repeat(md5(n::text), 60)), CASE WHEN n %% 10 = 0 THEN \'{"message": "no"}\'::jsonb END, now(),'
            " now() FROM generate_series(0, %(last)s) n",
            run=run,
            step=step,
            last=ITEMS - 1,
        )
    report.read_progress(tenant, run)
    began = time.monotonic()
    steps = {step.path: step for step in report.read_progress(tenant, run).steps}
    took = time.monotonic() - began
    assert steps["each"].progress is not None
    assert (steps["each"].progress.done, steps["each"].progress.failed) == (ITEMS, ITEMS // 10)
    assert steps["each/shape"].counts == {"succeeded": 9_000, "failed": 1_000}
    assert [failure.item for failure in steps["each/shape"].failures] == ["0", "10", "100"]
    assert took < 2.0, f"{took:.2f} s: progress is asked for several times a second"


def test_a_run_is_found_by_how_its_id_begins(tenant: str, run: str, database: Database) -> None:
    assert report.find_run(tenant, run) == run
    assert report.find_run(tenant, run.upper()) == run
    assert report.find_run(tenant, run[:30]) == run
    other = service.start_run(tenant, service.save_version(tenant, WORKFLOW), {})
    with pytest.raises(InvalidInput, match="More than one run's id"):
        report.find_run(tenant, other[:8])
    for unusable in (run[:7], "hello", "", "g" * 36, "'; --", run + "0"):
        with pytest.raises(InvalidInput, match="is no run's id"):
            report.find_run(tenant, unusable)
    with pytest.raises(NotFound):
        report.find_run(tenant, "0" * 12)
    with pytest.raises(NotFound):
        report.find_run(str(database.tenant_b), run)
    with pytest.raises(NotFound):
        report.read_run(str(database.tenant_b), run)


def test_a_cancelled_run_leaves_no_step_open(tenant: str, run: str) -> None:
    control.cancel_run(tenant, run)
    assert report.read_run(tenant, run).run.ending == "cancelled"
    with tenant_session(tenant) as connection:
        connection.exec_driver_sql(
            "UPDATE runs SET status = 'cancelled', finished_at = now() WHERE id = %(run)s", {"run": run}
        )
    found = report.read_run(tenant, run)
    assert (found.run.status, found.run.ending, found.run.is_terminal) == ("cancelled", None, True)
    assert {step.state for step in found.steps} == {"cancelled"}
