"""Every workflow of the corpus, rehearsed, ends as it does on the cluster; and so do random ones."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.language.definition import CONTROL_TYPES, PLANNED_STEP_TYPES
from nexusflow.workflows.planning.plan import compile_plan
from nexusflow.workflows.rehearsal.cases import Case
from nexusflow.workflows.rehearsal.places import show_place
from nexusflow.workflows.rehearsal.walk import Rehearsed, rehearse
from nexusflow.workflows.saved.catalogue import catalogue
from nexusflow.workflows.starts.run_input import checked_input
from tests.integration.records import RunRecord, StepRecord
from tests.property.reference_outcome import Reference
from tests.property.test_engine_properties import agree, told_of
from tests.property.workflows import INPUT, random_workflow

CORPUS = Path(__file__).parents[3] / "corpus"
CASES = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(CORPUS.glob("valid-*.yaml"))}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def rehearsed(definition: str, given: dict[str, Any] | None = None, **words: Any) -> Rehearsed:
    checked = parse_definition(definition, catalogue())
    case = Case.model_validate({"name": "a", **words})
    return rehearse(checked, compile_plan(checked, catalogue()), case, checked_input(checked, given or {}))


@pytest.mark.parametrize("name", CASES)
def test_ends_as_the_corpus_says(name: str) -> None:
    outcome = CASES[name]["outcome"]
    found = rehearsed(CASES[name]["definition"], CASES[name].get("input"))
    if found.unanswered is not None:  # what only a cluster does, such as waiting for somebody
        assert found.unanswered.message.split()[3].rstrip(",") in (*CONTROL_TYPES, *PLANNED_STEP_TYPES)
        return
    assert found.status == outcome["status"], found.error
    if "output" in outcome or found.status != "succeeded":
        assert found.output == outcome.get("output")
    error = {key: value for key, value in (found.error or {}).items() if key in outcome.get("error", {})}
    assert error == outcome.get("error", {})
    records = {show_place(*key): each for key, each in found.records.items()}
    states = {step: records[step].state if step in records else None for step in outcome.get("steps", {})}
    assert states == outcome.get("steps", {})
    assert {step: records[step].attempts for step in outcome.get("attempts", {})} == outcome.get("attempts", {})


def recorded(found: Rehearsed) -> RunRecord:
    """A rehearsal as if it had been read from a database; each event takes a second."""
    moments = {key: BEGAN + timedelta(seconds=number) for key, number in found.over.items()}
    steps = {
        show_place(*key): StepRecord(each.state, each.attempts, each.output, each.error, BEGAN, moments.get(key))
        for key, each in found.records.items()
    }
    events = [
        (f"step.{found.records[key].state}", *key, None) for key in sorted(found.over, key=lambda key: found.over[key])
    ]
    cause = (found.error or {}).get("cause")
    return RunRecord("", found.status, cause, found.output, found.error, steps, events, 0)


@pytest.mark.parametrize("seed", range(60))
def test_ends_as_the_language_says(seed: int) -> None:
    definition = random_workflow(Random(seed), 1 + seed % 24, alone=True)
    record = recorded(rehearsed(json.dumps(definition), INPUT))
    agree(Reference(definition, INPUT, told_of(record)), record)


HOURS = """\
nexusflow: "1"
name: case
timeout: 1h
steps:
  - { id: rest, type: wait, with: { duration: HOW_LONG } }
  - { id: get, type: http.request, needs: [rest], with: { url: "https://example.com" } }
"""


@pytest.mark.parametrize(
    ("long", "answer", "status"),
    [
        ("59m", {"output": {"status": 200}}, "succeeded"),
        ("61m", {"output": {"status": 200}}, "timed_out"),
        ("59m", {"never": True}, "timed_out"),
        ("59m", {"error": {"code": "BUSY", "transient": True}}, "failed"),
    ],
)
def test_a_runs_own_timeout_counts_in_the_rehearsals_time(long: str, answer: dict[str, Any], status: str) -> None:
    found = rehearsed(HOURS.replace("HOW_LONG", long), mocks={"get": answer})
    assert found.status == status
    assert (found.error or {}).get("code") == {"timed_out": "RUN_TIMED_OUT", "failed": "BUSY"}.get(status)
    assert found.records["rest", ""].state == ("cancelled" if long == "61m" else "succeeded")


MOCKED = """\
nexusflow: "1"
name: case
steps:
  - id: get
    type: http.request
    with: { url: "https://example.com" }
    mock: { output: { body: "${{ input.word }}" } }
  - id: fails
    type: http.request
    on_error: continue
    with: { url: "https://example.com" }
    mock: { error: { code: BUSY } }
output: [ "${{ steps.get.output.body }}", "${{ steps.fails.error.code }}" ]
"""


def test_a_step_without_an_answer_gives_its_own_mock() -> None:
    assert rehearsed(MOCKED, {"word": "own"}).output == ["own", "BUSY"]
    answered = rehearsed(MOCKED, {"word": "own"}, mocks={"get": {"output": {"body": "the case's"}}})
    assert answered.output == ["the case's", "BUSY"]
