"""Mail over SMTP: one connection a message, so that a hung server holds nobody else."""

import hashlib
import re
import smtplib
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, getaddresses

from nexusflow.connectors.answers import causes, certificate_fault, no_answer, shorten
from nexusflow.connectors.base import StepContext
from nexusflow.connectors.email.actions import RefusedRecipient, SendInput, SendOutput
from nexusflow.errors import Permanent, StepError, Transient

VENDOR = "The mail server"
DEFAULT_PORTS = {"starttls": 587, "ssl": 465, "none": 25}
ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+")


def deliver(context: StepContext, given: SendInput) -> SendOutput:
    """Hand the message to the connection's server; raises Transient (4yz, no answer) or Permanent."""
    context.credential("host")
    sender = _address(given.sender or context.credential("from"))
    recipients = [_address(one).addr_spec for one in (*given.to, *given.cc)]
    message = _compose(context, given, sender)
    unique = list(dict.fromkeys(recipients))
    try:
        with _connect(context) as server:
            refused = server.send_message(message, sender.addr_spec, unique)
    except smtplib.SMTPRecipientsRefused as error:
        code, reason = next(iter(error.recipients.values()))
        raise _replied(code, reason, "refused every recipient") from error
    except smtplib.SMTPAuthenticationError as error:
        raise _login_refused(context, error) from error
    except smtplib.SMTPResponseException as error:
        raise _replied(error.smtp_code, error.smtp_error, "refused the message") from error
    except smtplib.SMTPNotSupportedError as error:
        raise Permanent("VENDOR_REFUSED", f"{VENDOR} cannot do this: {error}", "Check tls and the address.") from error
    except ssl.SSLError as error:
        raise certificate_fault(VENDOR, error) from error
    except (smtplib.SMTPException, OSError) as error:
        raise no_answer(VENDOR, error, timed_out=causes(error)(TimeoutError)) from error
    return SendOutput(
        message_id=str(message["Message-ID"]),
        accepted=[one for one in unique if one not in refused],
        refused=[
            RefusedRecipient(address=one, code=code, reason=_readable(reason))
            for one, (code, reason) in refused.items()
        ],
    )


def _connect(context: StepContext) -> smtplib.SMTP:
    connection = context.connection
    tls = connection.get("tls", "starttls").lower()
    if tls not in DEFAULT_PORTS:
        raise Permanent(
            "CREDENTIAL_INVALID",
            f"The connection '{context.connection_name}' has tls '{tls}'.",
            "It is starttls, ssl or none.",
        )
    host, timeout = connection["host"], context.remaining()
    port = _port(context, connection.get("port") or str(DEFAULT_PORTS[tls]))
    if tls == "ssl":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=timeout, context=ssl.create_default_context())
    else:
        server = smtplib.SMTP(host, port, timeout=timeout)
    try:
        if tls == "starttls":
            server.starttls(context=ssl.create_default_context())
        if connection.get("username"):
            server.login(connection["username"], connection.get("password", ""))
    except BaseException:
        server.close()
        raise
    return server


def _port(context: StepContext, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise Permanent(
            "CREDENTIAL_INVALID", f"The connection '{context.connection_name}' has port '{text}'.", "Give a number."
        )
    return int(text)


def _compose(context: StepContext, given: SendInput, sender: Address) -> EmailMessage:
    if given.text is None and given.html is None:
        raise Permanent("INPUT_INVALID", "The message has no text.", "Give text, html or both.")
    if any(letter in given.subject for letter in "\r\n\0"):
        raise Permanent("INPUT_INVALID", "The subject has more than one line.", "Write it on one line.")
    everyone = (*given.to, *given.cc, sender.addr_spec, given.reply_to or "")
    message = EmailMessage(policy=SMTP if all(one.isascii() for one in everyone) else SMTPUTF8)
    message["From"] = sender
    message["To"] = [_address(one) for one in given.to]
    if given.cc:
        message["Cc"] = [_address(one) for one in given.cc]
    if given.reply_to:
        message["Reply-To"] = _address(given.reply_to)
    message["Subject"] = given.subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = message_id(context.idempotency_key, sender.domain)
    if given.text is not None:
        message.set_content(given.text)
    if given.html is not None and given.text is not None:
        message.add_alternative(given.html, subtype="html")
    elif given.html is not None:
        message.set_content(given.html, subtype="html")
    return message


def message_id(idempotency_key: str, domain: str) -> str:
    """The Message-ID of a step's mail: SMTP takes no key, but the same id lets a reader's program see a repeat."""
    digest = hashlib.sha256(idempotency_key.encode("utf-8")).hexdigest()[:40]
    return f"<{digest}@{domain.encode('idna').decode('ascii')}>"


def _address(text: str) -> Address:
    """``a@b.c`` or ``Name <a@b.c>``; raises Permanent ADDRESS_INVALID, also for one that would start a new header."""
    found = getaddresses([text])
    name, spec = found[0] if len(found) == 1 else ("", "")
    if any(ord(letter) < 32 for letter in text) or len(text) > 320 or not ADDRESS.fullmatch(spec):
        raise Permanent("ADDRESS_INVALID", f"'{shorten(text, 100)}' is no e-mail address.", "Correct it.")
    try:
        return Address(name, addr_spec=spec)
    except (ValueError, IndexError) as error:
        raise Permanent("ADDRESS_INVALID", f"'{shorten(text, 100)}' is no e-mail address: {error}.") from None


def _replied(code: int, reason: bytes | str, did: str) -> StepError:
    said = f"{VENDOR} {did} ({code}): {_readable(reason)}"
    if 400 <= code < 500 or code == -1:
        return Transient("VENDOR_UNAVAILABLE", said)
    return Permanent("VENDOR_REFUSED", said, "Check the addresses and the message.")


def _login_refused(context: StepContext, error: smtplib.SMTPAuthenticationError) -> StepError:
    if 400 <= error.smtp_code < 500:
        return _replied(error.smtp_code, error.smtp_error, "refused the login")
    return Permanent(
        "CREDENTIAL_REFUSED",
        f"{VENDOR} refused the login of the connection '{context.connection_name}': {_readable(error.smtp_error)}",
        "Check its username and password.",
    )


def _readable(reason: bytes | str) -> str:
    return shorten(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason, 300)
