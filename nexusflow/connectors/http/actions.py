"""``http.request``: one HTTP request to an address outside."""

from typing import Any, Literal

from pydantic import Field

from nexusflow.connectors.base import Action, ActionModel, StepContext


class HttpRequestInput(ActionModel):
    """The request to send."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = Field(
        default="GET", description="The HTTP method."
    )
    url: str = Field(
        description="The whole address, with http:// or https://; or a path (/…) at the step's connection.",
        min_length=1,
        max_length=8_192,
    )
    headers: dict[str, str] = Field(default_factory=dict, description="Headers to send.")
    query: dict[str, str | int | float | bool | list[str | int | float | bool] | None] = Field(
        default_factory=dict, description="Query parameters, added to the address; null ones are left out."
    )
    body: Any = Field(default=None, description="A value to send as JSON.")
    text: str | None = Field(default=None, description="Text to send as it is, instead of body.")
    allow_status: list[int] = Field(
        default_factory=list, description="Statuses from 300 on that are no error, such as 404."
    )
    follow_redirects: bool = Field(default=True, description="Follow up to five redirects.")


class HttpRequestOutput(ActionModel):
    """What the server answered."""

    status: int = Field(description="The HTTP status.")
    headers: dict[str, str] = Field(description="The answer's headers; names in lower case.")
    body: Any = Field(description="The answer: a JSON value, text, or base64 for other content (see encoding).")
    encoding: Literal["json", "text", "base64", "none"] = Field(description="What body is.")
    url: str = Field(description="The address that answered, after redirects.")


def request(context: StepContext, given: HttpRequestInput) -> HttpRequestOutput:
    """Send the request; a 4xx is Permanent, 408, 425, 429, 5xx and a missing answer Transient."""
    from nexusflow.connectors.http.exchange import exchange  # noqa: PLC0415  the HTTP library loads slowly

    return exchange(context, given)


HTTP_REQUEST = Action(
    name="http.request",
    queue="integration",
    input=HttpRequestInput,
    output=HttpRequestOutput,
    run=request,
    summary="Send an HTTP request and read the answer.",
    connection="",
)
