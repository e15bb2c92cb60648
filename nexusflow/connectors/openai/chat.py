"""One chat completion through OpenAI's SDK."""

from collections.abc import Mapping
from typing import Any

import httpx2
import openai
import orjson

from nexusflow.connectors.answers import bad_address, no_answer, refusal, shorten
from nexusflow.connectors.base import StepContext
from nexusflow.connectors.clients import ClientCache
from nexusflow.connectors.openai.actions import ChatInput, ChatOutput, ChatUsage
from nexusflow.connectors.schemas import Validator, compile_schema, faults
from nexusflow.errors import Permanent, StepError

VENDOR = "The language model"
CONNECTIONS = 256


def _new_client(connection: Mapping[str, str]) -> openai.OpenAI:
    client = openai.OpenAI(
        api_key=connection["api_key"],
        base_url=connection.get("base_url") or "https://api.openai.com/v1",
        max_retries=0,
        # Without trust_env: a proxy in a worker's environment must not see what the settings did not send there.
        http_client=httpx2.Client(
            trust_env=False, follow_redirects=True, limits=httpx2.Limits(max_connections=CONNECTIONS)
        ),
    )
    # Set afterwards: given as None, the SDK would look for them in the worker's environment.
    client.organization = connection.get("organization") or None
    client.project = connection.get("project") or None
    return client


_clients: ClientCache[openai.OpenAI] = ClientCache(_new_client, lambda client: client.close())


def complete(context: StepContext, given: ChatInput) -> ChatOutput:
    """The model's answer, checked; raises Transient or Permanent."""
    context.credential("api_key")
    validator = compile_schema(given.answer_schema) if given.answer_schema is not None else None
    client = _clients.get(context.connection)
    try:
        completion = client.chat.completions.create(
            **_request(given),
            extra_headers={"Idempotency-Key": context.idempotency_key},
            timeout=context.remaining(),
        )
    except openai.OpenAIError as error:
        raise _failure(context, error) from error
    if not completion.choices:
        raise Permanent("ANSWER_EMPTY", f"{VENDOR} gave no answer.", cause="provider")
    choice = completion.choices[0]
    if choice.message.refusal:
        raise Permanent("ANSWER_REFUSED", f"{VENDOR} refused: {shorten(choice.message.refusal)}", "Ask differently.")
    if choice.finish_reason == "content_filter":
        raise Permanent("ANSWER_REFUSED", "The vendor's content filter stopped the answer.", "Ask differently.")
    text = choice.message.content or ""
    usage = completion.usage
    return ChatOutput(
        text=text,
        data=None if validator is None else _data(text, choice.finish_reason, validator),
        model=completion.model,
        usage=ChatUsage(
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            total_tokens=usage.total_tokens if usage else 0,
        ),
        finish_reason=choice.finish_reason,
    )


def _request(given: ChatInput) -> dict[str, Any]:
    messages = [{"role": one.role, "content": one.content} for one in given.messages]
    if given.prompt is not None:
        messages = [{"role": "user", "content": given.prompt}]
    if given.system:
        messages.insert(0, {"role": "system", "content": given.system})
    request: dict[str, Any] = {"model": given.model, "messages": messages}
    if given.temperature is not None:
        request["temperature"] = given.temperature
    if given.max_tokens is not None:
        request["max_completion_tokens"] = given.max_tokens
    if given.answer_schema is not None:
        form = {"name": "answer", "schema": given.answer_schema, "strict": True}
        request["response_format"] = {"type": "json_schema", "json_schema": form}
    return request


def _data(text: str, finish_reason: str, validator: Validator) -> Any:
    if finish_reason == "length":
        raise Permanent("ANSWER_CUT", "The answer was cut at its longest length.", "Raise max_tokens.")
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Permanent("ANSWER_INVALID", f"{VENDOR} gave no JSON: {shorten(text, 200)}", cause="provider") from None
    if found := faults(validator, data):
        raise Permanent(
            "ANSWER_INVALID", f"The answer does not fit the schema: {shorten('; '.join(found))}.", cause="provider"
        )
    return data


def _failure(context: StepContext, error: openai.OpenAIError) -> StepError:
    if isinstance(error, openai.APIStatusError):
        return refusal(VENDOR, context.connection_name, error.status_code, error.response.headers, _said(error))
    if isinstance(error, openai.APITimeoutError):
        return no_answer(VENDOR, error, timed_out=True)
    if isinstance(error, openai.APIConnectionError) and isinstance(error.__cause__, httpx2.UnsupportedProtocol):
        return bad_address(context.connection_name, error.__cause__)
    if isinstance(error, openai.APIConnectionError):
        return no_answer(VENDOR, error.__cause__ or error, timed_out=False)
    return Permanent("VENDOR_REFUSED", f"{VENDOR}'s answer cannot be used: {shorten(str(error))}", cause="provider")


def _said(error: openai.APIStatusError) -> str:
    body = error.body
    return str(body["message"]) if isinstance(body, dict) and body.get("message") else error.response.text
