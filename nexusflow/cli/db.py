"""``nexusflow db upgrade | backup | restore | prune``."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.filesize import decimal

from nexusflow.cli import exits
from nexusflow.cli.console import out, print_json, say
from nexusflow.db.archive import Manifest
from nexusflow.db.backup import write_backup
from nexusflow.db.provision import (
    Upgrade,
    owner_url_of_settings,
    passwords_of_settings,
    plan_upgrade,
    provision_from_settings,
)
from nexusflow.db.restore import restore_backup
from nexusflow.embedded.database import database_only, new_database
from nexusflow.embedded.home import Home, find_home
from nexusflow.errors import ClusterUnusable
from nexusflow.settings import get_settings, use_settings
from nexusflow.storage import configured, folder
from nexusflow.workflows.rows import retention


def upgrade(*, dry_run: bool, as_json: bool) -> int:
    """Create the roles and bring the schema of a database of one's own to this NexusFlow's revision."""
    if not _is_configured():
        raise ClusterUnusable(
            "No database is configured.",
            "Set NEXUSFLOW_OWNER_DATABASE_URL, NEXUSFLOW_DATABASE_URL and NEXUSFLOW_CONTROL_DATABASE_URL;"
            " an embedded cluster upgrades itself at its next start.",
        )
    done = plan_upgrade(owner_url_of_settings()) if dry_run else provision_from_settings()
    if as_json:
        print_json({"from": done.before, "to": done.after, "changes": done.changes, "dry_run": dry_run})
    else:
        say(_told(done, dry_run=dry_run), to=out())
    return exits.SUCCEEDED


def _told(done: Upgrade, *, dry_run: bool) -> str:
    if not done.changes:
        return f"The schema is at the newest revision, {done.after}."
    if done.before is None:
        return f"The schema {'would be' if dry_run else 'was'} made, at revision {done.after}."
    return f"The schema {'would go' if dry_run else 'went'} from revision {done.before} to {done.after}."


def backup(file: Path, *, as_json: bool) -> int:
    """Write the whole database and its stored objects into one file, while the cluster runs."""
    with _database(as_json=as_json) as owner_url:
        storage = configured()
        objects: Iterable[tuple[str, Path]] = folder.every_object() if storage == "file" else ()
        made = write_backup(owner_url, file, storage, objects, _reporter(as_json=as_json))
    _show(made, file, as_json=as_json, word="Wrote")
    return exits.SUCCEEDED


def restore(file: Path, *, as_json: bool) -> int:
    """Fill an empty database from a backup, all of it or nothing."""
    report = _reporter(as_json=as_json)
    if _is_configured():
        where = folder.root() if configured() == "file" else None
        made = restore_backup(owner_url_of_settings(), passwords_of_settings(), file, where, report)
    else:
        home = find_home(get_settings().home)
        with new_database(home) as info:
            use_settings(info.settings())
            where = folder.root() if configured() == "file" else None
            made = restore_backup(info.owner_database_url, _passwords_of(home), file, where, report)
    _show(made, file, as_json=as_json, word="Restored")
    return exits.SUCCEEDED


def prune(*, dry_run: bool, as_json: bool) -> int:
    """Delete what is past its retention now, or say what would go."""
    with _database(as_json=as_json):
        months = retention.old_months()
        gone = retention.Pruned() if dry_run else retention.prune()
    days = get_settings().retention_days
    if as_json:
        shown = [asdict(each) for each in months]
        print_json({"dry_run": dry_run, "retention_days": days, "months": shown, "deleted": asdict(gone)})
        return exits.SUCCEEDED
    if not months:
        say(f"No month is older than {days} days.", to=out())
    for each in months:
        held = f"stays: {each.live:,} live runs need it" if each.live else "would go" if dry_run else "is busy"
        say(f"{each.month}: {each.runs:,} runs, {'gone' if each.month in gone.months else held}", to=out())
    for what, count in gone.rows.items():
        if count:
            say(f"{what}: {count:,} gone", to=out())
    return exits.SUCCEEDED


def _is_configured() -> bool:
    settings = get_settings()
    return settings.database_url is not None or settings.owner_database_url is not None


@contextmanager
def _database(*, as_json: bool) -> Iterator[str]:
    """The owner's URL of the configured database, or of the embedded one, which need not run."""
    if _is_configured():
        yield owner_url_of_settings()
        return
    home = find_home(get_settings().home)
    if not as_json:
        say(f"Using the cluster in {home.path}", "dim")
    with database_only(home) as info:
        use_settings(info.settings())
        yield info.owner_database_url


def _passwords_of(home: Home) -> tuple[str, str]:
    secrets = home.secrets()
    return secrets.runtime_password, secrets.control_password


def _reporter(*, as_json: bool) -> Callable[[str], None]:
    return (lambda _: None) if as_json else (lambda text: say(text, "dim"))


def _show(made: Manifest, file: Path, *, as_json: bool, word: str) -> None:
    if as_json:
        counts = {table.name: table.rows for table in made.tables}
        print_json(
            {
                "file": str(file),
                "bytes": file.stat().st_size,
                "revision": made.revision,
                "taken_at": made.taken_at,
                "rows": counts,
                "objects": made.objects,
                "storage": made.storage,
            }
        )
        return
    size = decimal(file.stat().st_size)
    say(f"{word} {file}: {made.rows:,} rows, {made.objects:,} stored objects, {size}.", "bold green", to=out())
    if made.storage == "s3":
        say("Large values and files lie in S3 and are not in it: keep the bucket.", "yellow", to=out())
