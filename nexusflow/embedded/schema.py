"""The schema of a home's database: brought up to date, and noted beside the data, so that later starts need not look.

Looking costs a second of imports; the note is only believed while the migrations are byte for byte the same.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import nexusflow.db
from nexusflow.embedded.home import Home, write_private
from nexusflow.embedded.postgres import Postgres
from nexusflow.settings import CONTROL_ROLE

NOTE = "nexusflow-schema.json"


@dataclass(frozen=True)
class Schema:
    """What a database was brought to: a hash of the migrations, and the login roles they made."""

    migrations: str
    runtime_role: str
    control_role: str


def ensure_schema(postgres: Postgres, home: Home, report: Callable[[str], None]) -> Schema:
    """Create and upgrade what is not as this version of NexusFlow needs it. Raises ClusterUnusable."""
    note, migrations = postgres.places.data / NOTE, _migrations()
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = Schema(**json.loads(note.read_text()))
        if known.migrations == migrations:
            return known
    from nexusflow.db.provision import RUNTIME_ROLE, provision  # noqa: PLC0415

    report("bringing the database's schema up to date")
    postgres.create_database()
    secrets = home.secrets()
    provision(postgres.url(), secrets.runtime_password, secrets.control_password)
    schema = Schema(migrations, RUNTIME_ROLE, CONTROL_ROLE)
    write_private(note, asdict(schema))
    return schema


def _migrations() -> str:
    folder = Path(nexusflow.db.__file__).parent
    files = sorted([*folder.glob("migrations/**/*.py"), folder / "provision.py"])
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()
