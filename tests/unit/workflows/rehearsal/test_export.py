"""A run, however it was, is written as a test file that passes; without its secrets."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from nexusflow.errors import Conflict
from nexusflow.settings import Settings, use_settings
from nexusflow.workflows.evaluation.sandbox import get_sandbox
from nexusflow.workflows.language.checks import Limits, parse_definition
from nexusflow.workflows.language.loader import load
from nexusflow.workflows.planning.plan import compile_plan
from nexusflow.workflows.rehearsal.case_text import written
from nexusflow.workflows.rehearsal.suites import inline_definition, make_suite, read_tests
from nexusflow.workflows.rehearsal.verdict import Verdict
from nexusflow.workflows.reports.export_rows import FinishedRun, StepRecord, connection_secrets
from nexusflow.workflows.reports.redaction import Redaction
from nexusflow.workflows.reports.run_export import ExportedTest, write_test
from nexusflow.workflows.saved.catalogue import catalogue
from tests.unit.workflows.rehearsal.test_corpus import CASES, rehearsed

RUN = "0199f0a3-7c1e-7b52-9d0e-3f6b1a2c4d5e"
Records = dict[tuple[str, str], StepRecord]


def exported(
    source: str, records: Records, status: str, *, given: Any = None, output: Any = None, error: Any = None
) -> ExportedTest:
    ended = datetime(2026, 1, 2, tzinfo=UTC)
    found = FinishedRun(status, given or {}, output, error, ended, "case", 1, "", source, records)
    definition = parse_definition(source, catalogue())
    return write_test(RUN, found, compile_plan(definition, catalogue()))


def judged(text: str) -> Verdict:
    document, tests = read_tests(text)
    definition = inline_definition(document, limits=Limits(), check_jq=get_sandbox().check_jq)
    suite = make_suite(document, tests, definition)
    return suite.judged(*suite.cases[0])


def case_of(found: ExportedTest) -> dict[str, Any]:
    case: dict[str, Any] = load(found.source).data["cases"][0]
    return case


@pytest.mark.parametrize("name", CASES)
def test_every_run_of_the_corpus_becomes_a_test_that_passes(name: str) -> None:
    source, given = CASES[name]["definition"], CASES[name].get("input")
    ran = rehearsed(source, given)
    if ran.unanswered is not None:
        return
    records = {key: StepRecord(each.state, each.attempts, each.output, each.error) for key, each in ran.records.items()}
    found = exported(source, records, ran.status, given=given, output=ran.output, error=ran.error)
    assert judged(found.source).differences == ()
    case = case_of(found)
    assert case["expect"]["status"] == ran.status
    assert case["expect"].get("output") == ran.output
    assert found.notes == ()
    assert "mocks" not in case, "all that the corpus does is rehearsed"


SOURCE = """\
nexusflow: "1"
name: case
on_error: fail
input: { schema: { type: object, properties: { token: { type: string, minLength: 12, x-sensitive: true } } } }
steps:
  - { id: sign, type: transform, with: { input: "${{ input.token }}", jq: length } }
  - { id: get, needs: [sign], type: http.request, with: { url: "https://example.com/${{ steps.sign.output }}" } }
  - id: each
    needs: [get]
    type: foreach
    with: { items: "${{ steps.get.output.body }}", as: n, on_item_error: skip }
    steps: [{ id: put, type: http.request, with: { url: "https://example.com/${{ n }}" } }]
    output: "${{ steps.put.output.status }}"
  - { id: last, needs: [each], type: email.send, with: { to: a@example.com, subject: a, text: a } }
"""
AWAY = {"code": "HTTP_STATUS", "message": "503", "cause": "provider", "step": "get"}
GOT: Records = {
    ("sign", ""): StepRecord("succeeded", 1, 17, None),
    ("get", ""): StepRecord("succeeded", 3, {"status": 200, "body": [1, 2, 3]}, None, (AWAY, AWAY)),
    ("each/put", "0"): StepRecord("succeeded", 1, {"status": 201}, None),
    ("each/put", "1"): StepRecord("failed", 1, None, {"code": "HTTP_STATUS", "message": "409", "cause": "user"}),
    ("each/put", "2"): StepRecord("succeeded", 1, {"status": 201}, None),
    ("each", "0"): StepRecord("succeeded", 1, 201, None),
    ("each", "1"): StepRecord("failed", 1, None, {"code": "HTTP_STATUS", "message": "409", "cause": "user"}),
    ("each", "2"): StepRecord("succeeded", 1, 201, None),
    ("each", ""): StepRecord("succeeded", 1, [201, 201], None),
}


def test_answers_of_items_and_attempts_become_mocks() -> None:
    sent = {("last", ""): StepRecord("succeeded", 1, {"message_id": "m"}, None)}
    found = exported(SOURCE, GOT | sent, "succeeded", given={"token": "***"}, output={"message_id": "m"})
    assert judged(found.source).differences == ()
    case = case_of(found)
    assert (
        case["mocks"]["get"][:2]
        == [{"error": {"code": "HTTP_STATUS", "message": "503", "cause": "provider", "transient": True}}] * 2
    )
    assert case["mocks"]["each/put[1]"]["error"]["message"] == "409"
    assert case["mocks"]["sign"] == {"output": 17}, "what is computed of a secret is not computed of its mask"
    assert found.notes == ("Mocked, because a rehearsal computes something else: sign.",)
    assert case["expect"] == {
        "status": "succeeded",
        "output": {"message_id": "m"},
        "steps": {
            "sign": "succeeded",
            "get": "succeeded",
            "each/put[0]": "succeeded",
            "each/put[1]": "failed",
            "each/put[2]": "succeeded",
            "each": "succeeded",
            "last": "succeeded",
            "each[1]": "failed",
        },
        "attempts": {"get": 3},
        "order": ["sign", "get", "each", "last"],
    }


def test_a_run_that_failed_and_one_that_was_cancelled() -> None:
    failed: Records = {
        ("sign", ""): StepRecord("succeeded", 1, 3, None),
        ("get", ""): StepRecord("failed", 4, None, AWAY, (AWAY, AWAY, AWAY)),
    }
    found = exported(SOURCE, failed, "failed", given={"token": "***"}, error=AWAY)
    assert judged(found.source).differences == ()
    expect = case_of(found)["expect"]
    assert expect["error"] == {"code": "HTTP_STATUS", "cause": "provider", "step": "get"}
    assert expect["attempts"] == {"get": 4}
    assert set(case_of(found)["mocks"]) == {"get"}, "what was never called needs no mock"
    waiting = GOT | {("last", ""): StepRecord("retrying", 1, None, AWAY, (AWAY,))}
    cancelled = exported(SOURCE, waiting, "cancelled", given={"token": "***"})
    assert judged(cancelled.source).differences == ()
    assert case_of(cancelled)["mocks"]["last"][1] == {"never": True}
    assert case_of(cancelled)["expect"]["status"] == "running"
    assert any("was cancelled" in note for note in cancelled.notes)


def test_what_a_rehearsal_cannot_show_is_not_expected() -> None:
    """Here the secret decides which way a run goes, and its mask another."""
    source = SOURCE.replace(
        "type: email.send, with", "when: \"${{ input.token == 'sesame-open-you' }}\", type: email.send, with"
    )
    sent = {("last", ""): StepRecord("succeeded", 1, {"message_id": "m"}, None)}
    found = exported(source, GOT | sent, "succeeded", given={"token": "***"}, output={"message_id": "m"})
    assert judged(found.source).differences == ()
    assert "output" not in case_of(found)["expect"]
    assert any("The output of the run is not that of its rehearsal" in note for note in found.notes)


def test_what_no_file_can_hold_is_refused() -> None:
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    records: Records = {("get", ""): StepRecord("succeeded", 1, {"body": deep}, None)}
    with pytest.raises(Conflict, match="nested") as refused:
        exported(SOURCE, records, "cancelled")
    assert refused.value.code == "CANNOT_EXPORT"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "1",
            "1.10",
            "1e5",
            "0o17",
            "0x1F",
            "true",
            "Yes",
            "~",
            "null",
            "",
            " a",
            "a ",
            "a: b",
            "a #b",
            "- a",
            "&a",
            "*a",
        ),
        *(
            "<<",
            "a\nb",
            "a\nb\n",
            "\n a",
            "a\tb",
            "\x7f",
            "\u2028",
            "😀",
            "2026-01-01",
            "${{ input.a }}",
            "'",
            '"',
            "\\",
            "{a}",
        ),
        *("=", "!a", "%", "@", "`", "1_000", "12:30", ".5", "+1", "x" * 300, "a " * 100),
    ],
)
def test_every_text_is_read_back_as_it_was(text: str) -> None:
    data = {"a": text, "b": [text, {text or "k": text}]}
    assert load(written(data, ["a comment"]), name="a.yaml").data == data


@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, 1.0, 0.1, 1e20, 1e-7, -2.5e300, 123456.789])
def test_every_number_is_read_back_as_it_was(number: float) -> None:
    found = load(written({"a": number}, []), name="a.yaml").data["a"]
    assert (found, type(found)) == (number, type(number))


def test_a_connections_secrets_are_known_and_its_address_is_none() -> None:
    pay = {"base_url": "https://pay.example.com", "username": "us", "password": "open-sesame"}
    use_settings(Settings(connections={"pay": pay, "ai": {"api_key": "sk-123456", "region": "eu"}}))
    try:
        assert set(connection_secrets()) == {"us", "open-sesame", "dXM6b3Blbi1zZXNhbWU=", "sk-123456"}
    finally:
        use_settings(None)


def test_secrets_of_connections_are_masked_too() -> None:
    redaction = Redaction(["of-the-input"]).also(["of-a-connection"])
    assert redaction.value({"a": "of-the-input, of-a-connection"}) == {"a": "***, ***"}


def test_the_texts_are_plain_yaml() -> None:
    data = {"a": [1, "b", None, {"c": True}]}
    assert yaml.safe_load(written(data, ["x"])) == data == json.loads(json.dumps(data))
