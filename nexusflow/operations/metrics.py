"""``/metrics``: the cluster as its rows show it, in Prometheus's text format. No tenant is named.

Gauges are read from the rows at each scrape. Counters are what each process said with its last heartbeat, one series
a process, so that a process that ends takes its series with it and no sum ever falls. Sums are the reader's:
``sum(rate(nexusflow_runs_finished_total[5m])) by (status)``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from nexusflow.db.session import control_session
from nexusflow.errors import ClusterUnusable
from nexusflow.operations.broker import Look, look_within
from nexusflow.operations.queues import QueueRows, read_rows
from nexusflow.workers.processes import Process, read_processes

BROKER_SECONDS = 0.5
"""How long a scrape waits for the broker."""
COUNTED = 100_000

# Live runs stand in a partial index of their own; the planner must not read a month's runs for a few of them.
_LIVE_RUNS = sa.text("""
SELECT status, count(*) FROM (SELECT status FROM runs WHERE finished_at IS NULL LIMIT :counted) live GROUP BY status
""")


def render() -> tuple[bytes, str]:
    """The metrics' text and its content type. Never raises for a database or a broker that is away."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gathered(list(_gather())))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Gathered(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _gather() -> Iterator[Metric]:
    try:
        rows, live, processes = read_rows(), _live_runs(), read_processes()
    except ClusterUnusable:
        yield GaugeMetricFamily("nexusflow_database_up", "1 while PostgreSQL answers.", value=0)
        return
    look = look_within(BROKER_SECONDS)
    yield GaugeMetricFamily("nexusflow_database_up", "1 while PostgreSQL answers.", value=1)
    yield GaugeMetricFamily("nexusflow_broker_up", "1 while the broker answers.", value=0 if look.complaint else 1)
    yield from _queues(rows)
    yield from _broker(look)
    runs = GaugeMetricFamily(
        "nexusflow_runs_live", f"Runs that are not over, by status (counted up to {COUNTED}).", labels=["status"]
    )
    for status in ("queued", "running", "paused"):
        runs.add_metric([status], live.get(status, 0))
    yield runs
    yield from _processes(processes)
    yield from _counters([each for each in processes if each.is_alive])


def _live_runs() -> dict[str, int]:
    with control_session() as connection:
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        connection.execute(sa.text("SET LOCAL statement_timeout = '5s'"))
        return {row[0]: row[1] for row in connection.execute(_LIVE_RUNS, {"counted": COUNTED})}


def _queues(rows: dict[str, QueueRows]) -> Iterator[Metric]:
    segments = GaugeMetricFamily(
        "nexusflow_queue_segments",
        "Live pieces of work by queue: ready for a worker, leased by one, or waiting until they are due.",
        labels=["queue", "state"],
    )
    age = GaugeMetricFamily(
        "nexusflow_queue_oldest_ready_seconds",
        "How long the oldest ready piece of work has been due; 0 when none is.",
        labels=["queue"],
    )
    for name, counted in rows.items():
        for state, number in (("ready", counted.ready), ("leased", counted.leased), ("waiting", counted.waiting)):
            segments.add_metric([name, state], number)
        age.add_metric([name], counted.oldest or 0.0)
    yield segments
    yield age


def _broker(look: Look) -> Iterator[Metric]:
    messages = GaugeMetricFamily("nexusflow_broker_messages", "Messages in the broker's queue.", labels=["queue"])
    consumers = GaugeMetricFamily("nexusflow_broker_consumers", "Consumers of the broker's queue.", labels=["queue"])
    dead = GaugeMetricFamily("nexusflow_dead_letters", "Messages among the queue's dead letters.", labels=["queue"])
    for name, depth in look.depths.items():
        messages.add_metric([name], depth.messages)
        if depth.consumers is not None:
            consumers.add_metric([name], depth.consumers)
        if depth.dead is not None:
            dead.add_metric([name], depth.dead)
    yield from (messages, consumers, dead)


def _processes(processes: list[Process]) -> Iterator[Metric]:
    states = Counter((each.kind, each.state if each.is_alive else "silent") for each in processes)
    family = GaugeMetricFamily(
        "nexusflow_processes",
        "Workers and beats by state; silent ones ended without a word, or cannot reach the database.",
        labels=["kind", "state"],
    )
    for kind in ("worker", "beat"):
        for state in ("running", "draining", "silent"):
            family.add_metric([kind, state], states[kind, state])
    yield family


_BY_LABEL = (
    ("segments", "queue", "nexusflow_segments_done", "Pieces of work done, by queue."),
    ("steps", "state", "nexusflow_steps_finished", "Attempts at steps that were recorded, by the state they gave."),
    ("runs", "status", "nexusflow_runs_finished", "Runs that came to their end, by status."),
)
_PLAIN = (
    ("refused", "nexusflow_hints_refused", "Messages that named nothing to do: twins, late ones, runs that are over."),
    ("losses", "nexusflow_children_lost", "Pool processes that died with a step."),
    ("handed_back", "nexusflow_segments_handed_back", "Pieces of work given back by a worker that had to end."),
    ("published", "nexusflow_dispatch_published", "Segments that the dispatcher published."),
    ("recovered", "nexusflow_dispatch_recovered", "Segments published again after a lease or a message was lost."),
    ("sweeps", "nexusflow_dispatch_sweeps", "Sweeps of the dispatcher."),
    ("ticks", "nexusflow_schedule_ticks", "Ticks of schedules that the dispatcher dealt with."),
)


def _counters(processes: list[Process]) -> Iterator[Metric]:
    for key, label, name, told in _BY_LABEL:
        family = CounterMetricFamily(name, told, labels=["process", label])
        for each in processes:
            for value, number in sorted(each.stats.get(key, {}).items()):
                family.add_metric([each.name, value], number)
        yield family
    for key, name, told in _PLAIN:
        family = CounterMetricFamily(name, told, labels=["process"])
        for each in processes:
            if key in each.stats:
                family.add_metric([each.name], each.stats[key])
        yield family
