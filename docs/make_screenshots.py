"""Renews the README's pictures of the page: ``python docs/make_screenshots.py`` (it needs Chromium).

It starts an embedded cluster in a folder of its own, runs the lead-intake example, and looks at the page with a real
browser, as the page's tests do.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.servers.browser import Page, running_browser  # noqa: E402 - found by the line above

IMAGES = ROOT / "docs/images"
MOST_BYTES = 200_000
PROGRAM = str(Path(sys.executable).with_name("nexusflow"))
BROKEN = """\
nexusflow: "1"
name: nightly-export
description: Fetch yesterday's orders and keep them.
steps:
  - { id: orders, type: http.request, with: { method: GET, url: "http://127.0.0.1:9/orders" }, retry: { max: 0 } }
"""


@contextmanager
def cluster(home: str) -> Iterator[tuple[str, str]]:
    """An embedded cluster; the page's address and a key."""
    environment = {**os.environ, "NEXUSFLOW_HOME": home}
    process = subprocess.Popen(  # noqa: S603 - this repository's own program
        [PROGRAM, "up", "--json"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        told = json.loads(process.stdout.readline() if process.stdout else "")
        yield told["url"], told["api_key"]
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=40)


def start(client: httpx2.Client, source: str, given: dict[str, object] | None = None, wait: int = 0) -> str:
    """Save and publish a workflow (once) and start a run of it."""
    name = source.split("name: ", 1)[1].split("\n", 1)[0]
    found = client.get("/v2/workflows", params={"text": name}).json()["data"]
    if not found:
        found = [client.post("/v2/workflows", json={"source": source, "publish": True}).json()["data"]]
    answer = client.post(f"/v2/workflows/{found[0]['id']}/run?wait={wait}", json={"input": given or {}}).json()
    return str(answer["data"]["id"])


def over(client: httpx2.Client, run: str, seconds: float = 120) -> None:
    """Wait for a run's end."""
    deadline = time.monotonic() + seconds
    while client.get(f"/v2/runs/{run}").json()["data"]["finished_at"] is None:
        if time.monotonic() > deadline:
            raise SystemExit(f"the run {run} does not end")
        time.sleep(0.5)


def take(page: Page, name: str) -> None:
    """Keep a picture, which must be small enough for a README."""
    path = IMAGES / name
    page.picture(path)
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size:,} bytes")
    sys.stdout.write(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes\n")


def main() -> None:
    """Make the pictures."""
    IMAGES.mkdir(exist_ok=True)
    example = (ROOT / "examples/lead-intake.yaml").read_text()
    greeting = (ROOT / "examples/actions/transform.yaml").read_text()
    orders = {"orders": [{"customer": "Ada", "amount": 12}, {"customer": "Grace", "amount": 30}]}
    with (
        tempfile.TemporaryDirectory(prefix="nexusflow-pictures-") as home,
        cluster(home) as (url, key),
        httpx2.Client(base_url=url, headers={"X-API-Key": key}, timeout=60) as client,
        running_browser() as browser,
    ):
        leads = client.post("/v2/files", files={"file": ("leads.csv", (ROOT / "examples/leads.csv").read_bytes())})
        given: dict[str, object] = {"leads": leads.json()["data"]}
        run = start(client, example, given)
        over(client, run)
        with browser.page(1280, 900) as page:
            page.open(f"{url}/#key={key}")
            page.until("!!document.querySelector('table.runs')")
            page.open(f"{url}/runs/{run}?step=each%2Fscore&item=3")
            page.until("document.querySelectorAll('.box').length > 5")
            take(page, "run-desktop.png")
        start(client, greeting, orders, wait=20)
        start(client, BROKEN, wait=20)
        start(client, example, given)
        with browser.page(390, 780) as page:
            page.size(390, 780, 2)
            page.open(f"{url}/#key={key}")
            page.until("!!document.querySelector('table.runs .s-running')")
            take(page, "runs-phone.png")


if __name__ == "__main__":
    main()
