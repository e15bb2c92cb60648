"""The one table of actions. A new action is one line here."""

import difflib

from nexusflow.connectors.base import Action
from nexusflow.connectors.csv.actions import CSV_READ
from nexusflow.connectors.email.actions import EMAIL_SEND
from nexusflow.connectors.fail.actions import FAIL
from nexusflow.connectors.http.actions import HTTP_REQUEST
from nexusflow.connectors.hubspot.actions import HUBSPOT_UPSERT_CONTACT
from nexusflow.connectors.openai.actions import OPENAI_CHAT
from nexusflow.connectors.s3.actions import S3_PUT_OBJECT
from nexusflow.connectors.transform.actions import TRANSFORM
from nexusflow.errors import NotFound

TABLE = (
    CSV_READ,
    EMAIL_SEND,
    FAIL,
    HTTP_REQUEST,
    HUBSPOT_UPSERT_CONTACT,
    OPENAI_CHAT,
    S3_PUT_OBJECT,
    TRANSFORM,
)


def _by_name(table: tuple[Action, ...]) -> dict[str, Action]:
    named = {action.name: action for action in table}
    if len(named) != len(table):
        names = [action.name for action in table]
        raise ValueError(f"two actions are called {next(name for name in names if names.count(name) > 1)!r}")
    return named


_ACTIONS = _by_name(TABLE)


def get_action(name: str) -> Action:
    """The action of that name; raises NotFound with the nearest names."""
    action = _ACTIONS.get(name)
    if action is None:
        near = difflib.get_close_matches(name, _ACTIONS, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else "nexusflow actions, or GET /v2/actions, lists them."
        raise NotFound(f"There is no action '{name[:100]}'.", hint)
    return action


def actions() -> list[Action]:
    """Every action, by name."""
    return [_ACTIONS[name] for name in sorted(_ACTIONS)]
