"""``http.request`` against a small server of the test's own."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from nexusflow.connectors.base import StepContext
from nexusflow.connectors.http.actions import HttpRequestInput, HttpRequestOutput, request
from nexusflow.connectors.http.bodies import MAX_BODY_BYTES
from nexusflow.errors import Permanent, StepError, Transient
from tests.integration.connectors.conftest import make_context

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by path; remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    server: "Site"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = self.path.split("?")[0]
        self.server.seen.append(
            {"method": self.command, "path": self.path, "body": body, "headers": dict(self.headers)}
        )
        getattr(self, "at_" + path.strip("/").replace("/", "_"), self.at_echo)()

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def at_echo(self) -> None:
        last = self.server.seen[-1]
        shown = {
            "method": last["method"],
            "path": last["path"],
            "body": last["body"].decode(),
            "headers": last["headers"],
        }
        self.answer(200, json.dumps(shown).encode(), content_type="application/json")

    def at_text(self) -> None:
        self.answer(200, "grüße".encode("cp1252"), content_type="text/plain; charset=cp1252")

    def at_bytes(self) -> None:
        self.answer(200, b"\x00\xff", content_type="image/png")

    def at_empty(self) -> None:
        self.answer(204)

    def at_gzip(self) -> None:
        self.answer(200, gzip.compress(b'{"a": 1}'), content_type="application/json", content_encoding="gzip")

    def at_bomb(self) -> None:
        packed = gzip.compress(b"\0" * (MAX_BODY_BYTES * 20))
        self.answer(200, packed, content_type="text/plain", content_encoding="gzip")

    def at_large(self) -> None:
        self.answer(200, b"x" * (MAX_BODY_BYTES + 1), content_type="text/plain")

    def at_broken_json(self) -> None:
        self.answer(200, b"{", content_type="application/json")

    def at_deep(self) -> None:
        self.answer(200, b"[" * 900 + b"]" * 900, content_type="application/json")

    def at_missing(self) -> None:
        self.answer(404, b"nothing here", content_type="text/plain")

    def at_busy(self) -> None:
        self.answer(429, b"{", retry_after="12", content_type="application/json")

    def at_down(self) -> None:
        self.answer(503, b"later", content_type="text/plain")

    def at_hang(self) -> None:
        self.server.over.wait(20)

    def at_drip(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        while not self.server.over.wait(0.1):
            try:
                self.wfile.write(b"x")
            except OSError:
                return

    def at_late(self) -> None:
        self.server.over.wait(1.2)
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.server.over.wait(20)

    def at_drop(self) -> None:
        self.close_connection = True

    def at_loop(self) -> None:
        self.answer(302, location="/loop")

    def at_moved(self) -> None:
        self.answer(307, location="/echo")

    def at_seeother(self) -> None:
        self.answer(303, location="/echo")

    def at_away(self) -> None:
        self.answer(307, location=f"{self.server.other}/echo")

    def at_inside(self) -> None:
        self.answer(302, location="http://169.254.169.254/latest/meta-data")

    def at_file(self) -> None:
        self.answer(302, location="file:///etc/passwd")


class Site(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, Any]] = []
        self.over = threading.Event()
        self.other = ""
        self.connections = 0

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of these tests."""


@pytest.fixture
def site() -> Iterator[Site]:
    first, second = Site(), Site()
    first.other = second.root
    threads = [threading.Thread(target=one.serve_forever, args=(0.02,)) for one in (first, second)]
    for thread in threads:
        thread.start()
    yield first
    for one in (first, second):
        one.over.set()
        one.shutdown()
        one.server_close()
    for thread in threads:
        thread.join()


def context(seconds: float = 10.0, allow: str = "loopback", **connection: str) -> StepContext:
    return make_context("shop" if connection else "", connection, seconds, allow)


def call(where: StepContext, url: str, **given: Any) -> HttpRequestOutput:
    return request(where, HttpRequestInput.model_validate({"url": url, **given}))


def failure(where: StepContext, url: str, **given: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        call(where, url, **given)
    return caught.value


def test_a_request_goes_out_as_written(site: Site) -> None:
    where = context(base_url=site.root, token="t0p", header_x_shop="7")
    answer = call(
        where,
        f"{site.root}/echo?a=1",
        method="POST",
        query={"b": "ü &", "c": [1, 2], "d": None, "e": True},
        headers={"X-Note": "hi"},
        body={"total": 3},
    )
    asked = {name.lower(): value for name, value in answer.body["headers"].items()}
    assert answer.status == 200
    assert answer.encoding == "json"
    assert parse_qs(urlsplit(answer.body["path"]).query) == {"a": ["1"], "b": ["ü &"], "c": ["1", "2"], "e": ["true"]}
    assert json.loads(answer.body["body"]) == {"total": 3}
    assert asked["authorization"] == "Bearer t0p"
    assert (asked["x-shop"], asked["x-note"], asked["content-type"]) == ("7", "hi", "application/json")
    assert asked["idempotency-key"] == where.idempotency_key


def test_the_key_is_not_sent_with_a_get_and_an_authors_key_wins(site: Site) -> None:
    assert "idempotency-key" not in {name.lower() for name in call(context(), site.root).body["headers"]}
    sent = call(context(), site.root, method="PUT", text="x", headers={"Idempotency-Key": "mine"}).body["headers"]
    assert {name.lower(): value for name, value in sent.items()}["idempotency-key"] == "mine"


def test_basic_credentials(site: Site) -> None:
    sent = call(context(base_url=site.root, username="ada", password="pü"), site.root).body["headers"]
    assert {name.lower(): value for name, value in sent.items()}["authorization"] == "Basic YWRhOnDDvA=="


@pytest.mark.parametrize(
    ("path", "body", "encoding"),
    [("text", "grüße", "text"), ("bytes", "AP8=", "base64"), ("empty", None, "none"), ("gzip", {"a": 1}, "json")],
)
def test_bodies_are_read_by_their_type(site: Site, path: str, body: Any, encoding: str) -> None:
    answer = call(context(), f"{site.root}/{path}")
    assert (answer.body, answer.encoding) == (body, encoding)


@pytest.mark.parametrize("path", ["large", "bomb"])
def test_an_answer_over_the_limit_is_refused(site: Site, path: str) -> None:
    assert failure(context(), f"{site.root}/{path}").code == "HTTP_BODY_TOO_LARGE"


def test_json_that_is_none_is_said(site: Site) -> None:
    assert failure(context(), f"{site.root}/broken/json").code == "HTTP_BODY_INVALID"


def test_json_nested_too_deep_is_the_servers_fault(site: Site) -> None:
    error = failure(context(), f"{site.root}/deep")
    assert isinstance(error, Permanent)
    assert (error.code, error.cause) == ("HTTP_BODY_TOO_DEEP", "provider")


def test_statuses_are_judged(site: Site) -> None:
    missing = failure(context(), f"{site.root}/missing")
    assert isinstance(missing, Permanent)
    assert missing.details == {"status": 404, "body": "nothing here"}
    assert call(context(), f"{site.root}/missing", allow_status=[404]).status == 404
    busy, down = failure(context(), f"{site.root}/busy"), failure(context(), f"{site.root}/down")
    assert isinstance(busy, Transient)
    assert isinstance(down, Transient)
    assert (busy.retry_in, down.retry_in) == (12.0, None)


@pytest.mark.parametrize("path", ["hang", "drip"])
def test_a_server_that_takes_its_time_does_not_get_more_than_the_step_has(site: Site, path: str) -> None:
    started = time.monotonic()
    error = failure(context(0.5), f"{site.root}/{path}")
    assert isinstance(error, Transient)
    assert error.code == "VENDOR_TIMEOUT"
    assert time.monotonic() - started < 2


def test_a_late_start_gives_the_rest_no_more_time(site: Site) -> None:
    started = time.monotonic()
    assert failure(context(1.5), f"{site.root}/late").code == "VENDOR_TIMEOUT"
    assert time.monotonic() - started < 2.4


def test_a_dropped_and_a_refused_connection_are_transient(site: Site, unused_port: int) -> None:
    assert isinstance(failure(context(), f"{site.root}/drop"), Transient)
    assert isinstance(failure(context(), f"http://127.0.0.1:{unused_port}"), Transient)


def test_a_server_without_tls_is_permanent(site: Site) -> None:
    assert failure(context(), site.root.replace("http:", "https:")).code == "TLS_FAILED"


def test_redirects_keep_or_change_the_method_and_end(site: Site) -> None:
    kept = call(context(base_url=site.root, token="t"), f"{site.root}/moved", method="POST", body=[1])
    assert (kept.body["method"], kept.body["body"]) == ("POST", "[1]")
    changed = call(context(), f"{site.root}/seeother", method="POST", body=[1])
    assert (changed.body["method"], changed.body["body"]) == ("GET", "")
    assert failure(context(), f"{site.root}/loop").code == "HTTP_REDIRECTS"
    assert call(context(), f"{site.root}/loop", follow_redirects=False, allow_status=[302]).status == 302


def test_credentials_stay_with_the_origin_they_are_for(site: Site) -> None:
    where = context(base_url=site.root, token="secret", header_x_key="secret")
    answer = call(where, f"{site.root}/away", method="POST", body=1, headers={"Cookie": "secret"})
    assert answer.url.startswith(site.other)
    assert "secret" not in json.dumps(answer.body)
    assert "secret" in json.dumps(call(where, f"{site.root}/moved").body)


def test_an_address_elsewhere_never_meets_the_credentials(site: Site) -> None:
    where = context(base_url=site.other, token="secret")
    assert failure(where, f"{site.root}/echo").code == "ORIGIN_REFUSED"
    assert site.seen == []


def test_a_path_is_one_of_the_connection(site: Site) -> None:
    answer = call(context(base_url=f"{site.root}/", token="t"), "/items?a=1", query={"b": 2})
    assert answer.url == f"{site.root}/items?a=1&b=2"
    assert {name.lower(): value for name, value in answer.body["headers"].items()}["authorization"] == "Bearer t"


def test_redirects_are_guarded_like_the_first_address(site: Site) -> None:
    assert failure(context(), f"{site.root}/inside").code == "ADDRESS_REFUSED"
    assert failure(context(), f"{site.root}/file").code == "URL_INVALID"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0"])
def test_loopback_is_refused_unless_allowed(site: Site, host: str) -> None:
    url = f"http://{host}:{site.server_address[1]}/echo"
    assert failure(context(allow=""), url).code == "ADDRESS_REFUSED"
    assert site.seen == []


def test_a_proxy_in_the_environment_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port}")
    assert call(context(), site.root).status == 200


def test_threads_share_kept_connections(site: Site) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert {one.status for one in pool.map(lambda _: call(context(), site.root), range(60))} == {200}
    assert site.connections <= 8


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"url": "ftp://example.com/"}, "URL_INVALID"),
        ({"url": "/path"}, "URL_INVALID"),
        ({"url": "http://user:pass@example.com/"}, "URL_INVALID"),
        ({"url": "http://exa mple.com/"}, "URL_INVALID"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "HTTP_REQUEST_INVALID"),
        ({"headers": {"Host": "other"}}, "HTTP_REQUEST_INVALID"),
        ({"method": "POST", "body": 1, "text": "x"}, "HTTP_REQUEST_INVALID"),
        ({"method": "POST", "body": 2**70}, "HTTP_REQUEST_INVALID"),
    ],
)
def test_what_cannot_be_sent_is_refused(site: Site, given: dict[str, Any], code: str) -> None:
    assert failure(context(), **{"url": site.root, **given}).code == code
    assert site.seen == []
