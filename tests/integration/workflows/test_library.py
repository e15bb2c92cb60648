"""Saved workflows: versions that never change, one published, names that are free again."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from nexusflow.errors import Conflict, InvalidDefinition, InvalidInput, NexusError, NotFound, VersionChanged
from nexusflow.settings import get_settings
from nexusflow.workflows.reports import report
from nexusflow.workflows.saved import library
from nexusflow.workflows.saved.library import WorkflowSummary
from nexusflow.workflows.starts import control, service
from nexusflow.workflows.starts.starting import start_runs
from tests.integration.workflows.definitions import source
from tests.servers.databases import Database

TRIGGERS = "triggers: [{ type: schedule, interval: 1h }]\n"
NOBODY = "0199aaaa-0000-7000-8000-0000000000ff"


def name_of(request: pytest.FixtureRequest) -> str:
    return re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:80].strip("-")


@pytest.fixture
def saved(tenant: str, request: pytest.FixtureRequest) -> WorkflowSummary:
    return library.create_workflow(tenant, source(name_of(request)))


def schedules(database: Database, workflow: str) -> int:
    with psycopg.connect(database.owner_url) as connection:
        row = connection.execute("SELECT count(*) FROM schedules WHERE workflow_id = %s", (workflow,)).fetchone()
    return int(row[0]) if row else 0


def test_a_new_workflow_is_a_draft_unless_it_is_published(tenant: str) -> None:
    draft = library.create_workflow(tenant, source("a-draft"))
    assert (draft.status, draft.published_version, draft.latest_version) == ("draft", None, 1)
    assert draft.description == "About a-draft."
    ready = library.create_workflow(tenant, source("ready"), publish=True)
    assert (ready.status, ready.published_version) == ("published", 1)
    detail = library.read_workflow(tenant, ready.id)
    assert detail.source.encode() == source("ready")
    assert detail.definition["name"] == "ready"
    assert detail.input_schema["properties"]["n"] == {"type": "integer", "default": 7}
    assert (detail.version.number, detail.version.is_published) == (1, True)


def test_versions_are_numbered_and_the_same_text_is_no_new_one(tenant: str, saved: WorkflowSummary) -> None:
    first, second = source(saved.name), source(saved.name, ".n")
    assert library.update_workflow(tenant, saved.id, first) == saved, "nothing has changed"
    assert library.update_workflow(tenant, saved.id, second).latest_version == 2
    back = library.update_workflow(tenant, saved.id, first)
    assert back.latest_version == 3, "the newest is what was saved last, whatever came before"
    assert (
        library.read_workflow(tenant, saved.id, 1).version.digest
        == library.read_workflow(tenant, saved.id).version.digest
    )
    listed = library.list_versions(tenant, saved.id, per_page=2)
    assert [each.number for each in listed.items] == [3, 2]
    assert listed.total == 3
    assert library.list_versions(tenant, saved.id, page=9).items == []


def test_a_version_from_a_file_is_found_again(tenant: str) -> None:
    texts = [source("from-a-file", f".n + {n}") for n in range(3)]
    assert [service.save_version(tenant, text).number for text in (*texts, *texts)] == [1, 2, 3, 1, 2, 3]
    found = library.read_workflow(tenant, library.find_workflow(tenant, "from-a-file"))
    assert (found.workflow.status, found.version.number) == ("draft", 3)


def test_a_published_version_stays_until_another_is_published(tenant: str, saved: WorkflowSummary) -> None:
    library.publish_workflow(tenant, saved.id)
    changed = library.update_workflow(tenant, saved.id, source(saved.name, ".n"))
    assert (changed.status, changed.published_version, changed.latest_version) == ("published", 1, 2)
    assert library.read_workflow(tenant, saved.id).version.number == 1
    assert library.read_workflow(tenant, saved.id, 2).version.is_published is False
    assert library.update_workflow(tenant, saved.id, source(saved.name, ".n"), publish=True).published_version == 2
    for number in (3, 0, 10**12):
        with pytest.raises(NotFound, match="no version"):
            library.publish_workflow(tenant, saved.id, number)


def test_a_save_over_someone_elses_is_refused(tenant: str, saved: WorkflowSummary) -> None:
    library.update_workflow(tenant, saved.id, source(saved.name, ".n"), expected_version=1)
    with pytest.raises(VersionChanged) as refused:
        library.update_workflow(tenant, saved.id, source(saved.name, ".n + 1"), expected_version=1)
    assert (refused.value.status, refused.value.code) == (412, "VERSION_CHANGED")
    assert library.read_workflow(tenant, saved.id).workflow.latest_version == 2


def test_a_name_belongs_to_one_workflow(database: Database, tenant: str, saved: WorkflowSummary) -> None:
    with pytest.raises(Conflict) as refused:
        library.create_workflow(tenant, source(saved.name))
    assert (refused.value.status, refused.value.code) == (409, "NAME_TAKEN")
    other = library.create_workflow(tenant, source(f"{saved.name}-2"))
    with pytest.raises(Conflict, match=saved.name):
        library.update_workflow(tenant, other.id, source(saved.name))
    assert library.read_workflow(tenant, other.id).workflow == other
    renamed = library.update_workflow(tenant, saved.id, source(f"{saved.name}-3"))
    assert (renamed.id, renamed.name) == (saved.id, f"{saved.name}-3")
    library.update_workflow(tenant, other.id, source(saved.name))
    library.create_workflow(str(database.tenant_b), source(saved.name))


def test_an_archived_workflow_comes_back_when_it_is_published(tenant: str, saved: WorkflowSummary) -> None:
    assert library.archive_workflow(tenant, saved.id).status == "archived"
    assert library.archive_workflow(tenant, saved.id).status == "archived"
    assert library.update_workflow(tenant, saved.id, source(saved.name, ".n")).status == "archived"
    assert library.publish_workflow(tenant, saved.id).status == "published"


def test_triggers_are_live_while_their_version_is_published(
    database: Database, tenant: str, saved: WorkflowSummary
) -> None:
    library.update_workflow(tenant, saved.id, source(saved.name, more=TRIGGERS))
    assert schedules(database, saved.id) == 0, "not published"
    library.publish_workflow(tenant, saved.id)
    assert schedules(database, saved.id) == 1
    library.publish_workflow(tenant, saved.id, 1)
    assert schedules(database, saved.id) == 0, "version 1 has none"
    for end in (library.archive_workflow, library.delete_workflow):
        library.publish_workflow(tenant, saved.id, 2)
        assert schedules(database, saved.id) == 1
        end(tenant, saved.id)
        assert schedules(database, saved.id) == 0


def test_a_deleted_workflow_leaves_its_name_and_its_runs(tenant: str, saved: WorkflowSummary) -> None:
    (run,) = start_runs(tenant, saved.id, [{}]).run_ids
    library.delete_workflow(tenant, saved.id)
    for use in (
        lambda: library.read_workflow(tenant, saved.id),
        lambda: library.update_workflow(tenant, saved.id, source(saved.name)),
        lambda: library.publish_workflow(tenant, saved.id),
        lambda: library.archive_workflow(tenant, saved.id),
        lambda: library.delete_workflow(tenant, saved.id),
        lambda: library.list_versions(tenant, saved.id),
        lambda: library.diff_versions(tenant, saved.id, 1, 1),
        lambda: library.find_workflow(tenant, saved.id),
        lambda: library.find_workflow(tenant, saved.name),
    ):
        with pytest.raises(NotFound):
            use()
    again = library.create_workflow(tenant, source(saved.name))
    assert again.id != saved.id
    found = report.read_run(tenant, run)
    assert (found.run.status, found.run.workflow) == ("queued", saved.name)
    assert [event.type for event in report.read_events(tenant, run)] == ["run.accepted"]
    assert control.cancel_run(tenant, run) == "queued"


def test_another_tenant_has_none_of_it(database: Database, tenant: str, saved: WorkflowSummary) -> None:
    other = str(database.tenant_b)
    for use in (
        lambda: library.read_workflow(other, saved.id),
        lambda: library.update_workflow(other, saved.id, source(saved.name)),
        lambda: library.publish_workflow(other, saved.id),
        lambda: library.delete_workflow(other, saved.id),
        lambda: library.find_workflow(other, saved.id[:13]),
    ):
        with pytest.raises(NotFound):
            use()
    assert saved.id not in [each.id for each in library.list_workflows(other, per_page=100).items]


@pytest.mark.parametrize("unknown", ["", "x", NOBODY, "é" * 36, "1" * 33])
def test_an_id_that_is_none_names_nothing(tenant: str, unknown: str) -> None:
    for use in (library.read_workflow, library.publish_workflow, library.archive_workflow, library.find_workflow):
        with pytest.raises(NotFound):
            use(tenant, unknown)


def test_what_is_invalid_or_too_large_is_not_kept(tenant: str, saved: WorkflowSummary) -> None:
    large = source(saved.name) + b"# " + b"x" * get_settings().max_definition_bytes
    for text, code in ((b"", "EMPTY"), (large, "TOO_BIG"), (b"\xff", ""), (source(saved.name, "("), "")):
        with pytest.raises(InvalidDefinition) as refused:
            library.update_workflow(tenant, saved.id, text)
        assert code in {each.code for each in refused.value.details} or not code
        with pytest.raises(InvalidDefinition):
            library.create_workflow(tenant, text)
    assert library.read_workflow(tenant, saved.id).workflow == saved


def test_a_workflow_is_found_by_name_id_or_beginning(tenant: str, saved: WorkflowSummary) -> None:
    for name in (saved.name, f" {saved.name.upper()} ", saved.id, saved.id.upper(), saved.id[:23]):
        assert library.find_workflow(tenant, name) == saved.id
    other = library.create_workflow(tenant, source(f"{saved.name}-2"))
    if other.id[:8] == saved.id[:8]:
        with pytest.raises(InvalidInput, match="More than one"):
            library.find_workflow(tenant, saved.id[:8])


@pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"])
def test_the_list_is_read_in_pages(tenant: str, sort: str) -> None:
    prefix = f"paged{sort.strip('-').replace('_', '')}{sort[0] == '-'}".lower()
    for n in range(7):
        library.create_workflow(tenant, source(f"{prefix}-{n}"))
    everything = library.list_workflows(tenant, text=prefix, sort=sort)
    keys = [getattr(each, sort.lstrip("-")) for each in everything.items]
    assert keys == sorted(keys, reverse=sort[0] == "-")
    assert (everything.total, everything.next_cursor) == (7, None)
    paged = [library.list_workflows(tenant, text=prefix, sort=sort, page=n, per_page=3) for n in (1, 2, 3, 4)]
    assert [each for page in paged for each in page.items] == everything.items
    page = paged[0]
    onward = list(page.items)
    while page.next_cursor:
        page = library.list_workflows(tenant, text=prefix, sort=sort, per_page=3, cursor=page.next_cursor)
        onward += page.items
    assert onward == everything.items
    for wrong in (
        {"sort": "size"},
        {"status": "gone"},
        {"page": 0},
        {"per_page": 101},
        {"text": "\x00"},
        {"cursor": "x"},
    ):
        with pytest.raises(InvalidInput):
            library.list_workflows(tenant, **wrong)


def test_savers_at_the_same_time_each_get_a_version(tenant: str, saved: WorkflowSummary) -> None:
    def save(n: int) -> bytes:
        text = source(saved.name, f".n + {n}")
        library.update_workflow(tenant, saved.id, text, publish=n % 2 == 0)
        return text

    with ThreadPoolExecutor(8) as pool:
        texts = set(pool.map(save, range(24)))
    assert library.read_workflow(tenant, saved.id).workflow.latest_version == 25
    kept = {library.read_workflow(tenant, saved.id, n).source.encode() for n in range(2, 26)}
    assert kept == texts


def test_of_savers_who_expect_the_same_version_one_wins(tenant: str, saved: WorkflowSummary) -> None:
    def save(n: int) -> bool:
        try:
            library.update_workflow(tenant, saved.id, source(saved.name, f".n + {n}"), expected_version=1)
        except VersionChanged:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(save, range(8))) == 1


def test_of_creators_of_one_name_one_wins(tenant: str) -> None:
    def create(n: int) -> bool:
        try:
            library.create_workflow(tenant, source("wanted-by-many", f".n + {n}"))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_after_publish_and_delete_at_once_nothing_is_live(database: Database, tenant: str) -> None:
    """Whichever comes first: no schedule of a deleted workflow may stay."""
    for n in range(6):
        workflow = library.create_workflow(tenant, source(f"raced-{n}", more=TRIGGERS)).id
        gate, failures = threading.Barrier(3), list[NexusError]()

        def do(change: Any, gate: threading.Barrier = gate, workflow: str = workflow, failures: Any = failures) -> None:
            gate.wait()
            try:
                change(tenant, workflow)
            except NexusError as error:
                failures.append(error)

        def start(tenant: str, workflow: str) -> None:
            start_runs(tenant, workflow, [{}])

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(do, (library.publish_workflow, library.delete_workflow, start)))
        assert all(isinstance(each, NotFound) for each in failures)
        assert schedules(database, workflow) == 0
        with pytest.raises(NotFound):
            start_runs(tenant, workflow, [{}])
