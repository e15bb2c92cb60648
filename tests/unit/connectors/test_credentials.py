"""Credentials of a connection and the one origin they are sent to."""

import time

import pytest

from nexusflow.connectors.base import StepContext
from nexusflow.connectors.http.actions import HttpRequestInput
from nexusflow.connectors.http.credentials import addressed
from nexusflow.connectors.http.messages import first_message
from nexusflow.connectors.http.origins import origin_of, parse_url
from nexusflow.errors import Permanent

SHOP = {"base_url": "https://shop.example", "token": "t0p"}


def context(name: str = "shop", allow: str = "", **connection: str) -> StepContext:
    return StepContext(
        tenant_id="local",
        run_id="run",
        step="step",
        item="",
        attempt=1,
        idempotency_key="run/step",
        deadline=time.monotonic() + 5,
        connection_name=name,
        connection=connection,
        allow_private_addresses=allow,
    )


def refusal(where: StepContext, url: str) -> Permanent:
    with pytest.raises(Permanent) as caught:
        addressed(where, url)
    return caught.value


@pytest.mark.parametrize(
    ("url", "goes_to"),
    [
        ("https://shop.example/items", "https://shop.example/items"),
        ("HTTPS://SHOP.example:443/items?a=1", "https://shop.example/items?a=1"),
        ("/items?a=1", "https://shop.example/items?a=1"),
        ("/a/../b", "https://shop.example/b"),
    ],
)
def test_the_origins_own_addresses_get_the_credentials(url: str, goes_to: str) -> None:
    address, headers = addressed(context(**SHOP), url)
    assert headers == {"authorization": "Bearer t0p"}
    assert (origin_of(address), address.raw_path) == (origin_of(parse_url(goes_to)), parse_url(goes_to).raw_path)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "http://shop.example/",
        "https://shop.example:8443/",
        "https://shop.example.evil.example/",
        "https://api.shop.example/",
        "https://shop.example./",
        "//evil.example/items",
    ],
)
def test_no_other_origin_gets_them(url: str) -> None:
    error = refusal(context(**SHOP), url)
    assert error.code in ("ORIGIN_REFUSED", "URL_INVALID")
    assert "t0p" not in str(error.as_dict())


def test_the_refusal_names_both_origins() -> None:
    error = refusal(context(**SHOP), "https://[2001:db8::1]/x?secret=1")
    assert error.message == (
        "The connection 'shop' is for https://shop.example:443 only, and the request goes to https://[2001:db8::1]:443."
    )


def test_a_connection_for_something_else_sends_nothing() -> None:
    error = refusal(context("email", host="smtp.example", username="ada", password="pw"), "https://evil.example/")
    assert (error.code, error.message) == ("CREDENTIAL_MISSING", "The connection 'email' has no 'base_url'.")
    assert error.hint.startswith("Set NEXUSFLOW_CONNECTIONS__EMAIL__BASE_URL,")


def test_a_connection_nobody_set_is_said() -> None:
    error = refusal(context("shop"), "https://shop.example/")
    assert (error.code, error.message) == ("CREDENTIAL_MISSING", "The connection 'shop' is not in the settings.")
    assert "NEXUSFLOW_CONNECTIONS__SHOP__BASE_URL" in error.hint


@pytest.mark.parametrize(
    ("base_url", "allow"),
    [
        ("shop.example", ""),
        ("ftp://shop.example", ""),
        ("https://ada:pw@shop.example", ""),
        ("https://shop.example/v1", ""),
        ("https://shop.example?a=1", ""),
        ("http://shop.example", "all"),
        ("http://10.0.0.1", "all"),
        ("http://127.0.0.1:8000", ""),
    ],
)
def test_a_base_url_is_an_encrypted_origin(base_url: str, allow: str) -> None:
    error = refusal(context(allow=allow, base_url=base_url, token="t0p"), "/items")
    assert error.code == "CREDENTIAL_INVALID"
    assert "NEXUSFLOW_CONNECTIONS__SHOP__BASE_URL" in error.hint
    assert "pw" not in str(error.as_dict())


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000/"])
@pytest.mark.parametrize("allow", ["loopback", "all"])
def test_loopback_needs_no_encryption_where_it_is_allowed(base_url: str, allow: str) -> None:
    assert addressed(context(allow=allow, base_url=base_url), "/items")[0].path == "/items"


def test_without_a_connection_nothing_is_added() -> None:
    assert addressed(context(""), "https://anywhere.example/") == (parse_url("https://anywhere.example/"), {})
    assert refusal(context(""), "/items").code == "URL_INVALID"


def test_every_kind_of_credential_stays_behind_when_a_redirect_leaves() -> None:
    connection = {"base_url": "https://shop.example", "username": "ada", "header_X_Api_Key": "k", "header_tenant": "7"}
    first = first_message(context(**connection), HttpRequestInput(url="/items", headers={"Cookie": "c", "X-Note": "n"}))
    secret = {"authorization", "x-api-key", "tenant", "cookie"}
    assert secret <= first.headers.keys()
    assert secret <= first.redirected(307, "https://shop.example:443/more").headers.keys()
    for elsewhere in ("https://evil.example/", "http://shop.example/", "https://shop.example:8443/", "//evil.example/"):
        away = first.redirected(307, elsewhere)
        assert not secret & away.headers.keys()
        assert not secret & away.redirected(307, "https://shop.example/back").headers.keys()
        assert away.headers["x-note"] == "n"


def test_an_origin_knows_its_schemes_port_and_the_name_that_is_sent() -> None:
    assert origin_of(parse_url("https://B\u00fccher.example")) == ("https", "xn--bcher-kva.example", 443)
    assert origin_of(parse_url("http://a.example")) == origin_of(parse_url("http://a.example:80/x"))
