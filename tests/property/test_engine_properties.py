"""Random workflows end on the real engine as the language says: states, outputs, order."""

from datetime import datetime
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from tests.integration.cluster import Cluster
from tests.integration.records import RunRecord
from tests.property.reference_outcome import ERROR, Blame, Expected, Place, Reference, is_below
from tests.property.workflows import CHILDREN, INPUT, random_workflow

SETTLED = ("succeeded", "skipped", "blocked")


def _check(cluster: Cluster, seeds: range, seconds: float) -> None:
    for child in CHILDREN.values():
        cluster.save(child)
    definitions = {seed: random_workflow(Random(seed), 1 + seed % 24) for seed in seeds}
    runs = {seed: cluster.start(definition, INPUT) for seed, definition in definitions.items()}
    cluster.finish_all(list(runs.values()), seconds)
    for seed, definition in definitions.items():
        record = cluster.read(runs[seed])
        try:
            agree(Reference(definition, INPUT, told_of(record)), record)
        except AssertionError as error:
            error.add_note(f"seed {seed}: {definition}")
            raise


def _blame(error: dict[str, Any]) -> Blame:
    return error["step"], error.get("item", ""), error["code"]


def told_of(record: RunRecord) -> dict[Place, Blame]:
    """The failures that ended parts of tries, and those of compensations; not of a try that was itself stopped."""
    told = {}
    for name, step in record.steps.items():
        path, item = _place(name)
        stopped = path.endswith("/try") and record.states[_name((path.removesuffix("/try"), item))] == "cancelled"
        if step.state == "failed" and step.error and not stopped:
            told[path, item] = _blame({"step": path, **step.error})
    return told


def _place(name: str) -> Place:
    path, _, item = name.removesuffix("]").partition("[")
    return path, item


def _name(place: Place) -> str:
    return f"{place[0]}[{place[1]}]" if place[1] else place[0]


def agree(reference: Reference, record: RunRecord) -> None:
    if reference.run.blame:
        assert (record.status, record.cause) == ("failed", "user")
        assert record.error is not None
        assert _blame(record.error) in reference.run.blame
    else:
        assert record.status == "succeeded", record.error
        assert _same(reference.run.output, record.output)
    assert record.live == 0
    expected = {_name(place): each for place, each in reference.places.items()}
    undos = {_name((f"{path}/compensate", item)) for path, item in reference.undos}
    assert set(record.steps) <= set(expected) | undos
    for name, each in expected.items():
        _agree_step(name, each, record)
    _agree_races(reference, record)
    _agree_undone(reference, record)
    _agree_order(reference, record)


def _agree_step(name: str, expected: Expected, record: RunRecord) -> None:
    step = record.steps.get(name)
    if expected.state == "never":
        assert step is None, f"{name} ran behind a failure that ended its scope"
    elif step is None:
        assert not expected.certain, f"{name} is not recorded"
    elif expected.certain or step.state in SETTLED:
        # A scope that was overtaken may have failed by what its own end would have healed.
        assert step.state == expected.state, name
        if step.state in ("succeeded", "skipped"):
            assert _same(expected.output, step.output), (name, expected.output, step.output)
        if expected.certain:
            assert step.attempts == expected.attempts, name


def _agree_races(reference: Reference, record: RunRecord) -> None:
    """What ended a part of a try is one of the failures that may have."""
    told = told_of(record)
    for part, blame in reference.races.items():
        assert told.get(part) in {None, *blame}, (part, told[part], blame)


def _agree_undone(reference: Reference, record: RunRecord) -> None:
    """What succeeded in a try that failed is undone, and nothing else; what ended last, first."""
    undone: dict[Place, list[tuple[datetime, datetime]]] = {}
    for (path, item), expected in reference.undos.items():
        step, undo = record.steps.get(_name((path, item))), record.steps.get(_name((f"{path}/compensate", item)))
        holder = reference.holder((path, item))
        state = record.states.get(_name((holder[0].removesuffix("/try"), holder[1]))) if holder else None
        if step is None or step.state != "succeeded" or holder is None:
            assert undo is None, f"{path}[{item}] is undone"
        elif state in ("succeeded", "failed"):
            assert undo is not None, f"{path}[{item}] is not undone"
            assert (undo.state, undo.output) == (expected.state, expected.output)
            failed = record.steps[_name(holder)].finished
            assert step.finished is not None
            assert undo.finished is not None
            assert failed is not None
            if undo.finished > failed:  # else a try further in had begun to undo, and was stopped
                undone.setdefault(holder, []).append((step.finished, undo.finished))
    for ends in undone.values():
        assert sorted(ends, reverse=True) == sorted(ends, key=lambda each: each[1])


def _agree_order(reference: Reference, record: RunRecord) -> None:
    told = {(step, item): number for number, (_, step, item, _) in enumerate(record.events) if step}
    kept = {_place(name): -1 for name in record.kept}
    for place, needs in reference.needs.items():
        for need in needs:
            if place in told:
                assert (kept | told)[need] < told[place], f"{place} before {need}"
    for (path, item), parts in reference.tries.items():
        for before, after in pairwise(parts):
            # What an item that is skipped or collected had begun may end behind a part that went well.
            if reference.places[f"{path}/{before}", item].state == "failed":
                last = max(_told_inside(record, f"{path}/{before}/", item), default=-1)
                first = min(_told_inside(record, f"{path}/{after}/", item), default=len(record.events))
                assert last < first, f"{after} of {path}[{item}] began while {before} ran"


def _told_inside(record: RunRecord, inside: str, item: str) -> list[int]:
    """The numbers of the events of what lies below a path, at an item or inside it."""
    return [
        number
        for number, (_, step, at, _) in enumerate(record.events)
        if step and is_below((step, at or ""), inside, item)
    ]


def _same(expected: Any, found: Any) -> bool:
    if expected == ERROR:
        return isinstance(found, dict) and set(found) == {"error"}
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(map(_same, expected, found))
    return bool(expected == found)


@pytest.mark.parametrize("block", range(2))
def test_ends_as_the_language_says(cluster: Cluster, block: int) -> None:
    _check(cluster, range(block * 50, block * 50 + 50), 60)


@pytest.mark.property
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("block", range(20))
def test_ends_as_the_language_says_for_many_more(cluster: Cluster, block: int) -> None:
    _check(cluster, range(10_000 + block * 150, 10_000 + block * 150 + 150), 600)
