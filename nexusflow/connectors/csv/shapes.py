"""What ``csv.read`` takes and gives."""

from typing import Any, Literal

from pydantic import Field

from nexusflow.connectors.base import ActionModel, FileRef


class CsvReadInput(ActionModel):
    """The file, how it is written, and what its rows must be like."""

    file: FileRef = Field(description="The file: an input given as @FILE.")
    delimiter: str = Field(default="auto", description="One character, or auto.", max_length=4)
    encoding: str = Field(
        default="auto", description="auto: by BOM, else UTF-8, line by line cp1252 where it is none.", max_length=50
    )
    trim: bool = Field(default=True, description="Remove white space around cells and column names.")
    lower: bool = Field(default=True, description="Column names in lower case, blanks to underscores.")
    rename: dict[str, str] = Field(
        default_factory=dict, description="New names of columns, by their names in the file (after trim and lower)."
    )
    row_schema: dict[str, Any] = Field(
        default_factory=dict,
        alias="schema",
        description="A JSON Schema each row must fit. Cells are text; a column that the schema calls integer, "
        "number or boolean is converted, and is null where its cell is empty.",
    )
    unique: list[str] = Field(
        default_factory=list, description="Columns that together name a row: a repeat (case ignored) is a bad row."
    )
    max_rows: int = Field(default=100_000, description="The most data rows a file may have.", ge=1, le=1_000_000)
    on_bad_row: Literal["collect", "fail"] = Field(
        default="collect", description="Report bad rows in rejected, or fail the step at the first one."
    )


class RejectedRow(ActionModel):
    """A row that did not pass."""

    line: int = Field(description="The line of the file where the row starts, from 1.")
    reason: str = Field(description="What is wrong with it.")
    row: list[str] = Field(description="Its cells, long ones cut.")


class CsvReadOutput(ActionModel):
    """The rows that passed, in file order, and those that did not."""

    rows: list[dict[str, Any]] = Field(description="The good rows: an object each, by column.")
    rejected: list[RejectedRow] = Field(description="The bad rows, in file order.")
    columns: list[str] = Field(description="The columns' names.")
    encoding: str = Field(description="What the file is encoded in; utf-8+cp1252 when its lines differ.")
    total: int = Field(description="Data rows seen, good and bad.")
