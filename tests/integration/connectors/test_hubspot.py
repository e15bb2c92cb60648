"""``hubspot.upsert_contact`` through the real SDK against the local vendor."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hubspot import HubSpot

from nexusflow.connectors.hubspot.actions import UpsertContactInput, upsert_contact
from nexusflow.embedded.vendors import connections_for
from nexusflow.errors import Permanent, StepError, Transient
from tests.integration.connectors.conftest import Vendors


def fresh_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def failure(vendors: Vendors, seconds: float = 10.0) -> StepError:
    with pytest.raises(StepError) as caught:
        upsert_contact(vendors.context("hubspot", seconds), UpsertContactInput(email=fresh_email()))
    return caught.value


def test_a_contact_is_made_and_then_updated_in_place(vendors: Vendors) -> None:
    email = fresh_email()
    first = upsert_contact(
        vendors.context("hubspot"),
        UpsertContactInput(email=email, properties={"company": "Müller & Söhne", "employees": 12, "vip": True}),
    )
    again = upsert_contact(
        vendors.context("hubspot"), UpsertContactInput(email=email.upper(), properties={"company": None})
    )
    assert (first.created, again.created) == (True, False)
    assert first.id == again.id
    connection = connections_for(vendors.ports)["hubspot"]
    kept = HubSpot(**connection).crm.contacts.basic_api.get_by_id(first.id)
    assert kept.properties["company"] == "Müller & Söhne"
    assert (kept.properties["employees"], kept.properties["vip"]) == ("12", "true")


def test_the_idempotency_key_goes_along_as_trace_id(vendors: Vendors) -> None:
    context = vendors.context("hubspot")
    upsert_contact(context, UpsertContactInput(email=fresh_email()))
    assert len(vendors.calls("hubspot", "upsert_contact", context.idempotency_key)) == 1


def test_threads_share_a_client(vendors: Vendors) -> None:
    def one(_: int) -> str:
        return upsert_contact(vendors.context("hubspot"), UpsertContactInput(email=fresh_email())).id

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(one, range(64)))) == 64


def test_429_carries_the_wait_and_5xx_is_transient(vendors: Vendors) -> None:
    vendors.fault("hubspot", "status", status=429, retry_after=3)
    limited = failure(vendors)
    assert isinstance(limited, Transient)
    assert (limited.code, limited.retry_in) == ("RATE_LIMITED", 3.0)
    vendors.fault("hubspot", "status", status=502)
    assert isinstance(failure(vendors), Transient)


def test_a_hang_ends_within_the_deadline(vendors: Vendors) -> None:
    vendors.fault("hubspot", "hang")
    started = time.monotonic()
    error = failure(vendors, seconds=0.5)
    assert isinstance(error, Transient)
    assert error.code == "VENDOR_TIMEOUT"
    assert time.monotonic() - started < 3


def test_a_dropped_connection_and_a_closed_port_are_transient(vendors: Vendors, unused_port: int) -> None:
    vendors.fault("hubspot", "drop")
    assert isinstance(failure(vendors), Transient)
    away = vendors.context("hubspot", host=f"http://127.0.0.1:{unused_port}")
    with pytest.raises(Transient, match="VENDOR_UNREACHABLE"):
        upsert_contact(away, UpsertContactInput(email=fresh_email()))


def test_refusals_are_permanent(vendors: Vendors) -> None:
    vendors.fault("hubspot", "status", status=401)
    assert failure(vendors).code == "CREDENTIAL_REFUSED"
    with pytest.raises(Permanent, match=r"VENDOR_REFUSED.*no-address is invalid"):
        upsert_contact(vendors.context("hubspot"), UpsertContactInput(email="no-address"))


def test_a_server_that_speaks_no_tls_is_permanent(vendors: Vendors) -> None:
    wrong = vendors.context("hubspot", host=f"https://127.0.0.1:{vendors.ports['http']}")
    with pytest.raises(Permanent, match="TLS_FAILED"):
        upsert_contact(wrong, UpsertContactInput(email=fresh_email()))


def test_an_address_that_is_none_is_permanent(vendors: Vendors) -> None:
    with pytest.raises(Permanent, match="CREDENTIAL_INVALID"):
        upsert_contact(vendors.context("hubspot", host="nowhere"), UpsertContactInput(email=fresh_email()))
