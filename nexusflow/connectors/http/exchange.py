"""One request and its answer: redirects followed under guard, errors named for who has to act."""

import ssl
from http import HTTPStatus

import httpcore2
import httpx2

from nexusflow.connectors.answers import (
    causes,
    certificate_fault,
    is_passing,
    no_answer,
    seconds_to_wait,
    shorten,
)
from nexusflow.connectors.base import StepContext
from nexusflow.connectors.http.actions import HttpRequestInput, HttpRequestOutput
from nexusflow.connectors.http.bodies import decode_body, read_bounded
from nexusflow.connectors.http.messages import Message, first_message
from nexusflow.connectors.http.transport import send
from nexusflow.errors import Permanent, StepError, Transient

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def exchange(context: StepContext, given: HttpRequestInput) -> HttpRequestOutput:
    """Send the request, follow its redirects and judge the answer; raises Transient or Permanent."""
    message = first_message(context, given)
    for _ in range(MAX_REDIRECTS + 1):
        answer, location = _send_once(context, message)
        if not (given.follow_redirects and answer.status in REDIRECTS and location):
            return _judge(answer, given)
        message = message.redirected(answer.status, location)
    raise Permanent("HTTP_REDIRECTS", f"More than {MAX_REDIRECTS} redirects from {given.url}.", "Check the address.")


def _send_once(context: StepContext, message: Message) -> tuple[HttpRequestOutput, str]:
    url = message.url
    wire = httpcore2.Request(
        message.method,
        httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=message.wire_headers(),
        content=message.content,
    )
    try:
        with send(context.allow_private_addresses, wire, context.remaining()) as response:
            headers = httpx2.Headers(response.headers)
            content = read_bounded(response, headers.get("content-encoding", ""))
    except StepError:
        raise
    except Exception as error:
        raise _failure(url.host, error) from error
    body, encoding = decode_body(content, headers.get("content-type", ""), strict=response.status < 300)
    shown = HttpRequestOutput(status=response.status, headers=dict(headers), body=body, encoding=encoding, url=str(url))
    return shown, headers.get("location", "")


def _judge(answer: HttpRequestOutput, given: HttpRequestInput) -> HttpRequestOutput:
    if answer.status < 300 or answer.status in given.allow_status:
        return answer
    phrase = HTTPStatus(answer.status).phrase if answer.status in HTTPStatus._value2member_map_ else ""
    said = f"The server answered {answer.status} {phrase}".rstrip() + "."
    details = {"status": answer.status, "body": shorten(str(answer.body)) if answer.encoding != "base64" else ""}
    if is_passing(answer.status):
        raise Transient("HTTP_STATUS", said, details=details, retry_in=seconds_to_wait(answer.headers))
    hint = "If this answer is fine, list it under allow_status."
    raise Permanent("HTTP_STATUS", said, hint, details=details)


def _failure(host: str, error: Exception) -> StepError:
    beneath = causes(error)
    if beneath(ssl.SSLError) and not beneath(TimeoutError):
        return certificate_fault(f"'{host}'", error)
    if isinstance(error, httpcore2.TimeoutException):
        return no_answer(f"'{host}'", error, timed_out=True)
    if isinstance(error, (httpcore2.LocalProtocolError, ValueError)):
        return Permanent("HTTP_REQUEST_INVALID", f"The request cannot be sent: {shorten(str(error), 200)}.")
    if isinstance(error, (httpcore2.NetworkError, httpcore2.ProtocolError, OSError)):
        return no_answer(f"'{host}'", error, timed_out=False)
    raise error
