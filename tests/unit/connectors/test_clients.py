"""The cache of vendors' clients."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from nexusflow.connectors.clients import ClientCache


def test_threads_that_start_together_share_one_client() -> None:
    made: list[object] = []

    def make(_: Mapping[str, str]) -> object:
        time.sleep(0.02)
        made.append(object())
        return made[-1]

    cache = ClientCache(make, lambda _: None)
    together = threading.Barrier(8)

    def get(_: int) -> object:
        together.wait(5)
        return cache.get({"key": "a"})

    with ThreadPoolExecutor(8) as pool:
        assert len(set(map(id, pool.map(get, range(8))))) == 1
    assert len(made) == 1


def test_a_changed_credential_makes_a_new_client_and_the_oldest_falls_out() -> None:
    cache = ClientCache(lambda connection: object(), lambda _: None, size=2)
    first, second = cache.get({"key": "a"}), cache.get({"key": "b"})
    assert cache.get({"key": "a"}) is first
    cache.get({"key": "c"})
    assert cache.get({"key": "a"}) is first
    assert cache.get({"key": "b"}) is not second
