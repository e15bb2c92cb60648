"""``openai.chat``: a language model's answer, as text or as data that fits a schema."""

from typing import Any, Literal

from pydantic import Field, model_validator

from nexusflow.connectors.base import Action, ActionModel, StepContext


class ChatMessage(ActionModel):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "developer"] = Field(description="Who says it.")
    content: str = Field(description="What is said.")


class ChatInput(ActionModel):
    """What to ask which model: a prompt, or a whole conversation."""

    model: str = Field(description="The model's name.", min_length=1, max_length=200)
    prompt: str | None = Field(default=None, description="The question. Give this or messages.")
    system: str | None = Field(default=None, description="Instructions that stand before the prompt or the messages.")
    messages: list[ChatMessage] = Field(default_factory=list, description="A conversation, instead of prompt.")
    answer_schema: dict[str, Any] | None = Field(
        default=None,
        alias="schema",
        description="A JSON Schema: the model must answer with data that fits it. Every object in it needs "
        "additionalProperties: false and all its properties under required.",
    )
    temperature: float | None = Field(default=None, description="0 is steady, 2 is wild.", ge=0, le=2)
    max_tokens: int | None = Field(default=None, description="The longest answer, in tokens.", ge=1)

    @model_validator(mode="after")
    def _one_question(self) -> "ChatInput":
        if (self.prompt is None) == (not self.messages):
            raise ValueError("give prompt or messages, one of the two")
        return self


class ChatUsage(ActionModel):
    """What the call cost, in tokens."""

    prompt_tokens: int = Field(description="Tokens read.")
    completion_tokens: int = Field(description="Tokens written.")
    total_tokens: int = Field(description="Both together.")


class ChatOutput(ActionModel):
    """The model's answer."""

    text: str = Field(description="The answer as text.")
    data: Any = Field(description="The answer as data, where a schema was given; else null.")
    model: str = Field(description="The model that answered.")
    usage: ChatUsage = Field(description="What the call cost.")
    finish_reason: str = Field(description="Why the model stopped.")


def chat(context: StepContext, given: ChatInput) -> ChatOutput:
    """Ask the model once; raises Permanent for a refusal, a cut answer and one that does not fit the schema."""
    from nexusflow.connectors.openai.chat import complete  # noqa: PLC0415  the SDK loads slowly

    return complete(context, given)


OPENAI_CHAT = Action(
    name="openai.chat",
    queue="integration",
    input=ChatInput,
    output=ChatOutput,
    run=chat,
    summary="Ask a language model, for text or for data that fits a schema.",
    connection="openai",
)
