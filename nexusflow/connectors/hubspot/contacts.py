"""Contacts through HubSpot's SDK.

HubSpot knows no Idempotency-Key: an upsert by e-mail address is repeatable by itself, and the step's key goes
along as ``objectWriteTraceId``, which HubSpot hands back with the record.
"""

from collections.abc import Mapping
from typing import Any

import orjson
import urllib3
from hubspot import HubSpot
from hubspot.crm.contacts import BatchInputSimplePublicObjectBatchInputUpsert, SimplePublicObjectBatchInputUpsert
from hubspot.crm.contacts.exceptions import ApiException, OpenApiException

from nexusflow.connectors.answers import bad_address, causes, certificate_fault, no_answer, refusal, shorten
from nexusflow.connectors.base import StepContext
from nexusflow.connectors.clients import ClientCache
from nexusflow.connectors.hubspot.actions import UpsertContactInput, UpsertContactOutput
from nexusflow.errors import Permanent, StepError

CONNECTIONS = 64


def _new_batch_api(connection: Mapping[str, str]) -> Any:
    client = HubSpot(
        access_token=connection["access_token"],
        host=connection.get("host") or "https://api.hubapi.com",
        retry=urllib3.Retry(0, redirect=3),
        connection_pool_maxsize=CONNECTIONS,
    )
    # Each look at client.crm.contacts builds a new pool of connections: it is this object that is kept.
    return client.crm.contacts.batch_api


_clients: ClientCache[Any] = ClientCache(
    _new_batch_api, lambda batch_api: batch_api.api_client.rest_client.pool_manager.clear()
)


def upsert(context: StepContext, given: UpsertContactInput) -> UpsertContactOutput:
    """Make or update one contact by its e-mail address; raises Transient or Permanent."""
    context.credential("access_token")
    if not (context.connection.get("host") or "https://").startswith(("http://", "https://")):
        raise bad_address(context.connection_name, context.connection["host"])
    properties = {name: _text(value) for name, value in given.properties.items() if value is not None}
    contact = SimplePublicObjectBatchInputUpsert(
        id=given.email,
        id_property="email",
        object_write_trace_id=context.idempotency_key,
        properties={**properties, "email": given.email},
    )
    try:
        answer = _clients.get(context.connection).upsert(
            BatchInputSimplePublicObjectBatchInputUpsert(inputs=[contact]), _request_timeout=context.remaining()
        )
    except ApiException as error:
        raise _refused(context, error) from error
    except (urllib3.exceptions.HTTPError, OpenApiException, AttributeError) as error:
        raise _failure(context, error) from error
    if not answer.results:
        reasons = [str(one.message) for one in getattr(answer, "errors", None) or ()]
        raise Permanent(
            "VENDOR_REFUSED", f"HubSpot did not take the contact: {shorten('; '.join(reasons)) or 'no reason given'}."
        )
    return UpsertContactOutput(id=str(answer.results[0].id), created=bool(answer.results[0].new))


def _text(value: str | float | bool) -> str:
    """A property as HubSpot wants it: text, booleans as true and false."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refused(context: StepContext, error: ApiException) -> StepError:
    if not error.status:
        return certificate_fault("HubSpot", error.reason)
    try:
        message = str(orjson.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        message = str(error.body or "")
    return refusal("HubSpot", context.connection_name, error.status, error.headers, message)


def _failure(context: StepContext, error: Exception) -> StepError:
    # The SDK decodes an error's body even where there is none: a failed TLS handshake comes out as AttributeError.
    beneath = causes(error)
    if beneath(urllib3.exceptions.SSLError) or beneath(ApiException):
        return certificate_fault("HubSpot", error.__context__ or error)
    if isinstance(error, urllib3.exceptions.LocationValueError):
        return bad_address(context.connection_name, error)
    if isinstance(error, urllib3.exceptions.HTTPError):
        reason = getattr(error, "reason", None) or error
        late = beneath(urllib3.exceptions.TimeoutError) and not beneath(urllib3.exceptions.NewConnectionError)
        return no_answer("HubSpot", reason, timed_out=late)
    if isinstance(error, OpenApiException):
        return Permanent("VENDOR_REFUSED", f"HubSpot's answer cannot be used: {shorten(str(error))}.", cause="provider")
    raise error
