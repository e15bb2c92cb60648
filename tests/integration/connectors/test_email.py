"""``email.send`` through smtplib against the local vendor."""

import time
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from pydantic import ValidationError

from nexusflow.connectors.email.actions import SendInput, SendOutput, send
from nexusflow.errors import Permanent, StepError, Transient
from tests.integration.connectors.conftest import Vendors


def write(vendors: Vendors, seconds: float = 10.0, sender: str = "", **given: Any) -> SendOutput:
    mail = {"to": "ada@example.com", "subject": "Hello", "text": "Hi", **given} | ({"from": sender} if sender else {})
    return send(vendors.context("email", seconds), SendInput.model_validate(mail))


def failure(vendors: Vendors, seconds: float = 10.0, **given: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        write(vendors, seconds, **given)
    return caught.value


def kept(vendors: Vendors, message_id: str) -> EmailMessage:
    (call,) = vendors.calls("smtp", "send", message_id)
    found = message_from_bytes((vendors.directory / "mail" / call["file"]).read_bytes(), policy=default)
    assert isinstance(found, EmailMessage)
    return found


def test_a_mail_arrives_whole(vendors: Vendors) -> None:
    sent = write(
        vendors,
        to=["Ada <ada@example.com>", "bob@example.com"],
        cc="cy@example.com",
        subject="Grüße: 3 leads ✓",
        text="Zeile\n.\nnoch eine: ü",
        html="<p>ü</p>",
        reply_to="desk@example.com",
        sender="Robot <robot@firm.example>",
    )
    mail = kept(vendors, sent.message_id)
    assert sent.accepted == ["ada@example.com", "bob@example.com", "cy@example.com"]
    assert (mail["Subject"], mail["From"], mail["Cc"]) == (
        "Grüße: 3 leads ✓",
        "Robot <robot@firm.example>",
        "cy@example.com",
    )
    assert sent.message_id.endswith("@firm.example>")
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().replace("\r\n", "\n").strip() == "Zeile\n.\nnoch eine: ü"
    assert html.get_content().strip() == "<p>ü</p>"


def test_a_repeat_of_a_step_carries_the_same_message_id(vendors: Vendors) -> None:
    context = vendors.context("email")
    given = SendInput(to=["ada@example.com"], subject="Hello", text="Hi")
    assert send(context, given).message_id == send(context, given).message_id
    assert write(vendors).message_id != send(context, given).message_id


def test_a_refused_recipient_is_reported_and_the_others_get_it(vendors: Vendors) -> None:
    sent = write(vendors, to=["ada@example.com", "gone@refused.example"])
    assert sent.accepted == ["ada@example.com"]
    assert [(one.address, one.code) for one in sent.refused] == [("gone@refused.example", 550)]
    assert isinstance(failure(vendors, to=["gone@refused.example"]), Permanent)


@pytest.mark.parametrize(("status", "kind"), [(451, Transient), (421, Transient), (554, Permanent)])
def test_replies_are_transient_or_permanent_by_their_class(vendors: Vendors, status: int, kind: type) -> None:
    vendors.fault("smtp", "status", status=status)
    assert isinstance(failure(vendors), kind)


def test_a_hang_and_a_drop_are_transient(vendors: Vendors) -> None:
    vendors.fault("smtp", "hang", seconds=30)
    started = time.monotonic()
    error = failure(vendors, seconds=0.5)
    assert isinstance(error, Transient)
    assert error.code == "VENDOR_TIMEOUT"
    assert time.monotonic() - started < 3
    vendors.fault("smtp", "drop")
    assert isinstance(failure(vendors), Transient)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"to": "ada@example.com\r\nBcc: eve@example.com"}, "ADDRESS_INVALID"),
        ({"to": "nobody"}, "ADDRESS_INVALID"),
        ({"subject": "Hello\nBcc: eve@example.com"}, "INPUT_INVALID"),
        ({"reply_to": "a@example.com, b@example.com"}, "ADDRESS_INVALID"),
        ({"text": None}, "INPUT_INVALID"),
    ],
)
def test_what_would_forge_a_header_is_refused(vendors: Vendors, given: dict[str, Any], code: str) -> None:
    assert failure(vendors, **given).code == code


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(vendors: Vendors) -> None:
    context = vendors.context("email", tls="starttls")
    with pytest.raises(Permanent, match="VENDOR_REFUSED"):
        send(context, SendInput(to=["ada@example.com"], subject="s", text="t"))


def test_a_missing_host_says_what_to_set(vendors: Vendors) -> None:
    with pytest.raises(Permanent, match="CREDENTIAL_MISSING"):
        send(vendors.context("email", host=""), SendInput(to=["ada@example.com"], subject="s", text="t"))


@pytest.mark.parametrize("to", [[], "", ["a@example.com"] * 101])
def test_recipients_are_one_to_a_hundred(vendors: Vendors, to: Any) -> None:
    with pytest.raises((ValidationError, Permanent)):
        write(vendors, to=to)
