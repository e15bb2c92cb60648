"""The example of every word of the language ends as its page says: all of them at once, on the cluster of the pages."""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.docs.blocks import ROOT
from tests.acceptance.docs.reader import stand_ins_of
from tests.acceptance.docs.terminal import Staying

pytestmark = pytest.mark.timeout(120)
WORDS = sorted(path.stem for path in (ROOT / "examples/language").glob("*.yaml"))
AT_ONCE = 8
SHOWN = {"steps": "state", "attempts": "attempts"}
"""What a page tells of the steps, and what it is called in the API."""


class FrontEnd:
    """The API of a cluster, for one who has its key."""

    def __init__(self, up: Staying) -> None:
        printed = stand_ins_of(up)
        self._address, self._key = printed["http://127.0.0.1:8080"], printed["nxf_…"]

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        request = urllib.request.Request(f"{self._address}/v2{path}", body, method=method)
        request.add_header("Authorization", f"Bearer {self._key}")
        request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = answer.read()
        return json.loads(said)["data"] if said else None

    def run(self, path: Path) -> dict[str, Any]:
        """Save, run and delete a workflow; the run with the states and attempts of its steps."""
        workflow = self.call("POST", "/workflows?publish=true", path.read_bytes(), "application/yaml")["id"]
        try:
            run = self.call("POST", f"/workflows/{workflow}/run?wait=30", b"{}")
            steps = self.call("GET", f"/runs/{run['id']}/steps")
        finally:
            self.call("DELETE", f"/workflows/{workflow}")
        return run | {each: {step["step"]: step[name] for step in steps} for each, name in SHOWN.items()}


def told_of(word: str) -> dict[str, Any]:
    """What the page says comes of its example."""
    page = (ROOT / f"docs/language/{word}.md").read_text(encoding="utf-8")
    (result,) = re.findall(r"<!-- result -->\n```yaml\n(.*?)```", page, re.S)
    told: dict[str, Any] = yaml.safe_load(result)
    return told


@pytest.fixture(scope="module")
def runs(up: Staying) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    """A run of every example, begun before the first of them is looked at."""
    front_end = FrontEnd(up)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield {word: threads.submit(front_end.run, ROOT / f"examples/language/{word}.yaml") for word in WORDS}


@pytest.mark.parametrize("word", WORDS)
def test_the_example_ends_as_its_page_says(word: str, runs: dict[str, Future[dict[str, Any]]]) -> None:
    told, run = told_of(word), runs[word].result()
    assert run["status"] == told["status"], run["error"]
    assert run["output"] == told.get("output")
    for of_it in ("error", "steps", "attempts"):
        found = run[of_it] or {}
        assert {name: found.get(name) for name in told.get(of_it, {})} == told.get(of_it, {})
