"""Addresses as they may be written, and the origin that a request really goes to."""

import httpx2

from nexusflow.errors import Permanent

PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host as it is sent, port."""


def parse_url(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """The address; raises Permanent URL_INVALID for one that is not http(s) with a host and without a password."""
    try:
        url = base.join(text) if base is not None else httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise Permanent("URL_INVALID", f"'{text[:200]}' is not an address: {error}.") from None
    if url.scheme not in PORTS or not url.host or "%" in url.host:
        raise Permanent("URL_INVALID", f"'{text[:200]}' is not an http:// or https:// address.", "Write it in full.")
    if url.userinfo:
        raise Permanent(
            "URL_INVALID", "The address holds a user name or a password.", "Keep them in a connection instead."
        )
    return url


def origin_of(url: httpx2.URL) -> Origin:
    """What decides who gets the request, with the scheme's own port where the address names none."""
    port = PORTS[url.scheme] if url.port is None else url.port
    return url.scheme, url.raw_host.decode("ascii").lower(), port
