"""OpenAI's chat completions and models, as its API reference describes them."""

import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from nexusflow.embedded.vendors.calls import CallLog
from nexusflow.embedded.vendors.faults import Fault
from nexusflow.embedded.vendors.samples import SampleMaker, number_of
from nexusflow.embedded.vendors.scores import score_lead, wants_score

MODELS = ("gpt-5-mini", "gpt-5", "gpt-4.1-mini", "gpt-4o-mini")
CHARACTERS_A_TOKEN = 4


class LocalOpenAI:
    """A language model that always gives the same answer to the same question."""

    def __init__(self, calls: CallLog) -> None:
        self._calls = calls

    def routes(self) -> list[Route]:
        """The paths under ``/openai``."""
        return [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/v1/models/{model}", self._model),
        ]

    async def _chat(self, request: Request) -> Response:
        if not request.headers.get("authorization", "").startswith("Bearer "):
            return _error(401, "You didn't provide an API key.", "invalid_api_key")
        try:
            asked = json.loads(await request.body())
            messages = [(one["role"], _text(one.get("content"))) for one in asked["messages"]]
            model = str(asked["model"])
        except (ValueError, KeyError, TypeError):
            return _error(400, "We could not parse the JSON body of your request.", "invalid_request_error")
        form = asked.get("response_format") or {}
        schema = (form.get("json_schema") or {}).get("schema") if form.get("type") == "json_schema" else None
        if schema is not None and form["json_schema"].get("strict") and (wrong := _not_strict(schema, "$")):
            return _error(400, f"Invalid schema for response_format: {wrong}", "invalid_request_error")
        fault: Fault | None = request.scope.get("nexusflow.fault")
        text = fault.text if fault and fault.kind == "answer" else _answer(messages, form, schema)
        self._calls.add(
            "openai",
            "chat",
            idempotency_key=request.headers.get("idempotency-key", ""),
            model=model,
            structured=schema is not None,
            prompt=messages[-1][1][:500] if messages else "",
            answer=text[:500],
        )
        longest = asked.get("max_completion_tokens") or asked.get("max_tokens")
        refusal = fault.text if fault and fault.kind == "refusal" else None
        return JSONResponse(_completion(model, messages, text, longest, refusal))

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model_card(name) for name in MODELS]})

    async def _model(self, request: Request) -> Response:
        return JSONResponse(_model_card(request.path_params["model"]))


def _completion(
    model: str, messages: list[tuple[str, str]], text: str, longest: int | None, refusal: str | None
) -> dict[str, Any]:
    cut = longest is not None and len(text) > longest * CHARACTERS_A_TOKEN
    text = text[: (longest or 0) * CHARACTERS_A_TOKEN] if cut else text
    asked_tokens = sum(len(said) for _, said in messages) // CHARACTERS_A_TOKEN + 1
    told_tokens = len(text) // CHARACTERS_A_TOKEN + 1
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refusal else text,
        "refusal": refusal,
        "annotations": [],
    }
    return {
        "id": f"chatcmpl-{number_of(repr(messages)):012x}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "length" if cut else "stop"}],
        "usage": {
            "prompt_tokens": asked_tokens,
            "completion_tokens": told_tokens,
            "total_tokens": asked_tokens + told_tokens,
        },
    }


def _answer(messages: list[tuple[str, str]], form: Mapping[str, Any], schema: Any) -> str:
    question = messages[-1][1] if messages else ""
    if isinstance(schema, Mapping):
        data = SampleMaker(schema, question).make()
        if wants_score(schema):
            data |= {name: value for name, value in score_lead(question).items() if name in data}
        return json.dumps(data, ensure_ascii=False)
    if form.get("type") == "json_object":
        return json.dumps({"answer": question[:200]}, ensure_ascii=False)
    return f"You said: {question[:2_000]}"


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _not_strict(schema: Any, path: str) -> str:
    """Why OpenAI would refuse a schema under ``strict``: every object closed, every property required."""
    if isinstance(schema, list):
        return next((wrong for one in schema if (wrong := _not_strict(one, path))), "")
    if not isinstance(schema, Mapping):
        return ""
    named = schema.get("properties")
    if isinstance(named, Mapping):
        if schema.get("additionalProperties") is not False:
            return f"In {path}, 'additionalProperties' is required to be supplied and to be false."
        if missing := set(named) - set(schema.get("required", ())):
            return f"In {path}, 'required' must include every key in properties. Missing '{min(missing)}'."
        for name, one in named.items():
            if wrong := _not_strict(one, f"{path}.{name}"):
                return wrong
    inner = [schema.get(word) for word in ("items", "anyOf")]
    return next((wrong for one in inner if (wrong := _not_strict(one, path))), "")


def _model_card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "local"}


def _error(status: int, message: str, code: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": code, "param": None, "code": code}}, status)
