"""All settings, read once from the environment (``NEXUSFLOW_*``). Nothing else reads the environment."""

from functools import lru_cache
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from nexusflow.errors import NexusError, Problem

CONTROL_ROLE = "nexusflow_control"
"""The login role that provisioning makes for the scheduling tables."""


class Settings(BaseSettings):
    """The frozen settings of one process. Sizes are bytes, times seconds."""

    model_config = SettingsConfigDict(
        env_prefix="NEXUSFLOW_", env_nested_delimiter="__", frozen=True, extra="ignore", env_ignore_empty=True
    )

    home: Path | None = None
    """Where an embedded cluster keeps its data; default: the nearest ``.nexusflow`` upward, else one here."""

    database_url: SecretStr | None = None
    """PostgreSQL as the runtime role (no power, bound by row-level security): ``postgresql://user:password@host:port/name``."""
    control_database_url: SecretStr | None = None
    """PostgreSQL as the control role, on scheduling tables alone; default: ``database_url`` with
    ``nexusflow_control`` as the user, and the same password."""
    owner_database_url: SecretStr | None = None
    """PostgreSQL as the owner of the schema; used by migrations only."""
    broker_url: SecretStr | None = None
    """RabbitMQ (``amqp://``) or Valkey/Redis (``redis://``)."""
    redis_url: SecretStr | None = None
    """The cache (Valkey or Redis): counts requests for the rate limit. Nothing that must last is kept in it."""
    storage_url: SecretStr | None = None
    """Where files and values over ``inline_bytes`` are kept: ``s3://bucket/prefix?endpoint_url=…&region=…``
    (credentials as boto3 finds them), ``file:///folder`` (one that all processes share); default: the database."""
    database_pool_size: int = Field(default=8, ge=1, le=500)
    """Database connections a process keeps for each of its two roles; for a moment it may open as many again."""

    tenant: str = "local"
    """The tenant the command line works for."""

    lease_seconds: float = Field(default=12.0, gt=0.5, le=300)
    """How long a claimed segment stays its worker's without a heartbeat."""
    heartbeat_seconds: float = Field(default=4.0, gt=0.1, le=100)
    """How often a worker renews the leases of what its pool runs."""
    sweep_seconds: float = Field(default=1.0, gt=0.05, le=60)
    """How often the dispatcher looks for expired leases and lost hints."""
    hint_seconds: float = Field(default=8.0, gt=0.5, le=600)
    """A published segment that nobody claimed for this long is published again (then twice as long, and so on)."""
    drain_seconds: float = Field(default=25.0, ge=0, le=86_400)
    """How long a worker that is told to end lets its running steps finish; what is left is then handed back to the
    queue. Keep it below what your supervisor waits before it kills (Kubernetes: 30)."""

    max_definition_bytes: int = Field(default=1_048_576, ge=1024)
    """The longest workflow definition accepted."""
    max_steps: int = Field(default=5_000, ge=1)
    """The most steps in one definition."""
    inline_bytes: int = Field(default=262_144, ge=1024, le=4_194_304)
    """Larger values are kept in the storage and passed by reference."""
    max_value_bytes: int = Field(default=16_777_216, ge=1024)
    """The largest input of a run, output of a step or list of a foreach, as JSON."""
    max_file_bytes: int = Field(default=134_217_728, ge=1024)
    """The largest file given as input."""
    max_items: int = Field(default=100_000, ge=1)
    """The most items of one foreach."""
    max_call_depth: int = Field(default=20, ge=1, le=1_000)
    """The most runs that call each other, one inside of the other."""
    max_error_bytes: int = Field(default=65_536, ge=4096, le=1_048_576)
    """The largest recorded error; of a larger one the details are left out and the message is shortened."""

    retention_days: int = Field(default=90, ge=1)
    """How long runs and their files are kept: a month's are dropped once its last day is this old and no run lives
    that was accepted in it or in the month after it."""

    max_running_runs: int = Field(default=0, ge=0)
    """The most runs of a tenant that run at the same time, further ones wait; 0: no limit. ``nexusflow tenants limit``
    says otherwise for one tenant."""
    max_queued_runs: int = Field(default=0, ge=0)
    """The most runs of a tenant that wait to start; a further one is refused with ``QUEUE_FULL``. 0: no limit.
    ``nexusflow tenants limit`` says otherwise for one tenant."""

    max_body_bytes: int = Field(default=8_388_608, ge=1024)
    """The largest body of a request."""
    max_depth: int = Field(default=64, ge=4, le=200)
    """How deeply the JSON of a request may be nested."""
    max_wait_seconds: float = Field(default=60.0, ge=0, le=600)
    """The longest ``?wait=`` of a request."""
    requests_per_minute: int = Field(default=60_000, ge=0)
    """Requests a tenant may send a minute; 0: no limit."""

    allow_private_addresses: str = ""
    """What ``http.request`` may reach beyond public addresses: empty, ``loopback`` or ``all``."""
    connections: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Credentials by connection: ``NEXUSFLOW_CONNECTIONS__OPENAI__API_KEY=…`` is ``["openai"]["api_key"]``."""

    log_level: str = "INFO"
    """The lowest level written to the log."""

    @model_validator(mode="after")
    def _derive_control_url(self) -> Self:
        if self.control_database_url is None and self.database_url is not None:
            derived = SecretStr(_as_role(self.database_url.get_secret_value(), CONTROL_ROLE))
            self.__dict__["control_database_url"] = derived  # frozen for everyone else
        return self


_chosen: list[Settings] = []


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read from the environment once. Raises NexusError for a value that cannot be."""
    if _chosen:
        return _chosen[-1]
    try:
        return Settings()
    except ValidationError as error:
        named = [(f"NEXUSFLOW_{'__'.join(map(str, each['loc']))}".upper(), each["msg"]) for each in _wrong(error)]
        raise _unreadable([f"{variable}: {message}" for variable, message in named]) from None
    except SettingsError as error:
        raise _unreadable([f"NEXUSFLOW_*: {error}"]) from None


def use_settings(settings: Settings | None) -> None:
    """From now on these are this process's settings (None: those of the environment), as for an embedded cluster's."""
    _chosen[:] = [] if settings is None else [settings]
    get_settings.cache_clear()


def _as_role(url: str, role: str) -> str:
    """The same database and password under another role; what is no URL stays as it is, for its reader to refuse."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if not parts.scheme:
        return url
    account, _, server = parts.netloc.rpartition("@")
    _, colon, password = account.partition(":")
    return parts._replace(netloc=f"{role}{colon}{password}@{server}").geturl()


def _wrong(error: ValidationError) -> list[ErrorDetails]:
    """Without the values, since they may be secrets."""
    return error.errors(include_input=False, include_url=False, include_context=False)


def _unreadable(messages: list[str]) -> NexusError:
    problems = [Problem("", None, None, "INVALID_SETTINGS", f"{message}.") for message in messages]
    return NexusError("INVALID_SETTINGS", "The settings cannot be used.", "Correct the variables.", 500, problems)
