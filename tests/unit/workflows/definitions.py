"""Short ways to write definitions in tests of the compiler."""

from typing import Any

from nexusflow.workflows.language.definition import ActionInfo, Definition
from nexusflow.workflows.planning.plan import Plan, compile_plan

CATALOGUE = {
    info.name: info
    for info in (
        ActionInfo("csv.read", {}, queue="workflow"),
        ActionInfo("http.request", {}, queue="integration"),
        ActionInfo("email.send", {}, queue="notification"),
        ActionInfo("transform", {}, queue="any", pure=True),
    )
}
QUEUES = {"w": "csv.read", "i": "http.request", "n": "email.send", "t": "transform"}


def step(name: str, kind: str = "w", needs: str = "", **more: Any) -> dict[str, Any]:
    """A step of an action on the queue that ``kind`` stands for (t: a transform, which runs anywhere)."""
    return {"id": name, "type": QUEUES[kind], "needs": needs.split(), **more}


def foreach(name: str, *steps: dict[str, Any], needs: str = "", **more: Any) -> dict[str, Any]:
    """A foreach over a list of three."""
    return {"id": name, "type": "foreach", "needs": needs.split(), "with": {"items": [1, 2, 3]}, "steps": steps, **more}


def switch(name: str, *branches: list[dict[str, Any]], needs: str = "", **more: Any) -> dict[str, Any]:
    """A switch with a case for each branch."""
    cases = [{"when": True, "steps": branch} for branch in branches]
    return {"id": name, "type": "switch", "needs": needs.split(), "cases": cases, **more}


def define(*steps: dict[str, Any], **more: Any) -> Definition:
    """A definition of these steps."""
    return Definition.model_validate({"nexusflow": "1", "name": "test", "steps": steps, **more})


def compiled(*steps: dict[str, Any], **more: Any) -> Plan:
    """The plan of a definition of these steps."""
    return compile_plan(define(*steps, **more), CATALOGUE)
