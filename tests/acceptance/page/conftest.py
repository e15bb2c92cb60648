"""A real browser before a real front end and the session's cluster."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api.front import Front, key_of, web_of
from tests.servers.browser import Browser, Page, running_browser

if TYPE_CHECKING:
    from tests.integration.cluster import Cluster


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's Chromium."""
    try:
        with running_browser() as made:
            yield made
    except LookupError as missing:
        pytest.skip(f"{missing}; Debian, Ubuntu: apt install chromium")


@pytest.fixture(scope="session")
def front(cluster: "Cluster") -> Iterator[Front]:
    """The front end, and a key of the first tenant's."""
    with web_of(cluster, "page") as (url, promises), Front(url, key_of(cluster, cluster.tenant), promises) as made:
        yield made


class Visitor:
    """Opens tabs of the page; after a test none of them may have logged an error."""

    def __init__(self, browser: Browser, front: Front) -> None:
        self.front = front
        self._browser = browser
        self._open: list[tuple[AbstractContextManager[Page], Page]] = []

    def tab(self, **options: Any) -> Page:
        """A tab in which nobody is signed in."""
        context = self._browser.page(**options)
        page = context.__enter__()
        self._open.append((context, page))
        return page

    def signed_in(self, address: str = "/", **options: Any) -> Page:
        """A tab at that address, signed in by a key."""
        page = self.tab(**options)
        page.open(f"{self.front.url}/sign-in")
        page.write("#key", self.front.secret)
        page.click("button.main")
        page.until("location.pathname === '/' && document.readyState === 'complete'")
        page.open(self.front.url + address)
        return page

    def close(self) -> list[str]:
        """Close the tabs; what they complained of."""
        complaints = [each for _, page in self._open for each in page.complaints]
        for context, _ in reversed(self._open):
            context.__exit__(None, None, None)
        return complaints


@pytest.fixture
def visitor(browser: Browser, front: Front) -> Iterator[Visitor]:
    """Somebody with a browser."""
    made = Visitor(browser, front)
    yield made
    assert made.close() == []
