"""A repeated run of a random workflow, whose steps always do the same, ends as the run that it repeats had to."""

from contextlib import suppress
from random import Random

import pytest

from nexusflow.errors import Conflict
from nexusflow.workflows.starts.rerunning import Asked, rerun
from tests.integration.cluster import Cluster
from tests.property.reference_outcome import Reference
from tests.property.test_engine_properties import agree, told_of
from tests.property.workflows import CHILDREN, INPUT, random_workflow


def _check(cluster: Cluster, seeds: range, seconds: float) -> None:
    for child in CHILDREN.values():
        cluster.save(child)
    definitions = {seed: random_workflow(Random(seed), 1 + seed % 24) for seed in seeds}
    runs = {seed: cluster.start(definition, INPUT) for seed, definition in definitions.items()}
    cluster.finish_all(list(runs.values()), seconds)
    again: dict[tuple[int, str], str] = {}
    with cluster.active():
        for seed, run in runs.items():
            steps = [each["id"] for each in definitions[seed]["steps"]]
            for begin in ("failed", Random(seed).choice(steps)):
                with suppress(Conflict):  # nothing failed
                    again[seed, begin] = rerun(cluster.tenant, run, Asked(begin)).id
    cluster.finish_all(list(again.values()), seconds)
    assert len(again) > 1.4 * len(seeds)
    for (seed, begin), run in again.items():
        record = cluster.read(run)
        try:
            agree(Reference(definitions[seed], INPUT, told_of(record)), record)
        except (AssertionError, KeyError) as error:
            error.add_note(f"seed {seed}, from {begin}, run {run}, of {runs[seed]}: {definitions[seed]}")
            raise


def test_a_repeated_run_ends_as_the_language_says(cluster: Cluster) -> None:
    _check(cluster, range(500, 550), 60)


@pytest.mark.property
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("block", range(10))
def test_a_repeated_run_ends_as_the_language_says_for_many_more(cluster: Cluster, block: int) -> None:
    _check(cluster, range(20_000 + block * 100, 20_000 + block * 100 + 100), 600)
