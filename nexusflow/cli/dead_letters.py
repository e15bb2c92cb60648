"""``nexusflow queues dead``."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from nexusflow.cli import exits
from nexusflow.cli.clusters import readable_cluster
from nexusflow.cli.console import is_sure, out, print_json, say
from nexusflow.errors import InvalidInput, NotFound
from nexusflow.operations import dead_letters
from nexusflow.operations.dead_letters import DeadLetter, Letters, queue_named, read_letters

MOST_READ = 10_000


def show_letters(name: str, limit: int, *, as_json: bool) -> int:
    """Print a queue's dead letters, a line each."""
    queue = queue_named(name)
    with readable_cluster():
        found = read_letters(queue, limit=limit)
    return _show(queue, found, as_json=as_json)


def read_whole(name: str, ids: list[str], *, as_json: bool) -> int:
    """Print what is known of dead letters."""
    queue = queue_named(name)
    with readable_cluster():
        found = read_letters(queue, frozenset(ids), MOST_READ)
    _refuse_unknown(queue, ids, found)
    if as_json or not found.letters:
        return _show(queue, found, as_json=as_json)
    for letter in found.letters:
        say(f"{letter.id}", "bold", to=out())
        for key, value in _fields(letter):
            say(f"  {key:<10} {value}", to=out())
    return exits.SUCCEEDED


@dataclass
class Settling:
    """``redrive`` and ``drop``: which letters, and whether really."""

    verb: Literal["redrive", "drop"]
    name: str
    ids: list[str]
    everything: bool
    dry_run: bool
    as_json: bool
    sure: bool = False

    def perform(self) -> int:
        """Do it, after asking where it cannot be undone."""
        queue = queue_named(self.name)
        if bool(self.ids) == self.everything:
            raise InvalidInput("Say which letters.", "Either --id ID, once or more often, or --all.")
        with readable_cluster():
            chosen = read_letters(queue, frozenset(self.ids), MOST_READ)
            _refuse_unknown(queue, self.ids, chosen)
            if self.dry_run or not chosen.letters:
                return self._tell(queue, chosen)
            if self.verb == "drop" and not self.sure:
                self._ask(queue, len(chosen.letters) + chosen.more)
            settle = dead_letters.redrive if self.verb == "redrive" else dead_letters.drop
            return self._tell(queue, settle(queue, frozenset(self.ids)))

    def _ask(self, queue: str, number: int) -> None:
        if self.as_json:
            raise InvalidInput("With --json nobody is asked.", "Add --yes to drop the letters.")
        if not is_sure(f"Remove {_letters(number)} of {queue} for good?", "Dropping"):
            raise InvalidInput("Nothing was removed.")

    def _tell(self, queue: str, found: Letters) -> int:
        if self.as_json:
            print_json(_document(queue, found) | {"action": self.verb, "dry_run": self.dry_run})
            return exits.SUCCEEDED
        done = {"redrive": f"sent back to {queue}", "drop": "removed"}[self.verb]
        number = len(found.letters) + (found.more if self.dry_run else 0)
        if not found.has_dead_letters:
            return _show(queue, found, as_json=False)
        say(f"{_letters(number)} {'would be ' if self.dry_run else ''}{done}.", to=out())
        for letter in found.letters[:20] if self.dry_run else []:
            say(f"  {_line(letter)}", "dim", to=out())
        return exits.SUCCEEDED


def _refuse_unknown(queue: str, ids: list[str], found: Letters) -> None:
    missing = sorted(set(ids) - {letter.id for letter in found.letters})
    if missing and found.has_dead_letters:
        raise NotFound(f"{queue} has no dead letter {missing[0]}.", f"See nexusflow queues dead list {queue}.")


def _show(queue: str, found: Letters, *, as_json: bool) -> int:
    if as_json:
        print_json(_document(queue, found))
    elif not found.has_dead_letters:
        say("This broker keeps no dead letters (RabbitMQ does): a refused message is logged by its worker.", to=out())
    elif not found.letters:
        say(f"{queue} has no dead letters.", to=out())
    else:
        for letter in found.letters:
            say(_line(letter), to=out())
        if found.more:
            say(f"… and {found.more:,} more (--limit).", "dim", to=out())
    return exits.SUCCEEDED


def _line(letter: DeadLetter) -> str:
    when = letter.died_at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if letter.died_at else "?"
    what = f"run {letter.arguments.get('run', '?')}" if letter.arguments else f"unreadable, {letter.size:,} bytes"
    return f"{letter.id}  {when}  {letter.reason or '?'}  {letter.task or 'no task'}  {what}"


def _fields(letter: DeadLetter) -> list[tuple[str, Any]]:
    arguments = [(key, value) for key, value in (letter.arguments or {}).items() if value != ""]
    known = [("task", letter.task or "none named"), ("died", letter.died_at or "?"), ("reason", letter.reason or "?")]
    return [*known, ("bytes", letter.size), *arguments, *([("base64", letter.head)] if letter.head else [])]


def _document(queue: str, found: Letters) -> dict[str, Any]:
    letters = [asdict(letter) for letter in found.letters]
    return {"queue": queue, "has_dead_letters": found.has_dead_letters, "letters": letters, "more": found.more}


def _letters(number: int) -> str:
    return "1 dead letter" if number == 1 else f"{number:,} dead letters"
