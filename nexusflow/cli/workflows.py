"""``nexusflow workflows``: what is saved."""

from dataclasses import asdict
from typing import Any

from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import is_sure, out, print_json, print_text, say
from nexusflow.cli.records import document, gathered, local, show_rest, show_table
from nexusflow.cli.sources import check_source, read_source, show_invalid
from nexusflow.errors import Conflict, InvalidDefinition, NotFound
from nexusflow.workflows.saved import library
from nexusflow.workflows.saved.library import VersionDiff, WorkflowDetail, WorkflowSummary

_STYLES = {"draft": "yellow", "published": "green", "archived": "dim"}
_MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
DESCRIPTION_WIDTH = 60


def show_list(*, status: str | None, text: str | None, sort: str, limit: int, as_json: bool) -> int:
    """Print the saved workflows."""
    with readable_cluster() as cluster:
        items, first = gathered(
            lambda count, cursor: library.list_workflows(
                cluster.tenant, status=status, text=text, sort=sort, per_page=count, cursor=cursor
            ),
            limit,
        )
    if as_json:
        print_json([document(each) for each in items])
        return exits.SUCCEEDED
    rows = [
        (
            Text(each.name, "bold"),
            Text(each.status, _STYLES[each.status]),
            str(each.published_version or "-"),
            str(each.latest_version),
            local(each.updated_at),
            Text(each.description.strip().partition("\n")[0][:DESCRIPTION_WIDTH]),
        )
        for each in items
    ]
    show_table(
        ("Name", "Status", "Published", "Newest", "Changed", "Description"),
        rows,
        "No workflows. nexusflow workflows save FILE saves one.",
    )
    show_rest(len(items), first)
    return exits.SUCCEEDED


def show_one(name: str, *, version: int | None, only_source: bool, as_json: bool) -> int:
    """Print a workflow with one version's text."""
    with readable_cluster() as cluster:
        detail = library.read_workflow(cluster.tenant, library.find_workflow(cluster.tenant, name), version)
    if as_json:
        print_json(_detail(detail))
    elif only_source:
        print_text(detail.source)
    else:
        _headline(detail.workflow)
        number = detail.version.number
        say(f"Version {number}, saved {local(detail.version.created_at)}", "dim", to=out())
        say(to=out())
        print_text(detail.source if detail.source.endswith("\n") else f"{detail.source}\n")
    return exits.SUCCEEDED


def _detail(detail: WorkflowDetail) -> dict[str, Any]:
    return document(detail.workflow) | {
        "version": document(detail.version),
        "source": detail.source,
        "definition": detail.definition,
        "input_schema": detail.input_schema,
    }


def _headline(workflow: WorkflowSummary) -> None:
    told = Text.assemble(
        (workflow.name, "bold"), f" {workflow.id} ", (workflow.status, _STYLES.get(workflow.status, ""))
    )
    if workflow.status == "published":
        told.append(f" · version {workflow.published_version} runs")
    told.append(f" · newest is {workflow.latest_version}")
    out().print(told, soft_wrap=True)


def save(name: str, *, publish: bool, into: str | None, as_json: bool) -> int:
    """Save a file: a new workflow, or a new version of the one of its name."""
    content = None
    try:
        source = read_source(name)
        content = source.content
        definition = check_source(source)
    except InvalidDefinition as error:
        if as_json:
            raise
        show_invalid(name, error, content)
        return exits.INVALID
    with readable_cluster() as cluster:
        if into is not None:
            workflow = library.find_workflow(cluster.tenant, into)
            saved = library.update_workflow(cluster.tenant, workflow, content, publish=publish)
        else:
            saved = _saved(cluster.tenant, definition.name, content, publish=publish)
    if as_json:
        print_json(document(saved))
        return exits.SUCCEEDED
    say(f"Saved {saved.name}, version {saved.latest_version}.", "bold green")
    say(_what_runs(saved), "dim")
    return exits.SUCCEEDED


def _what_runs(workflow: WorkflowSummary) -> str:
    publish = f"nexusflow workflows publish {workflow.name}"
    if workflow.status == "archived":
        return f"It is archived, so nothing starts it: {publish}"
    if workflow.status == "draft":
        return f"It is a draft: runs take its newest version, and its triggers rest until {publish}"
    if workflow.published_version == workflow.latest_version:
        return "It is the version that runs."
    return f"Version {workflow.published_version} is the one that runs until {publish}"


def _saved(tenant: str, name: str, source: bytes, *, publish: bool) -> WorkflowSummary:
    """Another may make or remove it in the same moment; the second look settles it."""
    for last in (False, True):
        try:
            workflow = library.find_workflow(tenant, name)
        except NotFound:
            try:
                return library.create_workflow(tenant, source, publish=publish)
            except Conflict:
                if last:
                    raise
                continue
        try:
            return library.update_workflow(tenant, workflow, source, publish=publish)
        except NotFound:
            if last:
                raise
    raise AssertionError("unreachable")


def publish(name: str, *, version: int | None, as_json: bool) -> int:
    """Publish a version."""
    with readable_cluster() as cluster:
        workflow = library.find_workflow(cluster.tenant, name)
        changed = library.publish_workflow(cluster.tenant, workflow, version)
    return _changed(changed, f"{changed.name} is published: version {changed.published_version} runs.", as_json=as_json)


def archive(name: str, *, as_json: bool) -> int:
    """Archive a workflow."""
    with readable_cluster() as cluster:
        changed = library.archive_workflow(cluster.tenant, library.find_workflow(cluster.tenant, name))
    told = f"{changed.name} is archived: nothing starts it until it is published again. What runs goes on."
    return _changed(changed, told, as_json=as_json)


def _changed(workflow: WorkflowSummary, told: str, *, as_json: bool) -> int:
    if as_json:
        print_json(document(workflow))
    else:
        say(told, "bold green")
    return exits.SUCCEEDED


def delete(name: str, *, sure: bool, as_json: bool) -> int:
    """Delete a workflow, once the person is sure."""
    with readable_cluster() as cluster:
        workflow = library.read_workflow(cluster.tenant, library.find_workflow(cluster.tenant, name)).workflow
        if not sure and not is_sure(f"Delete {workflow.name} ({workflow.latest_version} versions)?", "Deleting"):
            say("Nothing was deleted.")
            return exits.INVALID
        library.delete_workflow(cluster.tenant, workflow.id)
    if as_json:
        print_json({"id": workflow.id, "name": workflow.name, "deleted": True})
    else:
        say(f"{workflow.name} is deleted. What runs goes on; its runs stay readable.", "bold green")
    return exits.SUCCEEDED


def show_versions(name: str, *, limit: int, as_json: bool) -> int:
    """Print a workflow's versions."""
    with readable_cluster() as cluster:
        workflow = library.find_workflow(cluster.tenant, name)
        items: list[library.VersionSummary] = []
        page = 1
        while len(items) < limit:
            found = library.list_versions(cluster.tenant, workflow, page, 100)
            items += found.items
            if len(found.items) < found.per_page:
                break
            page += 1
    items = items[:limit]
    if as_json:
        print_json([document(each) for each in items])
        return exits.SUCCEEDED
    rows = [
        (
            str(each.number),
            local(each.created_at),
            Text("published", "green") if each.is_published else Text(""),
            each.id,
        )
        for each in items
    ]
    show_table(("Version", "Saved", "", "Id"), rows, "No versions.")
    show_rest(len(items), found)
    return exits.SUCCEEDED


def show_diff(name: str, before: int | None, after: int | None, *, as_json: bool) -> int:
    """Print what two versions differ in."""
    with readable_cluster() as cluster:
        workflow = library.read_workflow(cluster.tenant, library.find_workflow(cluster.tenant, name)).workflow
        to = after or workflow.latest_version
        from_ = before or _compared(workflow, to)
        diff = library.diff_versions(cluster.tenant, workflow.id, from_, to)
    if as_json:
        steps = [asdict(each) for each in diff.steps]
        print_json({"from": diff.from_, "to": diff.to, "text": diff.text, "steps": steps})
    else:
        _show_diff(diff)
    return exits.SUCCEEDED


def _compared(workflow: WorkflowSummary, to: int) -> int:
    published = workflow.published_version
    return published if published is not None and published != to else max(1, to - 1)


def _show_diff(diff: VersionDiff) -> None:
    if not diff.text:
        say(f"Versions {diff.from_} and {diff.to} have the same text.", to=out())
        return
    for each in diff.steps:
        mark, style = _MARKS[each.change]
        fields = f" {', '.join(each.fields)}" if each.fields else ""
        place = each.path or "(workflow)"
        out().print(Text.assemble((f"{mark} {place}", style), f" {each.change}", (fields, "dim")), soft_wrap=True)
    say(to=out())
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in diff.text.splitlines():
        say(line, styles.get(line[:1]), to=out())
