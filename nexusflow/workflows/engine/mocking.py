"""What a step gives instead of being done, in a run that was started with mocks."""

from typing import Any

from nexusflow.errors import Permanent
from nexusflow.workflows.engine.act import storable
from nexusflow.workflows.engine.reading import Reading
from nexusflow.workflows.planning.plan import StepPlan


def mocked(reading: Reading, plan: StepPlan, item: str) -> Any:
    """The output that the step's ``mock`` gives. Raises Permanent: the mock's error, or what its expressions raise."""
    mock = plan.spec["mock"]
    if (error := mock["error"]) is not None:
        raise Permanent(error["code"], error["message"], "This is the error of the step's mock.", cause=error["cause"])
    return storable(reading.resolve(mock["output"], plan.refs, item))
