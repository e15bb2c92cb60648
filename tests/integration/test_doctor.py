"""What the doctor finds on real servers."""

import psycopg
from psycopg import sql

from nexusflow.db.provision import RUNTIME_ROLE
from nexusflow.doctor import servers
from tests.integration.cluster import Cluster
from tests.servers.databases import Database


def test_a_database_whose_commits_are_no_promise(database: Database) -> None:
    cluster = Cluster(database, "memory://")

    def volatile() -> list[str]:
        with cluster.active():
            found = [each.message for each in servers.database() if (each.name, each.level) == ("durability", "warn")]
        cluster.stop()
        return found

    assert volatile() == []
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        setting = "ALTER ROLE {} IN DATABASE {} SET synchronous_commit = off"
        owner.execute(sql.SQL(setting).format(sql.Identifier(RUNTIME_ROLE), sql.Identifier(database.name)))
    assert volatile() != []
