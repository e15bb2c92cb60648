"""``csv.read``: a table from a file, each row checked, each bad one reported."""

from nexusflow.connectors.base import Action, StepContext
from nexusflow.connectors.csv.shapes import CsvReadInput, CsvReadOutput
from nexusflow.errors import Permanent


def read(context: StepContext, given: CsvReadInput) -> CsvReadOutput:
    """The table; raises Permanent where the file as a whole cannot be read."""
    if context.open_file is None:
        raise Permanent("FILE_UNREADABLE", "This worker cannot open files.", "Run `nexusflow doctor`.", "platform")
    from nexusflow.connectors.csv.table import read_table  # noqa: PLC0415  the JSON Schema library loads slowly

    with context.open_file(given.file) as stream:
        return read_table(stream, given)


CSV_READ = Action(
    name="csv.read",
    queue="workflow",
    input=CsvReadInput,
    output=CsvReadOutput,
    run=read,
    summary="Read a CSV file and check its rows.",
    pure=True,
)
