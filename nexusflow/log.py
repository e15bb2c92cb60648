"""Structured logs: constant event names, keyword fields; one JSON object a line on standard error."""

import logging
import sys
import traceback
from pathlib import Path

import structlog

from nexusflow.settings import get_settings


def configure_logging() -> None:
    """Route structlog to standard error as JSON lines at the configured level."""
    level = logging.getLevelNamesMapping().get(get_settings().log_level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger that carries its module's name as the field ``component``."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


def crash_fields(error: BaseException) -> dict[str, object]:
    """What a log may tell of a crash at somebody's data: types and places. Messages and source lines quote values."""
    chain: list[dict[str, object]] = []
    seen: BaseException | None = error
    while seen is not None and len(chain) < 5:
        frames = traceback.extract_tb(seen.__traceback__)[-12:]
        places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        chain.append({"type": f"{type(seen).__module__}.{type(seen).__qualname__}", "places": places})
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return {"errors": chain}
