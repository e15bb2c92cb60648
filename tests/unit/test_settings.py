"""What the settings work out by themselves."""

import pytest
from pydantic import SecretStr

from nexusflow.settings import Settings


@pytest.mark.parametrize(
    ("database", "control"),
    [
        (
            "postgresql://nexusflow_app:p%40w:x@h:5432/n?sslmode=require",
            "nexusflow_control:p%40w:x@h:5432/n?sslmode=require",
        ),
        ("postgresql://nexusflow_app@[::1]:3/n", "nexusflow_control@[::1]:3/n"),
        ("postgresql:///n?host=/tmp", "nexusflow_control@/n?host=/tmp"),
    ],
)
def test_the_control_roles_url_follows_from_the_databases(database: str, control: str) -> None:
    derived = Settings(database_url=SecretStr(database)).control_database_url
    assert derived is not None
    assert derived.get_secret_value() == f"postgresql://{control}"
    assert control not in repr(derived)


def test_the_control_roles_url_that_is_given_stays() -> None:
    given = SecretStr("postgresql://someone:else@h/n")
    assert (
        Settings(database_url=SecretStr("postgresql://a:b@h/n"), control_database_url=given).control_database_url
        == given
    )
    assert Settings().control_database_url is None


@pytest.mark.parametrize("nonsense", ["nonsense", "http://[bad"])
def test_what_is_no_url_is_left_to_its_reader(nonsense: str) -> None:
    derived = Settings(database_url=SecretStr(nonsense)).control_database_url
    assert derived is not None
    assert derived.get_secret_value() == nonsense
