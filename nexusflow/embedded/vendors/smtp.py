"""SMTP: takes every message, keeps it as a file that any mail program opens."""

import asyncio
import hashlib
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from nexusflow.embedded.vendors.calls import CallLog
from nexusflow.embedded.vendors.faults import Faults

MOST_BYTES = 32 * 1024 * 1024


class MailKeeper:
    """What aiosmtpd calls for each recipient and each message."""

    def __init__(self, calls: CallLog, faults: Faults, directory: Path) -> None:
        self._calls, self._faults, self._directory = calls, faults, directory
        directory.mkdir(parents=True, exist_ok=True)

    async def handle_RCPT(  # noqa: N802  the name aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient; one at ``refused.example`` is not, as a mailbox that does not exist."""
        if address.lower().endswith("@refused.example"):
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  the name aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Keep a message, or fail as asked."""
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode("utf-8")
        message = message_from_bytes(content, policy=default)
        message_id = str(message["Message-ID"] or "")
        fault = self._faults.take("smtp")
        if fault is not None:
            self._calls.add("smtp", "fault", idempotency_key=message_id, kind=fault.kind)
            if fault.kind in ("hang", "delay"):
                await asyncio.sleep(fault.seconds)
            if fault.kind == "drop" and isinstance(server.transport, asyncio.WriteTransport):
                server.transport.abort()
            if fault.kind != "delay":
                return f"{fault.status if fault.kind == 'status' else 421} fault on demand"
        name = hashlib.sha256((message_id or repr(content)).encode("utf-8")).hexdigest()[:24] + ".eml"
        (self._directory / name).write_bytes(content)
        self._calls.add(
            "smtp",
            "send",
            idempotency_key=message_id,
            sender=envelope.mail_from,
            recipients=list(envelope.rcpt_tos),
            subject=str(message["Subject"] or ""),
            file=name,
        )
        return "250 OK"


async def serve_smtp(keeper: MailKeeper, port: int) -> asyncio.Server:
    """Listen on 127.0.0.1; port 0 takes a free one."""
    loop = asyncio.get_running_loop()

    def connected() -> SMTP:
        return SMTP(keeper, data_size_limit=MOST_BYTES, enable_SMTPUTF8=True, hostname="localhost", loop=loop)

    return await loop.create_server(connected, "127.0.0.1", port)
