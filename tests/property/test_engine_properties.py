"""Random workflows end on the real engine as the language says: states, outputs, order."""

from random import Random
from typing import Any

import pytest

from tests.integration.cluster import Cluster
from tests.integration.records import RunRecord
from tests.property.reference_outcome import ERROR, Expected, Reference
from tests.property.workflows import INPUT, random_workflow

WORDS = {"input": {"schema": {"type": "object", "properties": {name: {} for name in INPUT}}}}


def _check(cluster: Cluster, seeds: range, seconds: float) -> None:
    definitions = {seed: random_workflow(Random(seed), 1 + seed % 24) | WORDS for seed in seeds}
    runs = {seed: cluster.start(definition, INPUT) for seed, definition in definitions.items()}
    cluster.finish_all(list(runs.values()), seconds)
    for seed, definition in definitions.items():
        try:
            _agree(Reference(definition, INPUT), cluster.read(runs[seed]))
        except AssertionError as error:
            error.add_note(f"seed {seed}: {definition}")
            raise


def _agree(reference: Reference, record: RunRecord) -> None:
    if reference.run.blame:
        assert (record.status, record.cause) == ("failed", "user")
        assert record.error is not None
        assert record.error["step"] in reference.run.blame
    else:
        assert record.status == "succeeded", record.error
        assert _same(reference.run.output, record.output)
    assert record.live == 0
    expected = {f"{path}[{item}]" if item else path: each for (path, item), each in reference.places.items()}
    assert set(record.steps) <= set(expected)
    for name, each in expected.items():
        _agree_step(name, each, record)
    _agree_order(reference, record)


def _agree_step(name: str, expected: Expected, record: RunRecord) -> None:
    step = record.steps.get(name)
    if step is None:
        assert not expected.certain, f"{name} is not recorded"
    elif expected.certain or step.state not in ("running", "failed"):
        # A scope that was overtaken may have failed by what its own end would have healed.
        assert step.state == expected.state, name
        if step.state in ("succeeded", "skipped"):
            assert _same(expected.output, step.output), (name, expected.output, step.output)


def _agree_order(reference: Reference, record: RunRecord) -> None:
    told = {(step, item): number for number, (_, step, item, _) in enumerate(record.events) if step}
    for place, needs in reference.needs.items():
        for need in needs:
            if place in told:
                assert told[need] < told[place], f"{place} before {need}"


def _same(expected: Any, found: Any) -> bool:
    if expected == ERROR:
        return isinstance(found, dict) and set(found) == {"error"}
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(map(_same, expected, found))
    return bool(expected == found)


@pytest.mark.parametrize("block", range(2))
def test_ends_as_the_language_says(cluster: Cluster, block: int) -> None:
    _check(cluster, range(block * 60, block * 60 + 60), 60)


@pytest.mark.property
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("block", range(20))
def test_ends_as_the_language_says_for_many_more(cluster: Cluster, block: int) -> None:
    _check(cluster, range(10_000 + block * 150, 10_000 + block * 150 + 150), 600)
