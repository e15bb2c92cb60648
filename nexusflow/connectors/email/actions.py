"""``email.send``: one message to some people."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from nexusflow.connectors.base import Action, ActionModel, StepContext


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Addresses = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class SendInput(ActionModel):
    """The message: a text, an HTML version, or both."""

    to: Addresses = Field(description="The recipients: an address or a list of them.", min_length=1, max_length=100)
    cc: Addresses = Field(default_factory=list, description="Who gets a copy.", max_length=100)
    subject: str = Field(description="The subject, on one line.", max_length=500)
    text: str | None = Field(default=None, description="The message as plain text.")
    html: str | None = Field(default=None, description="The message as HTML.")
    sender: str | None = Field(
        default=None, alias="from", description="The sender; default: the connection's.", max_length=320
    )
    reply_to: str | None = Field(default=None, description="Where answers go.", max_length=320)


class RefusedRecipient(ActionModel):
    """A recipient the server did not take."""

    address: str = Field(description="The recipient.")
    code: int = Field(description="The server's reply code.")
    reason: str = Field(description="What the server said.")


class SendOutput(ActionModel):
    """What became of the message."""

    message_id: str = Field(description="The message's id; the same on every attempt of the step.")
    accepted: list[str] = Field(description="Recipients the server took.")
    refused: list[RefusedRecipient] = Field(description="Recipients it did not take.")


def send(context: StepContext, given: SendInput) -> SendOutput:
    """Send the message; raises when no recipient was taken. A repeat carries the same Message-ID."""
    from nexusflow.connectors.email.smtp import deliver  # noqa: PLC0415  alike in every connector

    return deliver(context, given)


EMAIL_SEND = Action(
    name="email.send",
    queue="notification",
    input=SendInput,
    output=SendOutput,
    run=send,
    summary="Send an e-mail.",
    connection="email",
)
