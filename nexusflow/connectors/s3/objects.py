"""Objects through AWS's SDK."""

import base64
import binascii
import csv
import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import boto3
import botocore.session
import orjson
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    HTTPClientError,
    ParamValidationError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from nexusflow.connectors.answers import bad_address, certificate_fault, no_answer, refusal, shorten
from nexusflow.connectors.base import StepContext
from nexusflow.connectors.clients import ClientCache
from nexusflow.connectors.s3.actions import PutObjectInput, PutObjectOutput
from nexusflow.errors import Permanent, StepError, Transient

VENDOR = "The object store"
MEDIA_TYPES = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "base64": "application/octet-stream",
}
LONGEST_CALL = 60.0
CONNECTIONS = 64
BUSY = frozenset({"SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "InternalError", "ServiceUnavailable"})
_NOTHING = (None, None, None, None)


def _new_client(connection: Mapping[str, str]) -> Any:
    # The SDK takes timeouts only here, so a connection has a client per LONGEST_CALL and for what is shorter.
    seconds = float(connection["timeout"])
    # A profile or a config file of the person who started the worker has no say.
    own = botocore.session.Session(session_vars={"profile": _NOTHING, "config_file": _NOTHING})
    return boto3.session.Session(botocore_session=own).client(
        "s3",
        aws_access_key_id=connection["access_key_id"],
        aws_secret_access_key=connection["secret_access_key"],
        aws_session_token=connection.get("session_token") or None,
        endpoint_url=connection.get("endpoint_url") or None,
        region_name=connection.get("region") or "us-east-1",
        config=Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            s3={"addressing_style": "path"},
            connect_timeout=min(seconds, 10.0),
            read_timeout=seconds,
            max_pool_connections=CONNECTIONS,
            proxies={},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


_clients: ClientCache[Any] = ClientCache(_new_client, lambda client: client.close(), size=32)


def put(context: StepContext, given: PutObjectInput) -> PutObjectOutput:
    """Write one object; raises Transient or Permanent (BUCKET_MISSING where there is no such bucket)."""
    context.credential("access_key_id")
    context.credential("secret_access_key")
    content = _content(given)
    try:
        client = _clients.get({**context.connection, "timeout": str(_timeout(context.remaining()))})
        answer = client.put_object(
            Bucket=given.bucket,
            Key=given.key,
            Body=content,
            ContentType=given.content_type or MEDIA_TYPES[given.format],
            Metadata={"idempotency-key": quote(context.idempotency_key, safe="/-_.~")},
        )
    except ClientError as error:
        raise _refused(context, given, error) from error
    except BotoCoreError as error:
        raise _failure(error) from error
    except ValueError as error:
        raise bad_address(context.connection_name, error) from error
    return PutObjectOutput(
        bucket=given.bucket,
        key=given.key,
        etag=str(answer.get("ETag", "")).strip('"'),
        size=len(content),
        url=f"{client.meta.endpoint_url.rstrip('/')}/{given.bucket}/{quote(given.key)}",
    )


def _timeout(remaining: float) -> float:
    """The remaining seconds, rounded down to one of few steps, so that few clients serve every deadline."""
    steps = (LONGEST_CALL, 30.0, 15.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
    return next((step for step in steps if step <= remaining), 0.1)


def _content(given: PutObjectInput) -> bytes:
    if given.format == "json":
        return orjson.dumps(given.body, option=orjson.OPT_INDENT_2)
    if given.format == "csv":
        return _table(given.body)
    if not isinstance(given.body, str):
        raise Permanent("INPUT_INVALID", f"With format {given.format} the body is text.", "Use format: json.")
    if given.format == "text":
        return given.body.encode("utf-8")
    try:
        return base64.b64decode(given.body, validate=True)
    except binascii.Error as error:
        raise Permanent(
            "INPUT_INVALID", f"The body is no base64: {error}.", "Correct it, or use another format."
        ) from None


def _table(rows: Any) -> bytes:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Permanent("INPUT_INVALID", "With format csv the body is a list of objects.", "Use format: json.")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode("utf-8")


def _cell(value: Any) -> Any:
    return orjson.dumps(value).decode("utf-8") if isinstance(value, (dict, list, bool)) else value


def _refused(context: StepContext, given: PutObjectInput, error: ClientError) -> StepError:
    said = error.response.get("Error", {})
    code = str(said.get("Code", ""))
    answer = error.response.get("ResponseMetadata", {})
    status = int(answer.get("HTTPStatusCode") or 500)
    if code == "NoSuchBucket":
        return Permanent(
            "BUCKET_MISSING", f"There is no bucket '{given.bucket}'.", "Create it first, or name one that exists."
        )
    message = f"{code}: {said.get('Message', '')}"
    if code in BUSY and status < 500:
        return Transient("VENDOR_UNAVAILABLE", f"{VENDOR} answered {shorten(message)}")
    return refusal(VENDOR, context.connection_name, status, answer.get("HTTPHeaders"), message)


def _failure(error: BotoCoreError) -> StepError:
    if isinstance(error, SSLError):
        return certificate_fault(VENDOR, error)
    if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)):
        return no_answer(VENDOR, error, timed_out=True)
    if isinstance(error, (HTTPClientError, NoConnectionError)):
        return no_answer(VENDOR, error, timed_out=False)
    hint = "Check the step's input." if isinstance(error, ParamValidationError) else "Check the step's connection."
    return Permanent("VENDOR_REFUSED", f"The object cannot be stored: {shorten(str(error), 300)}.", hint)
