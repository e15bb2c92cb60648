"""The example's list: what is in it, and that it is what its script writes."""

import importlib.util
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nexusflow.connectors.csv.shapes import CsvReadOutput
from nexusflow.embedded.vendors.scores import score_lead
from nexusflow.workflows.language.definition import Definition
from nexusflow.workflows.language.loader import load
from nexusflow.workflows.planning.plan import compile_plan
from nexusflow.workflows.saved.catalogue import catalogue
from tests.unit.connectors.test_csv import table

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    found: dict[str, Any] = load((EXAMPLES / "lead-intake.yaml").read_bytes(), name="lead-intake.yaml").data
    return found


@pytest.fixture(scope="module")
def leads(data: dict[str, Any]) -> CsvReadOutput:
    given = {name: value for name, value in data["steps"][0]["with"].items() if name != "file"}
    return table((EXAMPLES / "leads.csv").read_bytes(), **given)


def test_300_rows_of_which_most_are_good(leads: CsvReadOutput) -> None:
    assert leads.total == 300
    assert len(leads.rows) == 257
    assert leads.encoding == "utf-8+cp1252"
    assert len({row["email"].lower() for row in leads.rows}) == 257


def test_every_kind_of_mess_is_in_it(leads: CsvReadOutput) -> None:
    kinds = ["e-mail", "repeats line", "whole number", "company: is empty", "cells where", "NUL", "quote", "minimum"]
    found = Counter(kind for one in leads.rejected for kind in kinds if kind in one.reason)
    assert set(found) == set(kinds)
    assert found.total() == len(leads.rejected) == 43
    assert any("\n" in row["message"] for row in leads.rows)
    assert not any(mark in str(leads.rows) for mark in ("Ã", "\ufffd"))


def test_the_script_writes_exactly_this_file(tmp_path: Path) -> None:
    copy = shutil.copy(EXAMPLES / "make_leads.py", tmp_path)
    spec = importlib.util.spec_from_file_location("make_leads", copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()
    assert (tmp_path / "leads.csv").read_bytes() == (EXAMPLES / "leads.csv").read_bytes()


def test_the_workflow_uses_all_three_queues(data: dict[str, Any]) -> None:
    plan = compile_plan(Definition.model_validate(data), catalogue())
    assert {segment.queue for segment in plan.segments} == {"workflow", "integration", "notification"}


def test_the_local_model_tells_leads_apart(leads: CsvReadOutput) -> None:
    tiers = Counter(score_lead(json.dumps(row, ensure_ascii=False))["tier"] for row in leads.rows)
    assert set(tiers) == {"hot", "warm", "cold"}
    assert min(tiers.values()) >= 20
    assert all(0 <= score_lead(json.dumps(row))["score"] <= 100 for row in leads.rows)
