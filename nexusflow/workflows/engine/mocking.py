"""What a step gives instead of being done, in a run that was started with mocks."""

from collections.abc import Callable, Mapping
from typing import Any

from nexusflow.errors import Permanent
from nexusflow.workflows.engine.act import storable


def mocked_by(mock: Mapping[str, Any], resolve: Callable[[Any], Any]) -> Any:
    """The output that a step's ``mock`` gives; ``resolve`` works its expressions out.

    Raises Permanent: the mock's error, or what its expressions raise.
    """
    if (error := mock["error"]) is not None:
        raise Permanent(error["code"], error["message"], "This is the error of the step's mock.", cause=error["cause"])
    return storable(resolve(mock["output"]))
