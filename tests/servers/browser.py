"""A headless browser for tests, driven by the DevTools protocol over its pipe: no socket, no driver program."""

import base64
import contextlib
import fcntl
import json
import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.guardian import guardian
from tests.servers.programs import find_browser

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)


class Browser:
    """The browser's process; pages are its tabs, each with cookies of its own."""

    def __init__(self, program: Path, folder: Path) -> None:
        reads, self._out = os.pipe()
        self._in, writes = os.pipe()
        # The browser reads its descriptor 3 and writes its 4; both ends are first moved out of the way of those.
        high = [fcntl.fcntl(each, fcntl.F_DUPFD, 20) for each in (reads, writes)]
        log = os.open(folder / "browser.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        actions = [
            (os.POSIX_SPAWN_DUP2, high[0], 3),
            (os.POSIX_SPAWN_DUP2, high[1], 4),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ]
        arguments = [str(program), *OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        environment = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self.pid = os.posix_spawn(program, arguments, environment, file_actions=actions, setpgroup=0)
        guardian.watch_group(self.pid)
        for each in (reads, writes, *high, log):
            os.close(each)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._number = 0
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, method: str, session: str = "", **parameters: Any) -> Any:
        """One command of the protocol, and its result."""
        with self._lock:
            self._number += 1
            number = self._number
            answers = self._answers[number] = queue.Queue()
            message = {"id": number, "method": method, "params": parameters}
            addressed = message | ({"sessionId": session} if session else {})
            os.write(self._out, json.dumps(addressed).encode() + b"\0")
        answer = answers.get(timeout=30)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _read(self) -> None:
        rest = b""
        while chunk := os.read(self._in, 1 << 16):
            *messages, rest = (rest + chunk).split(b"\0")
            for each in map(json.loads, messages):
                if "id" in each:
                    self._answers.pop(each["id"]).put(each)
                elif (page := self._pages.get(each.get("sessionId", ""))) is not None:
                    page.heard(each["method"], each["params"])

    @contextmanager
    def page(
        self, width: int = 1280, height: int = 900, *, dark: bool = False, scripts: bool = True
    ) -> Iterator["Page"]:
        """A tab, closed at the end."""
        context = self.send("Target.createBrowserContext")["browserContextId"]
        target = self.send("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.send("Page.setLifecycleEventsEnabled", enabled=True)
        page.size(width, height)
        page.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        if not scripts:
            page.send("Emulation.setScriptExecutionDisabled", value=True)
        try:
            yield page
        finally:
            self._pages.pop(session, None)
            self.send("Target.disposeBrowserContext", browserContextId=context)

    def close(self) -> None:
        """End it, with all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        guardian.forget_group(self.pid)
        self._reader.join(5)
        os.close(self._out)
        os.close(self._in)


class Page:
    """A tab. ``complaints``: what the browser logged of errors, uncaught exceptions and refused contents."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._browser, self._session = browser, session
        self._loaded: set[str] = set()

    def send(self, method: str, **parameters: Any) -> Any:
        """One command for this tab."""
        return self._browser.send(method, self._session, **parameters)

    def heard(self, method: str, told: dict[str, Any]) -> None:
        """Note an event of the protocol."""
        if method == "Page.lifecycleEvent" and told["name"] == "load":
            self._loaded.add(told["loaderId"])
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    def size(self, width: int, height: int, scale: float = 1) -> None:
        """The window's size."""
        given = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **given)

    def open(self, address: str, seconds: float = 20) -> None:
        """Go there, and wait until it is loaded."""
        told = self.send("Page.navigate", url=address)
        if told.get("errorText"):
            raise RuntimeError(f"{address}: {told['errorText']}")
        deadline = time.monotonic() + seconds
        while told.get("loaderId", "") not in self._loaded and "loaderId" in told:
            if time.monotonic() > deadline:
                raise AssertionError(f"not loaded: {address}")
            time.sleep(0.01)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives, as JSON data."""
        told = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise RuntimeError(told["exceptionDetails"]["exception"].get("description", "a script failed"))
        return told["result"].get("value")

    def until(self, expression: str, seconds: float = 15) -> Any:
        """Wait until an expression is true; a page that is being replaced meanwhile is asked again."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(RuntimeError):
                # An element comes as {}, which is something.
                if (found := self.value(expression)) not in (None, False, 0, ""):
                    return found
            if time.monotonic() > deadline:
                text = self.value("location.href + '\\n' + document.body.innerText.slice(0, 3000)")
                raise AssertionError(f"not within {seconds:g} s: {expression}\n{text}")
            time.sleep(0.05)

    def text(self, selector: str = "body") -> str:
        """What can be read there, once there is such an element: the page may just be replaced."""
        found = self.until(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); return e && [e.innerText]; }})()"
        )
        return str(found[0])

    def click(self, selector: str) -> None:
        """A real click in the middle of an element."""
        place = self.until(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null;"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def write(self, selector: str, text: str) -> None:
        """Replace a field's text as a person does."""
        chosen = f"document.querySelector({json.dumps(selector)})"
        self.until(f"!!{chosen}")
        self.value(f"{chosen}.focus(), {chosen}.select && {chosen}.select()")
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """A key, such as Enter or Tab."""
        given = {"key": key, "code": key, "windowsVirtualKeyCode": {"Tab": 9, "Escape": 27, "Enter": 13}[key]}
        given |= {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, **given)

    def upload(self, selector: str, path: Path) -> None:
        """Choose a file."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot; ``whole``: of the whole page, not the window's part."""
        told = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser with a profile of its own. Raises LookupError where the machine has none."""
    program = find_browser()
    if program is None:
        raise LookupError("no Chromium or Chrome is on this machine")
    with tempfile.TemporaryDirectory(prefix="nexusflow-browser-", ignore_cleanup_errors=True) as folder:
        browser = Browser(program, Path(folder))
        try:
            yield browser
        finally:
            browser.close()
