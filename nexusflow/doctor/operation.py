"""The cluster at work: who serves each queue, what waits, whether the clock is kept, what the dead letters hold."""

from collections.abc import Iterator

from nexusflow.doctor.findings import Finding
from nexusflow.operations.queues import QueueState, read_queues
from nexusflow.workers.processes import Process, read_processes

LATE_SECONDS = 60.0


def queues() -> Iterator[Finding]:
    """Each queue, and all dead letters."""
    found = read_queues()
    for each in found.queues:
        yield _queue(each)
    dead = {each.name: each.dead for each in found.queues if each.dead}
    if dead:
        told = ", ".join(f"{number:,} of {name}" for name, number in dead.items())
        yield Finding("dead letters", "warn", told, f"See nexusflow queues dead list {next(iter(dead))}")


def _queue(each: QueueState) -> Finding:
    rows, name = each.rows, f"queue {each.name}"
    since = f" (the oldest for {rows.oldest:,.0f} s)" if rows.oldest is not None else ""
    told = f"{rows.ready:,} ready{since}, {rows.leased:,} running, {rows.waiting:,} waiting; {each.workers} workers"
    if not each.workers:
        return Finding(name, "warn", told, f"No worker serves it: celery -A nexusflow worker -Q {each.name}")
    if each.consumers is not None and each.consumers > each.workers:
        advice = (
            "Another cluster takes messages from this queue, or a worker cannot reach the database. "
            "Give each cluster a virtual host of its own."
        )
        return Finding(name, "warn", f"{told}, and {each.consumers} consumers in the broker", advice)
    if (rows.oldest or 0) > LATE_SECONDS:
        return Finding(name, "warn", told, "Start more workers for it, or raise their --concurrency.")
    return Finding(name, "ok", told)


def processes() -> Iterator[Finding]:
    """Whether a beat keeps the clock, and who ended without a word."""
    known = read_processes()
    beats = [each for each in known if each.kind == "beat"]
    alive = [each for each in beats if each.is_alive]
    if alive:
        yield Finding("beat", "ok", ", ".join(map(_seen, alive)))
    else:
        last = f"; the last word is {min(each.seen_ago for each in beats):,.0f} s old" if beats else ""
        advice = (
            "Start one: celery -A nexusflow beat. Until then no run starts, no retry comes due, nothing is repaired."
        )
        yield Finding("beat", "warn", f"none is at work{last}", advice)
    silent = [each for each in known if not each.is_alive and each.kind != "beat"]
    if silent:
        told = ", ".join(map(_seen, silent[:5])) + (" …" if len(silent) > 5 else "")
        advice = "They were killed, or cannot reach the database. Their rows go after a day."
        yield Finding("silent workers", "warn", told, advice)


def _seen(process: Process) -> str:
    return f"{process.name} (pid {process.pid}) seen {process.seen_ago:,.0f} s ago"
