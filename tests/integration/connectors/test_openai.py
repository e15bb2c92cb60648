"""``openai.chat`` through the real SDK against the local vendor."""

import time
from typing import Any

import pytest

from nexusflow.connectors.openai.actions import ChatInput, ChatOutput, chat
from nexusflow.errors import Permanent, StepError, Transient
from tests.integration.connectors.conftest import Vendors

SCORE = {
    "type": "object",
    "required": ["score", "tier", "reason"],
    "additionalProperties": False,
    "properties": {
        "score": {"type": "integer", "minimum": 0, "maximum": 100},
        "tier": {"enum": ["hot", "warm", "cold"]},
        "reason": {"type": "string"},
    },
}


def ask(vendors: Vendors, seconds: float = 10.0, **given: Any) -> ChatOutput:
    asked = {"model": "gpt-4.1-mini", "prompt": "Hello", **given}
    return chat(vendors.context("openai", seconds), ChatInput.model_validate(asked))


def failure(vendors: Vendors, seconds: float = 10.0, **given: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        ask(vendors, seconds, **given)
    return caught.value


def test_text_comes_back_with_what_it_cost(vendors: Vendors) -> None:
    answer = ask(vendors, system="Be brief.", temperature=0)
    assert answer.text == "You said: Hello"
    assert answer.data is None
    assert (answer.model, answer.finish_reason) == ("gpt-4.1-mini", "stop")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_data_fits_the_schema_and_is_the_same_every_time(vendors: Vendors) -> None:
    good = 'Rate {"job_title": "CEO", "employees": 1500, "message": "We have a budget and want a demo"}'
    first, again = ask(vendors, prompt=good, schema=SCORE), ask(vendors, prompt=good, schema=SCORE)
    assert first.data == again.data
    assert first.data["tier"] == "hot"
    assert first.data["score"] > ask(vendors, prompt='Rate {"job_title": "Intern"}', schema=SCORE).data["score"]


def test_any_schema_gets_data_that_fits(vendors: Vendors) -> None:
    schema = {
        "type": "object",
        "required": ["kind", "tags", "who", "when"],
        "additionalProperties": False,
        "properties": {
            "kind": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"type": "string", "minLength": 9}, "minItems": 3},
            "who": {"$ref": "#/$defs/person"},
            "when": {"type": "string", "format": "date"},
        },
        "$defs": {
            "person": {
                "type": "object",
                "required": ["age"],
                "additionalProperties": False,
                "properties": {"age": {"type": ["integer", "null"], "minimum": 18, "maximum": 20}},
            }
        },
    }
    assert len(ask(vendors, schema=schema).data["tags"]) == 3  # chat() itself validates the rest


def test_messages_are_sent_in_order(vendors: Vendors) -> None:
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    assert ask(vendors, prompt=None, messages=[*messages, {"role": "user", "content": "three"}]).text.endswith("three")


def test_the_idempotency_key_reaches_the_vendor_once(vendors: Vendors) -> None:
    context = vendors.context("openai")
    chat(context, ChatInput(model="gpt-4.1-mini", prompt="Hello"))
    assert len(vendors.calls("openai", "chat", context.idempotency_key)) == 1


def test_429_is_transient_with_the_vendors_wait_and_is_not_retried_inside(vendors: Vendors) -> None:
    vendors.fault("openai", "status", status=429, retry_after=7)
    error = failure(vendors)
    assert isinstance(error, Transient)
    assert (error.code, error.retry_in, error.cause) == ("RATE_LIMITED", 7.0, "provider")
    assert ask(vendors).text  # one fault, one call: nothing was retried inside the SDK


@pytest.mark.parametrize("status", [500, 503])
def test_5xx_is_transient(vendors: Vendors, status: int) -> None:
    vendors.fault("openai", "status", status=status)
    assert isinstance(error := failure(vendors), Transient)
    assert error.code == "VENDOR_UNAVAILABLE"


def test_a_hang_ends_within_the_deadline(vendors: Vendors) -> None:
    vendors.fault("openai", "hang")
    started = time.monotonic()
    error = failure(vendors, seconds=0.5)
    assert isinstance(error, Transient)
    assert error.code == "VENDOR_TIMEOUT"
    assert time.monotonic() - started < 3


def test_a_dropped_connection_is_transient(vendors: Vendors) -> None:
    vendors.fault("openai", "drop")
    assert isinstance(failure(vendors), Transient)


@pytest.mark.parametrize(("status", "code"), [(401, "CREDENTIAL_REFUSED"), (400, "VENDOR_REFUSED")])
def test_a_refused_call_is_permanent(vendors: Vendors, status: int, code: str) -> None:
    vendors.fault("openai", "status", status=status)
    assert isinstance(error := failure(vendors), Permanent)
    assert error.code == code
    assert error.hint


def test_a_schema_the_vendor_would_refuse_is_refused_here_too(vendors: Vendors) -> None:
    error = failure(vendors, schema={"type": "object", "properties": {"a": {"type": "string"}}})
    assert error.code == "VENDOR_REFUSED"
    assert "additionalProperties" in error.message


def test_a_refusal_a_cut_and_a_misfit_are_permanent(vendors: Vendors) -> None:
    vendors.fault("openai", "refusal", text="I cannot help with that")
    assert failure(vendors).code == "ANSWER_REFUSED"
    assert failure(vendors, schema=SCORE, max_tokens=2).code == "ANSWER_CUT"
    vendors.fault("openai", "answer", text="no json")
    assert failure(vendors, schema=SCORE).code == "ANSWER_INVALID"
    vendors.fault("openai", "answer", text='{"score": 101, "tier": "hot", "reason": ""}')
    assert "101" in failure(vendors, schema=SCORE).message


def test_a_missing_key_says_what_to_set(vendors: Vendors) -> None:
    with pytest.raises(Permanent, match="CREDENTIAL_MISSING") as caught:
        chat(vendors.context("openai", api_key=""), ChatInput(model="m", prompt="p"))
    assert "NEXUSFLOW_CONNECTIONS__OPENAI__API_KEY" in caught.value.hint


def test_an_address_that_is_none_is_permanent(vendors: Vendors) -> None:
    with pytest.raises(Permanent, match="CREDENTIAL_INVALID"):
        chat(vendors.context("openai", base_url="nowhere"), ChatInput(model="m", prompt="p"))


def test_the_persons_environment_adds_no_headers(vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-x\ninvalid header")
    assert chat(vendors.context("openai", api_key="k2"), ChatInput(model="m", prompt="p")).text
