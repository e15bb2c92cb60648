"""``hubspot.upsert_contact``: a contact, made or brought up to date by its e-mail address."""

from pydantic import Field

from nexusflow.connectors.base import Action, ActionModel, StepContext


class UpsertContactInput(ActionModel):
    """The contact."""

    email: str = Field(description="The address that names the contact.", min_length=3, max_length=320)
    properties: dict[str, str | int | float | bool | None] = Field(
        default_factory=dict, description="The contact's other properties, by their internal names; null ones stay."
    )


class UpsertContactOutput(ActionModel):
    """Where the contact is."""

    id: str = Field(description="The contact's id in HubSpot.")
    created: bool = Field(description="Whether the contact is new.")


def upsert_contact(context: StepContext, given: UpsertContactInput) -> UpsertContactOutput:
    """Make or update the contact; repeating it changes nothing more."""
    from nexusflow.connectors.hubspot.contacts import upsert  # noqa: PLC0415  the SDK loads slowly

    return upsert(context, given)


HUBSPOT_UPSERT_CONTACT = Action(
    name="hubspot.upsert_contact",
    queue="integration",
    input=UpsertContactInput,
    output=UpsertContactOutput,
    run=upsert_contact,
    summary="Create a contact in HubSpot, or update the one with that e-mail address.",
    connection="hubspot",
)
