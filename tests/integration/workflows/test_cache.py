"""Outputs that serve again, and keys of a step's own: what the vendor is asked, and by which key."""

from typing import Any

import pytest
import sqlalchemy as sa

from nexusflow.db.session import control_session, tenant_session
from nexusflow.workflows.reports.report import read_run
from nexusflow.workflows.rows import retention
from tests.integration.cluster import Cluster
from tests.integration.vendor import Vendor
from tests.integration.workflows.steps import foreach

AGE = sa.text("UPDATE cached_outputs SET expires_at = now() - interval '1 s' WHERE output ->> 'body' = :body")
KEPT = sa.text("SELECT count(*) FROM cached_outputs WHERE output ->> 'body' = :body")


def ask(vendor: Vendor, answer: str, name: str = "ask", needs: str = "", **words: Any) -> dict[str, Any]:
    return vendor.step(name, needs, body={"answer": answer}, **{"cache": "1h", **words})


def test_the_same_is_asked_once_and_what_differs_again(cluster: Cluster, vendor: Vendor) -> None:
    steps = [ask(vendor, "river"), ask(vendor, "river", "again", "ask"), ask(vendor, "lake", "other", "ask")]
    first, second = cluster.run(steps), cluster.run(steps)
    assert [record.steps[step].output["body"] for record in (first, second) for step in ("ask", "again", "other")] == [
        *("river", "river", "lake"), *("river", "river", "lake"),
    ]  # fmt: skip
    assert set(vendor.keys(first.id)) == {"ask", "other"}
    assert not vendor.keys(second.id)
    assert [first.steps[step].attempts for step in ("ask", "again", "other")] == [1, 0, 1]
    with cluster.active():
        notes = {each.path: each.note for each in read_run(cluster.tenant, second.id).steps}
    assert set(notes.values()) == {"from the cache"}
    plain = cluster.run([ask(vendor, "river", cache=None)])
    assert set(vendor.keys(plain.id)) == {"ask"}


def test_what_has_expired_or_failed_is_asked_again(cluster: Cluster, vendor: Vendor) -> None:
    cluster.run([ask(vendor, "tide")])
    with cluster.active(), tenant_session(cluster.tenant) as connection:
        assert connection.execute(AGE, {"body": "tide"}).rowcount == 1
    assert set(vendor.keys(cluster.run([ask(vendor, "tide")]).id)) == {"ask"}
    failing = [vendor.step("ask", body={"status": 404, "answer": "gone"}, cache="1h", on_error="continue")]
    assert [set(vendor.keys(cluster.run(failing).id)) for _ in range(2)] == [{"ask"}, {"ask"}]


def test_what_has_expired_goes(cluster: Cluster, vendor: Vendor) -> None:
    cluster.run([ask(vendor, "dew")])
    with cluster.active():
        with tenant_session(cluster.tenant) as connection:
            connection.execute(AGE, {"body": "dew"})
        assert retention.prune().rows["cached outputs"] >= 1
        with tenant_session(cluster.tenant) as connection:
            assert connection.execute(KEPT, {"body": "dew"}).scalar_one() == 0


def test_another_tenant_has_a_cache_of_its_own(cluster: Cluster, vendor: Vendor) -> None:
    cluster.run([ask(vendor, "moor")])
    with cluster.active(), tenant_session(str(cluster.database.tenant_b)) as connection:
        assert connection.execute(KEPT, {"body": "moor"}).scalar_one() == 0
    with (
        cluster.active(),
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        control_session() as session,
    ):
        session.execute(KEPT, {"body": "moor"})


def test_a_step_may_give_its_own_key(cluster: Cluster, vendor: Vendor) -> None:
    pay = vendor.step("pay", body={"answer": 1}, idempotency="order-${{ input.order }}-${{ item }}")
    runs = [cluster.run([foreach("each", [1, 2], pay)], {"order": "A7"}) for _ in range(2)]
    assert {record.status for record in runs} == {"succeeded"}
    keys = [call.key for call in vendor.calls if call.key.startswith("order-A7")]
    assert sorted(keys) == ["order-A7-1", "order-A7-1", "order-A7-2", "order-A7-2"]
    odd = cluster.run([vendor.step("pay", idempotency="${{ input.order }}", on_error="continue")], {"order": "käse"})
    assert (odd.steps["pay"].error or {})["code"] == "INVALID_IDEMPOTENCY_KEY"
    assert cluster.run([vendor.step("pay", idempotency="${{ input.order }}")], {"order": 17}).status == "succeeded"
