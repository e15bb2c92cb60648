"""Fixtures of the property tests."""

import pytest

from tests.unit.workflows.celery_walk import CeleryWalk


@pytest.fixture(scope="session")
def walk() -> CeleryWalk:
    return CeleryWalk()
