"""The actions as the checks and the compiler see them: the bridge from the connectors to the pure files."""

from functools import lru_cache

from nexusflow.connectors.registry import actions
from nexusflow.workflows.language.definition import ActionInfo


@lru_cache(maxsize=1)
def _infos() -> dict[str, ActionInfo]:
    return {
        action.name: ActionInfo(
            name=action.name,
            input=action.input.model_json_schema(by_alias=True),
            queue=action.queue,
            pure=action.pure,
            connection=action.connection,
            summary=action.summary,
        )
        for action in actions()
    }


def catalogue() -> dict[str, ActionInfo]:
    """Every action by name; a new dict each time."""
    return dict(_infos())
