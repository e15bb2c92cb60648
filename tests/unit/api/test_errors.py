"""The fixed list of codes, and the reference that shows it."""

import re
from pathlib import Path

import pytest

from api.app import create_app
from api.errors import CODES
from nexusflow.settings import Settings

ROOT = Path(__file__).parents[3]


def test_every_code_that_a_request_can_get_is_in_the_list() -> None:
    folders = {"api": "Conflict|Refused|unavailable", "nexusflow": "Conflict"}
    raised = {
        code
        for folder, names in folders.items()
        for path in (ROOT / folder).rglob("*.py")
        for code in re.findall(rf'(?:{names})\(\s*"([A-Z_]+)"', path.read_text())
    }
    classes = re.findall(r'super\(\).__init__\("([A-Z_]+)"', (ROOT / "nexusflow/errors.py").read_text())
    assert {"NAME_TAKEN", "BODY_TOO_LARGE"} <= raised
    assert "NOT_FOUND" in classes
    assert raised | set(classes) <= set(CODES)


def test_the_reference_describes_every_route_with_its_answer() -> None:
    document = create_app().openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            assert "default" in responses, (path, method)
            assert "422" not in responses
            assert operation["description"], (path, method)
            (good, *_) = [status for status in responses if status.startswith("2")]
            if path.startswith("/v2") and good != "204":
                assert responses[good]["content"], (path, method)
    start = document["paths"]["/v2/workflows/{workflow_id}/run"]["post"]
    assert {each["name"] for each in start["parameters"]} == {"workflow_id", "wait", "Idempotency-Key"}
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert all(f"`{code}`" in document["info"]["description"] for code in CODES)


def test_settings_that_cannot_be_used_end_the_process_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from nexusflow.settings import get_settings

    monkeypatch.setenv("NEXUSFLOW_MAX_DEPTH", "many")
    get_settings.cache_clear()
    with pytest.raises(SystemExit, match="NEXUSFLOW_MAX_DEPTH"):
        create_app()
    get_settings.cache_clear()
    assert Settings.model_fields
