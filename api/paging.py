"""What every list takes: a page by its number, or what follows a cursor."""

from pydantic import BaseModel, ConfigDict, Field

from nexusflow.workflows.rows.paging import MAX_PER_PAGE

MAX_PAGE = 2**31 - 1


class PageQuery(BaseModel):
    """The query of a list."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=MAX_PAGE, description="From 1. A page beyond the end is empty.")
    per_page: int = Field(20, ge=1, le=MAX_PER_PAGE)


class CursorQuery(PageQuery):
    """The query of a long list."""

    cursor: str | None = Field(None, max_length=1_000, description="`next_cursor` of the page before, as it is.")
