"""What a process keeps of versions is bounded by bytes: a tenant may have many, and each may be large."""

import tracemalloc
from typing import Any

import orjson

from nexusflow.workflows.starts.startable import CACHE_BYTES, Startable, _Seen


def _schema(number: int) -> dict[str, Any]:
    names = {f"p{number}_{each}": {"type": "string", "minLength": 1} for each in range(4_000)}
    return dict(orjson.loads(orjson.dumps({"type": "object", "properties": names})))


def test_versions_with_large_schemas_are_kept_within_bounds() -> None:
    seen = _Seen()
    tracemalloc.start()
    for number in range(50):
        workflow = f"workflow-{number}"
        seen.put("tenant", workflow, Startable("id", 1, _schema(number), None, None, "[]"), is_current=True)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1.3 * CACHE_BYTES
    assert seen.get("tenant", "workflow-49", None) is not None
    assert seen.get("tenant", "workflow-0", None) is None


def test_the_version_to_start_is_the_one_last_seen() -> None:
    seen = _Seen()
    for number, is_current in ((1, True), (2, False), (3, True), (1, False)):
        seen.put("tenant", "workflow", Startable(f"id-{number}", number, {}, None, None, "[]"), is_current=is_current)
    found = [seen.get("tenant", "workflow", number) for number in (None, 1, 2)]
    assert [each and each.id for each in found] == ["id-3", "id-1", "id-2"]
    assert seen.get("another", "workflow", 1) is None
