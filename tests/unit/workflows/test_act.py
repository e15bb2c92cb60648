"""One attempt of one action: the connection it is given, and outputs that cannot be kept."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from nexusflow.connectors.base import Action, ActionModel, StepContext
from nexusflow.errors import Permanent
from nexusflow.settings import Settings, use_settings
from nexusflow.workflows.engine import act
from nexusflow.workflows.engine.act import Place, perform
from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.planning.plan import StepPlan, compile_plan
from nexusflow.workflows.saved.catalogue import catalogue

PLACE = Place(tenant="local", run="run", step="fetch", item="", attempt=1)
SMTP = {"host": "smtp.example", "username": "ada", "password": "pw"}


class AnyInput(ActionModel):
    """Nothing is asked."""


class AnyOutput(ActionModel):
    """Whatever came."""

    value: Any


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    use_settings(Settings(connections={"email": SMTP, "shop": {"base_url": "https://shop.example", "token": "t0p"}}))
    yield
    use_settings(None)


def fetch(connection: str, url: str) -> StepPlan:
    text = f"""
nexusflow: "1"
name: case
steps:
  - {{id: fetch, type: http.request, connection: {connection}, with: {{url: "{url}"}}}}
"""
    definition = parse_definition(text, catalogue())
    return compile_plan(definition, catalogue()).steps["fetch"]


def failure(plan: StepPlan) -> Permanent:
    with pytest.raises(Permanent) as caught:
        perform(plan.spec, PLACE, {"input": {}, "steps": {}}, lambda *_: pytest.fail("no file is asked for"))
    return caught.value


@pytest.mark.parametrize(
    ("connection", "code", "said"),
    [
        ("shop", "ORIGIN_REFUSED", "the request goes to https://evil.example:443"),
        ("email", "CREDENTIAL_MISSING", "NEXUSFLOW_CONNECTIONS__EMAIL__BASE_URL"),
        ("shopp", "CREDENTIAL_MISSING", "'shopp' is not in the settings. Set NEXUSFLOW_CONNECTIONS__SHOPP__BASE_URL"),
    ],
)
def test_a_request_takes_the_connection_its_step_names(connection: str, code: str, said: str) -> None:
    error = failure(fetch(connection, "https://evil.example/"))
    assert error.code == code
    assert said in f"{error.message} {error.hint}"


@pytest.mark.parametrize("as_model", [True, False])
@pytest.mark.parametrize("value", [orjson.loads(b"[" * 900 + b"]" * 900), {"n": 2**70}, {"o": object()}])
def test_an_output_that_is_no_json_is_said(monkeypatch: pytest.MonkeyPatch, value: Any, *, as_model: bool) -> None:
    def run(_context: StepContext, _given: AnyInput) -> Any:
        return AnyOutput(value=value) if as_model else value

    action = Action("demo.act", "any", AnyInput, AnyOutput, run, "Give a value.")
    monkeypatch.setattr(act, "get_action", {"demo.act": action}.__getitem__)
    spec = {"type": "demo.act", "timeout": 5.0}
    assert failure(StepPlan("act", "", spec, (), (), pure=False)).code == "VALUE_NOT_STORABLE"
