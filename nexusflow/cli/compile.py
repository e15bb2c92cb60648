"""``nexusflow compile``."""

from nexusflow.cli import exits
from nexusflow.cli.console import print_text
from nexusflow.cli.sources import check_source, read_source, show_invalid
from nexusflow.errors import InvalidDefinition
from nexusflow.workflows.planning.plan import compile_plan
from nexusflow.workflows.reports.drawing import DrawingFormat, draw
from nexusflow.workflows.reports.phrases import limits
from nexusflow.workflows.saved.catalogue import catalogue


def show_plan(name: str, form: DrawingFormat) -> int:
    """Print what a file compiles to."""
    source = None
    try:
        source = read_source(name)
        definition = check_source(source)
    except InvalidDefinition as error:
        show_invalid(name, error, source.content if source else None)
        return exits.INVALID
    print_text(draw(compile_plan(definition, catalogue()), form, definition.name, limits(definition)))
    return exits.SUCCEEDED
