"""What is sent: the address, the headers with the connection's credentials, the body; and again after a redirect."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import httpx2
import orjson

from nexusflow.connectors.base import StepContext
from nexusflow.connectors.http.actions import HttpRequestInput
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
        if (url.scheme, url.host, url.port) != (self.url.scheme, self.url.host, self.url.port):
            headers = {name: value for name, value in headers.items() if name not in self.secret}
        rewritten = status == 303 or (status in (301, 302) and self.method == "POST")
        if not rewritten or self.method in ("GET", "HEAD"):
            return replace(self, url=url, headers=headers)
        kept = {name: value for name, value in headers.items() if name not in ("content-type", "idempotency-key")}
        return replace(self, method="GET", url=url, headers=kept, content=b"")


def parse_url(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """The address; raises Permanent URL_INVALID for one that is not http(s) with a host and without a password."""
    try:
        url = base.join(text) if base is not None else httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise Permanent("URL_INVALID", f"'{text[:200]}' is not an address: {error}.") from None
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host:
        raise Permanent("URL_INVALID", f"'{text[:200]}' is not an http:// or https:// address.", "Write it in full.")
    if url.userinfo:
        raise Permanent(
            "URL_INVALID", "The address holds a user name or a password.", "Keep them in a connection instead."
        )
    return url


def first_message(context: StepContext, given: HttpRequestInput) -> Message:
    """The request as its author wrote it, with the connection's credentials and the idempotency key."""
    if given.text is not None and given.body is not None:
        raise Permanent("HTTP_REQUEST_INVALID", "A request has a body or a text, not both.", "Remove one of them.")
    credentials = _credentials(context.connection)
    headers = {"user-agent": USER_AGENT, "accept": "*/*"}
    content = b""
    if given.body is not None:
        content, headers["content-type"] = orjson.dumps(given.body), "application/json"
    elif given.text is not None:
        content, headers["content-type"] = given.text.encode("utf-8"), "text/plain; charset=utf-8"
    if given.method not in ("GET", "HEAD"):
        headers["idempotency-key"] = context.idempotency_key
    headers |= credentials | {name.strip().lower(): value for name, value in given.headers.items()}
    for name, value in headers.items():
        _check_header(name, value)
    url = parse_url(given.url)
    asked = {name: value for name, value in given.query.items() if value is not None}
    return Message(
        given.method, url.copy_merge_params(asked) if asked else url, headers, content, SECRET | credentials.keys()
    )


def _credentials(connection: Mapping[str, str]) -> dict[str, str]:
    """Headers of a connection: ``token``, ``username`` with ``password``, and ``header_<name>`` (_ becomes -)."""
    headers = {
        name.removeprefix("header_").replace("_", "-").lower(): value
        for name, value in connection.items()
        if name.lower().startswith("header_")
    }
    if connection.get("token"):
        headers["authorization"] = f"Bearer {connection['token']}"
    elif connection.get("username"):
        pair = f"{connection['username']}:{connection.get('password', '')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")
    return headers


def _check_header(name: str, value: str) -> None:
    if name in OURS:
        raise Permanent("HTTP_REQUEST_INVALID", f"The header '{name}' is set by NexusFlow.", "Remove it.")
    if not HEADER_NAME.fullmatch(name) or any(letter in value for letter in "\r\n\0"):
        raise Permanent("HTTP_REQUEST_INVALID", f"The header '{name[:100]}' cannot be sent.", "Write it on one line.")
