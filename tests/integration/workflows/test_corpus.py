"""Every workflow of the corpus that says how its run ends does so on the real cluster."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from nexusflow.workflows.starts.signalling import send_signal
from tests.integration.cluster import Cluster

CORPUS = Path(__file__).parents[2] / "corpus"


def _cases() -> dict[str, dict[str, Any]]:
    cases = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CORPUS.glob("*.yaml"))}
    return {name: case for name, case in cases.items() if "outcome" in case}


CASES = _cases()


@pytest.fixture(scope="module")
def runs(cluster: Cluster) -> dict[str, str]:
    """A run of every case, all at once; the signals of a case are sent before its run starts."""
    with cluster.active():
        for signal in (each for case in CASES.values() for each in case.get("signals", ())):
            send_signal(cluster.tenant, signal["name"], key=signal.get("key", ""), data=signal["data"])
    return {name: cluster.start(case["definition"], case.get("input")) for name, case in CASES.items()}


def test_every_valid_workflow_says_how_it_ends() -> None:
    valid = {path.stem for path in CORPUS.glob("valid-*.yaml")}
    assert valid == set(CASES)
    assert len(valid) >= 110


@pytest.mark.parametrize("name", CASES)
def test_ends_as_the_corpus_says(cluster: Cluster, runs: dict[str, str], name: str) -> None:
    outcome = CASES[name]["outcome"]
    record = cluster.finish(runs[name])
    assert record.status == outcome["status"], record.error
    if "output" in outcome or record.status != "succeeded":
        assert record.output == outcome.get("output")
    error = {key: value for key, value in (record.error or {}).items() if key in outcome.get("error", {})}
    assert error == outcome.get("error", {})
    assert {step: record.states.get(step) for step in outcome.get("steps", {})} == outcome.get("steps", {})
    tried = {step: record.steps[step].attempts for step in outcome.get("attempts", {})}
    assert tried == outcome.get("attempts", {})
    assert record.live == 0
