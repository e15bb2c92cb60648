"""API keys: a secret names a tenant for as long as it is good, and only its digest is kept."""

import datetime
import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from nexusflow.auth import keys
from nexusflow.auth.keys import authenticate, create_key, find_key, list_keys, revoke_key
from nexusflow.errors import ClusterUnusable, InvalidInput, NotFound, Unauthorized
from nexusflow.settings import Settings, use_settings
from tests.servers.databases import Database

HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def tenant(database: Database) -> Iterator[str]:
    use_settings(
        Settings(database_url=SecretStr(database.runtime_url), control_database_url=SecretStr(database.control_url))
    )
    keys._known.clear()
    yield str(database.tenant_a)
    use_settings(None)


def write(database: Database, statement: str, *values: Any) -> Any:
    with psycopg.connect(database.owner_url) as connection:
        return connection.execute(statement, values)


def read(database: Database, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.owner_url) as connection:
        return connection.execute(statement, values).fetchall()


def is_known(secret: str) -> bool:
    try:
        authenticate(secret)
    except Unauthorized:
        return False
    return True


def test_a_key_names_its_tenant(database: Database, tenant: str) -> None:
    key, secret = create_key(tenant, "  the shop ", expires_in=HOUR)
    who = authenticate(secret)
    assert (who.tenant, who.tenant_name, who.key_id, who.key_name) == (tenant, "tenant-a", key.id, "the shop")
    assert secret.startswith("nxf_")
    assert len(secret) == 47
    assert key.expires_at is not None
    assert key.expires_at - key.created_at == HOUR
    other, others_secret = create_key(str(database.tenant_b), "the shop")
    assert authenticate(others_secret).tenant == str(database.tenant_b)
    assert {each.id for each in list_keys(tenant)} == {key.id}
    with pytest.raises(NotFound):
        revoke_key(tenant, other.id)


def test_the_secret_is_kept_nowhere(database: Database, tenant: str) -> None:
    key, secret = create_key(tenant, "hidden")
    authenticate(secret)
    ((row,),) = read(database, "SELECT k::text FROM api_keys k WHERE id = %s", key.id)
    assert secret[4:20] not in row
    assert hashlib.sha256(secret.encode()).hexdigest() in row
    assert secret not in repr(key) + repr(list_keys(tenant)) + repr(authenticate(secret))


@pytest.mark.parametrize(
    "secret",
    ["", "nxf_", "nxf_" + "A" * 43, "Bearer nxf_x", "nxf_é", "nxf_\x00", "nxf_" + "x" * 1_000_000, "\ud800"],
    ids=lambda value: repr(value[:10]),
)
def test_what_is_no_key_is_refused_alike(tenant: str, secret: str) -> None:
    create_key(tenant, "real")
    with pytest.raises(Unauthorized) as refused:
        authenticate(secret)
    assert (refused.value.status, refused.value.code) == (401, "UNAUTHORIZED")
    assert secret[:20] not in str(refused.value) or len(secret) < 5


def test_a_revoked_key_dies_here_at_once_and_elsewhere_within_seconds(
    database: Database, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = create_key(tenant, "revoked")
    assert is_known(secret)
    revoked = revoke_key(tenant, key.id)
    assert revoked.state == "revoked"
    assert not is_known(secret)
    assert revoke_key(tenant, key.id).revoked_at == revoked.revoked_at, "the first time counts"
    monkeypatch.setattr(keys, "CACHE_SECONDS", 0.3)
    other, secret = create_key(tenant, "revoked elsewhere")
    assert is_known(secret)
    write(database, "UPDATE api_keys SET revoked_at = now() WHERE id = %s", other.id)
    assert is_known(secret), "not asked again yet"
    time.sleep(0.35)
    assert not is_known(secret)


def test_a_key_expires_by_the_databases_clock(tenant: str) -> None:
    key, secret = create_key(tenant, "short", expires_in=datetime.timedelta(seconds=1))
    assert is_known(secret)
    time.sleep(1.05)
    assert not is_known(secret), "although it was looked up less than 5 s ago"
    (found,) = [each for each in list_keys(tenant) if each.id == key.id]
    assert found.state == "expired"


def test_use_is_noted_at_most_once_a_minute(database: Database, tenant: str) -> None:
    key, secret = create_key(tenant, "used")

    def used() -> Any:
        keys._known.clear()
        authenticate(secret)
        return read(database, "SELECT last_used_at FROM api_keys WHERE id = %s", key.id)[0][0]

    first = used()
    assert first is not None
    assert used() == first
    write(database, "UPDATE api_keys SET last_used_at = now() - interval '2 minutes' WHERE id = %s", key.id)
    assert used() > first


def test_guesses_push_no_key_out_of_memory(tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "CACHED", 20)
    _, secret = create_key(tenant, "kept")
    authenticate(secret)
    for n in range(60):
        assert not is_known(f"nxf_guess{n}")
    assert len(keys._known._bad) == 20

    def unasked(_digest: bytes) -> Any:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(keys, "_look_up", unasked)
    assert is_known(secret)
    assert not is_known("nxf_guess59"), "what is no key is remembered, too"


def test_without_a_database_nobody_is_known_and_nobody_refused(database: Database, tenant: str) -> None:
    _, secret = create_key(tenant, "away")
    away = SecretStr("postgresql://nobody@127.0.0.1:1/none")
    use_settings(Settings(database_url=away, control_database_url=away))
    with pytest.raises(ClusterUnusable):
        authenticate(secret)


def test_many_at_once_are_one_use_each(tenant: str) -> None:
    secrets = [create_key(tenant, f"many-{n}")[1] for n in range(4)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda n: authenticate(secrets[n % 4]).key_name, range(200)))
    assert found == [f"many-{n % 4}" for n in range(200)]


def test_a_key_is_found_by_what_one_knows_of_it(tenant: str) -> None:
    key, secret = create_key(tenant, "to find")
    revoke_key(tenant, create_key(tenant, "to find")[0].id)
    for name in (key.id, key.id.upper(), key.id[:30], secret, key.prefix, secret[:9], "to find"):
        assert find_key(tenant, name).id == key.id, name
    create_key(tenant, "to find")
    with pytest.raises(InvalidInput, match="More than one"):
        find_key(tenant, "to find")
    with pytest.raises(NotFound) as refused:
        find_key(tenant, "nxf_" + "B" * 43)
    assert "BBBBBBBBBBBBBBBBBBBB" not in str(refused.value)


@pytest.mark.parametrize("wrong", ["", "  ", "x" * 201, "a\x00b", "a\nb"])
def test_a_name_that_cannot_be_one_is_refused(tenant: str, wrong: str) -> None:
    with pytest.raises(InvalidInput):
        create_key(tenant, wrong)


@pytest.mark.parametrize("lifetime", [datetime.timedelta(), -HOUR, datetime.timedelta(days=40_000)])
def test_a_lifetime_that_cannot_be_one_is_refused(tenant: str, lifetime: datetime.timedelta) -> None:
    with pytest.raises(InvalidInput):
        create_key(tenant, "x", expires_in=lifetime)


@pytest.mark.parametrize("unknown", ["", "x", "0199aaaa-0000-7000-8000-0000000000ff", "é"])
def test_a_key_that_is_not_there_is_not_revoked(tenant: str, unknown: str) -> None:
    with pytest.raises(NotFound):
        revoke_key(tenant, unknown)
