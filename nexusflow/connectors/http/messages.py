"""What is sent: the address, the headers with the connection's credentials, the body; and again after a redirect."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import orjson

from nexusflow.connectors.base import StepContext
from nexusflow.connectors.http.actions import HttpRequestInput
from nexusflow.connectors.http.credentials import addressed
from nexusflow.connectors.http.origins import origin_of, parse_url
from nexusflow.errors import Permanent

OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"})
SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
USER_AGENT = "NexusFlow"


@dataclass(frozen=True)
class Message:
    """One request. ``secret``: names of the headers that must not leave the origin they were meant for."""

    method: str
    url: httpx2.URL
    headers: Mapping[str, str]
    content: bytes
    secret: frozenset[str]

    def wire_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as they are sent, with those that follow from the address and the body."""
        sent = {"host": self.url.netloc.decode("ascii"), "accept-encoding": "gzip", **self.headers}
        if self.content or self.method in ("POST", "PUT", "PATCH"):
            sent["content-length"] = str(len(self.content))
        return [(name.encode("ascii"), value.encode("utf-8")) for name, value in sent.items()]

    def redirected(self, status: int, location: str) -> "Message":
        """The request that follows a redirect: credentials stay behind when it leads to another origin."""
        url = parse_url(location, base=self.url)
        headers = dict(self.headers)
        if origin_of(url) != origin_of(self.url):
            headers = {name: value for name, value in headers.items() if name not in self.secret}
        rewritten = status == 303 or (status in (301, 302) and self.method == "POST")
        if not rewritten or self.method in ("GET", "HEAD"):
            return replace(self, url=url, headers=headers)
        kept = {name: value for name, value in headers.items() if name not in ("content-type", "idempotency-key")}
        return replace(self, method="GET", url=url, headers=kept, content=b"")


def first_message(context: StepContext, given: HttpRequestInput) -> Message:
    """The request as its author wrote it, with the connection's credentials and the idempotency key."""
    if given.text is not None and given.body is not None:
        raise Permanent("HTTP_REQUEST_INVALID", "A request has a body or a text, not both.", "Remove one of them.")
    url, credentials = addressed(context, given.url)
    headers = {"user-agent": USER_AGENT, "accept": "*/*"}
    content = b""
    if given.body is not None:
        content, headers["content-type"] = _json(given.body), "application/json"
    elif given.text is not None:
        content, headers["content-type"] = given.text.encode("utf-8"), "text/plain; charset=utf-8"
    if given.method not in ("GET", "HEAD"):
        headers["idempotency-key"] = context.idempotency_key
    headers |= credentials | {name.strip().lower(): value for name, value in given.headers.items()}
    for name, value in headers.items():
        _check_header(name, value)
    asked = {name: value for name, value in given.query.items() if value is not None}
    return Message(
        given.method, url.copy_merge_params(asked) if asked else url, headers, content, SECRET | credentials.keys()
    )


def _json(body: Any) -> bytes:
    try:
        return orjson.dumps(body)
    except (TypeError, ValueError) as error:
        raise Permanent("HTTP_REQUEST_INVALID", f"The body cannot be written as JSON: {error}.") from None


def _check_header(name: str, value: str) -> None:
    if name in OURS:
        raise Permanent("HTTP_REQUEST_INVALID", f"The header '{name}' is set by NexusFlow.", "Remove it.")
    if not HEADER_NAME.fullmatch(name) or any(letter in value for letter in "\r\n\0"):
        raise Permanent("HTTP_REQUEST_INVALID", f"The header '{name[:100]}' cannot be sent.", "Write it on one line.")
