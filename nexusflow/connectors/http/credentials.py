"""A connection's credentials, bound to one origin: data that chooses an address cannot lead them away."""

import base64
import ipaddress
from collections.abc import Mapping

import httpx2

from nexusflow.connectors.base import StepContext
from nexusflow.connectors.http.origins import origin_of, parse_url
from nexusflow.errors import Permanent


def addressed(context: StepContext, written: str) -> tuple[httpx2.URL, dict[str, str]]:
    """The request's address and the headers of the step's connection.

    A path ("/…") is one of the connection's ``base_url``. Raises Permanent: CREDENTIAL_MISSING and CREDENTIAL_INVALID
    for a connection without a usable ``base_url``, ORIGIN_REFUSED for an address at another origin than that.
    """
    if not context.connection_name:
        return parse_url(written), {}
    base = _base(context)
    url = parse_url(written, base=base) if written.startswith("/") else parse_url(written)
    if origin_of(url) != origin_of(base):
        raise Permanent(
            "ORIGIN_REFUSED",
            f"The connection '{context.connection_name}' is for {_shown(base)} only, and the request goes to "
            f"{_shown(url)}.",
            "Correct the address, or send the request without the connection.",
        )
    return url, _headers(context.connection)


def _base(context: StepContext) -> httpx2.URL:
    written = context.credential("base_url")
    try:
        base = parse_url(written)
    except Permanent:
        raise _unusable(context) from None
    if base.raw_path not in (b"", b"/") or base.fragment or not _is_safe(base, context.allow_private_addresses):
        raise _unusable(context)
    return base


def _is_safe(base: httpx2.URL, allowed: str) -> bool:
    """Credentials travel encrypted, or do not leave the machine."""
    if base.scheme == "https":
        return True
    if allowed not in ("loopback", "all"):
        return False
    try:
        return base.host == "localhost" or ipaddress.ip_address(base.host).is_loopback
    except ValueError:
        return False


def _unusable(context: StepContext) -> Permanent:
    return Permanent(
        "CREDENTIAL_INVALID",
        f"The 'base_url' of the connection '{context.connection_name}' is not https://host or https://host:port.",
        f"Correct {context.variable('base_url')}; http:// is for loopback only, where the deployment allows that.",
    )


def _shown(url: httpx2.URL) -> str:
    scheme, host, port = origin_of(url)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _headers(connection: Mapping[str, str]) -> dict[str, str]:
    """``token``, ``username`` with ``password``, and ``header_<name>`` (_ becomes -), as headers in lower case."""
    headers = {
        name.lower().removeprefix("header_").replace("_", "-"): value
        for name, value in connection.items()
        if name.lower().startswith("header_")
    }
    if connection.get("token"):
        headers["authorization"] = f"Bearer {connection['token']}"
    elif connection.get("username"):
        pair = f"{connection['username']}:{connection.get('password', '')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")
    return headers
