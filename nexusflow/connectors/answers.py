"""What a vendor's answer means for a step: one reading of HTTP statuses and Retry-After for every connector."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from nexusflow.errors import Permanent, StepError, Transient

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT = 86_400.0
SHOWN_CHARACTERS = 500


def is_passing(status: int) -> bool:
    """Whether an answer with this status may be different next time."""
    return status in PASSING or status >= 500


def seconds_to_wait(headers: Mapping[str, str] | None) -> float | None:
    """Seconds that ``Retry-After`` asks to wait (a number or an HTTP date, RFC 9110 §10.2.3); None without one."""
    value = next((text for name, text in (headers or {}).items() if name.lower() == "retry-after"), "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(0.0, seconds), LONGEST_WAIT) if math.isfinite(seconds) else None


def shorten(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """The text as an error shows it: on one line, without NUL, at most ``limit`` characters."""
    line = " ".join(text.replace("\0", "␀").split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def refusal(
    vendor: str, connection: str, status: int, headers: Mapping[str, str] | None = None, message: str = ""
) -> StepError:
    """The error for an answer of ``vendor`` that is not a success."""
    said = f" and said: {shorten(message)}" if message else ""
    if is_passing(status):
        code = "RATE_LIMITED" if status == 429 else "VENDOR_UNAVAILABLE"
        return Transient(code, f"{vendor} answered {status}{said}.", retry_in=seconds_to_wait(headers))
    if status in (401, 403):
        return Permanent(
            "CREDENTIAL_REFUSED",
            f"{vendor} refused the credentials of the connection '{connection}' ({status}){said}.",
            "Check that they are current and may do this.",
        )
    return Permanent("VENDOR_REFUSED", f"{vendor} answered {status}{said}.", "Check the step's input.")


def no_answer(vendor: str, reason: object, *, timed_out: bool) -> Transient:
    """The error for a call that got no answer at all."""
    if timed_out:
        return Transient("VENDOR_TIMEOUT", f"{vendor} did not answer before the step's timeout.")
    return Transient("VENDOR_UNREACHABLE", f"The connection to {vendor} failed: {shorten(str(reason), 200)}.")


def certificate_fault(vendor: str, reason: object) -> Permanent:
    """The error for a TLS certificate that cannot be trusted."""
    return Permanent(
        "TLS_FAILED",
        f"No safe connection to {vendor}: {shorten(str(reason), 200)}.",
        "Check the address and the server's certificate.",
        cause="provider",
    )


def bad_address(connection: str, reason: object) -> Permanent:
    """The error for a connection whose address leads nowhere."""
    return Permanent(
        "CREDENTIAL_INVALID",
        f"The connection '{connection}' has an address that cannot be used: {shorten(str(reason), 200)}.",
        "Write it in full, with http:// or https://.",
    )


def causes(error: BaseException) -> Callable[[type[BaseException]], bool]:
    """A test whether an error, or what lies beneath it, is of a type: SDKs wrap what happened on the wire."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 10:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return lambda kind: any(isinstance(one, kind) for one in chain)
