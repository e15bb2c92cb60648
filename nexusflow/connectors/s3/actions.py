"""``s3.put_object``: data kept as an object in a bucket."""

from typing import Any, Literal

from pydantic import Field

from nexusflow.connectors.base import Action, ActionModel, StepContext


class PutObjectInput(ActionModel):
    """The object, and how it is written."""

    bucket: str = Field(description="The bucket; it must exist.", min_length=3, max_length=63)
    key: str = Field(description="The object's name in the bucket.", min_length=1, max_length=1_024)
    body: Any = Field(description="The content: text, a value, a list of rows, or base64 (see format).")
    format: Literal["json", "text", "csv", "base64"] = Field(
        default="json",
        description="json writes any value; text a text as it is; csv a list of objects as a table; base64 bytes.",
    )
    content_type: str | None = Field(default=None, description="The media type; default: by format.", max_length=200)


class PutObjectOutput(ActionModel):
    """Where the object is."""

    bucket: str = Field(description="The bucket.")
    key: str = Field(description="The object's name.")
    etag: str = Field(description="The store's mark of the content.")
    size: int = Field(description="Its length in bytes.")
    url: str = Field(description="Its address; who may read it is the store's decision.")


def put_object(context: StepContext, given: PutObjectInput) -> PutObjectOutput:
    """Write the object, over an older one of that name; repeating it changes nothing more."""
    from nexusflow.connectors.s3.objects import put  # noqa: PLC0415  the SDK loads slowly

    return put(context, given)


S3_PUT_OBJECT = Action(
    name="s3.put_object",
    queue="integration",
    input=PutObjectInput,
    output=PutObjectOutput,
    run=put_object,
    summary="Put data into object storage that speaks S3.",
    connection="s3",
)
