"""Bad input and bad manners: each is answered with what is wrong, and costs nobody else anything."""

import gzip
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import pytest

from nexusflow.auth.keys import create_key, list_keys, revoke_key
from tests.integration.api.front import Front, hello, key_of, web_of
from tests.integration.cluster import Cluster
from tests.servers.server import HOST

if TYPE_CHECKING:
    from tests.servers.pool import ServerPool

JSON = {"Content-Type": "application/json"}
LIMIT = 65_536


@pytest.fixture(scope="module")
def narrow(cluster: Cluster, server_pool: "ServerPool") -> Iterator[Front]:
    """A front end with narrow limits and a cache, before the same database."""
    redis: Any = server_pool.get("valkey")
    changes = {"max_body_bytes": LIMIT, "max_file_bytes": 200_000, "requests_per_minute": 40, "redis_url": redis.url}
    tight = Cluster(cluster.database, cluster.broker, changes)
    with web_of(tight) as (url, promises), Front(url, key_of(tight, cluster.database.tenant_b), promises) as front:
        yield front


@pytest.fixture(scope="module")
def workflow(front: Front) -> str:
    return front.create(hello("bounds"))


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/v2/workflows/none", {}, 404, "NOT_FOUND"),
        ("GET", "/v2/workflows/0199f0a1-2b4c-7d8e-8f90-a1b2c3d4e5f6", {}, 404, "NOT_FOUND"),
        ("GET", "/v2/runs/1", {}, 404, "NOT_FOUND"),
        ("GET", "/v2/runs/%00", {}, 404, "NOT_FOUND"),
        ("GET", "/v2/runs/../../etc/passwd", {}, 404, "NOT_FOUND"),
        ("POST", "/v2/runs/1/cancel", {}, 404, "NOT_FOUND"),
        ("POST", "/v2/workflows/%F0%28/run", {"json": {}}, 404, "NOT_FOUND"),
        ("GET", "/v2/runs/", {}, 404, "NOT_FOUND"),
        ("GET", "/v3/runs", {}, 404, "NOT_FOUND"),
        ("DELETE", "/v2/runs", {}, 405, "METHOD_NOT_ALLOWED"),
        ("PATCH", "/v2/runs", {}, 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/v2/runs", {"headers": {"Origin": "https://evil.example"}}, 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v2/runs?text=%00", {}, 422, "VALIDATION_ERROR"),
        ("GET", "/v2/runs?page=1&page=2", {}, 422, "VALIDATION_ERROR"),
        ("GET", "/v2/runs?page=99999999999999999999", {}, 422, "VALIDATION_ERROR"),
        ("GET", "/v2/runs?colour=red", {}, 422, "VALIDATION_ERROR"),
        ("GET", "/v2/workflows?sort=id;drop", {}, 422, "VALIDATION_ERROR"),
        ("GET", "/healthz?x=1", {}, 422, "VALIDATION_ERROR"),
        ("GET", "/v2/runs?text=" + "x" * 9000, {}, 414, "URI_TOO_LONG"),
        ("POST", "/v2/workflows", {"content": "{", "headers": JSON}, 400, "NOT_JSON"),
        ("POST", "/v2/workflows", {"content": "", "headers": JSON}, 400, "NOT_JSON"),
        ("POST", "/v2/workflows", {"content": b"\xff\xfe", "headers": JSON}, 400, "NOT_JSON"),
        ("POST", "/v2/workflows", {"content": "[" * 9000, "headers": JSON}, 400, "TOO_DEEP"),
        ("POST", "/v2/workflows", {"content": "{}"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", "/v2/workflows", {"data": {"source": "x"}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            "POST",
            "/v2/workflows",
            {"content": "{}", "headers": {"Content-Type": "application/json; charset=utf-16"}},
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "POST",
            "/v2/workflows",
            {"content": gzip.compress(b"{}"), "headers": JSON | {"Content-Encoding": "gzip"}},
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        ("POST", "/v2/workflows", {"json": {"source": "x", "colour": "red"}}, 422, "VALIDATION_ERROR"),
        ("POST", "/v2/workflows", {"json": {"source": "a: b"}}, 422, "INVALID_DEFINITION"),
        ("POST", "/v2/workflows", {"json": {"source": ""}}, 422, "INVALID_DEFINITION"),
        ("POST", "/v2/workflows", {"json": {"source": "x\u0000"}}, 422, "VALIDATION_ERROR"),
        ("POST", "/v2/workflows:compile?format=pdf", {"json": {"source": "x"}}, 422, "VALIDATION_ERROR"),
        ("POST", "/v2/workflows/{workflow}/run", {"json": {"input": {"who": "A\u0000"}}}, 422, "VALIDATION_ERROR"),
        ("POST", "/v2/workflows/{workflow}/run", {"json": {"input": {"a": "b"}}}, 422, "INVALID_INPUT"),
        ("POST", "/v2/workflows/{workflow}/run", {"json": {"version": 9}}, 404, "NOT_FOUND"),
        ("POST", "/v2/workflows/{workflow}/publish", {"json": {"version": 0}}, 422, "VALIDATION_ERROR"),
        ("POST", "/v2/workflows/{workflow}/archive", {"json": {"why": 1}}, 422, "VALIDATION_ERROR"),
        ("GET", "/v2/workflows/{workflow}/versions?cursor=x", {}, 422, "VALIDATION_ERROR"),
    ],
)
def test_what_is_wrong_is_said(
    method: str, path: str, options: dict[str, Any], status: int, code: str, front: Front, workflow: str
) -> None:
    error = front.refused(status, code, method, path.replace("{workflow}", workflow), **options)
    assert error["message"].endswith((".", "…"))


def test_keys_that_are_wrong_open_nothing(front: Front, cluster: Cluster) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer nxf_wrong"},
        {"Authorization": "Basic eDp5"},
        {"X-API-Key": "x" * 500},
    ):
        for method, path in (
            ("GET", "/v2/runs"),
            ("POST", "/v2/workflows"),
            ("GET", "/v2/events"),
            ("POST", "/v2/files"),
        ):
            answer = httpx2.request(method, front.url + path, headers=headers)
            assert answer.status_code == 401, (headers, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            front.promises.check(answer)
    assert httpx2.get(f"{front.url}/v2/runs", headers={"X-API-Key": front.secret}).status_code == 200
    with cluster.active():
        key, secret = create_key(cluster.tenant, "to be revoked")
        assert httpx2.get(f"{front.url}/v2/runs", headers={"X-API-Key": secret}).status_code == 200
        revoke_key(cluster.tenant, key.id)
        assert any(each.last_used_at for each in list_keys(cluster.tenant))
    cluster.until(
        lambda: httpx2.get(f"{front.url}/v2/runs", headers={"X-API-Key": secret}).status_code == 401, "the key died", 7
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "{url}"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 422),
        ({"Origin": "{url}"}, 422),
    ],
)
def test_a_cookie_changes_something_for_this_very_site_only(headers: dict[str, str], status: int, front: Front) -> None:
    cookie = {"Cookie": f"nexusflow_key={front.secret}"}
    given = {name: value.replace("{url}", front.url) for name, value in headers.items()}
    answer = httpx2.post(f"{front.url}/v2/workflows", json={}, headers=cookie | given)
    assert answer.status_code == status
    assert httpx2.get(f"{front.url}/v2/runs", headers=cookie | given).status_code == 200


def test_methods_that_are_possible_are_named_and_heads_are_answers_without_a_body(front: Front, workflow: str) -> None:
    wrong = front.ask("PATCH", f"/v2/workflows/{workflow}", {})
    assert wrong.headers["allow"] == "DELETE, GET, HEAD, PUT"
    for path in ("/healthz", "/v2/runs", f"/v2/workflows/{workflow}", "/docs"):
        got, head = front.ask("GET", path), front.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
    assert front.client.head("/v2/events").status_code == 405


def test_headers_of_every_answer(front: Front) -> None:
    for path in ("/healthz", "/v2/runs", "/nothing", "/docs"):
        answer = front.ask("GET", path, headers={"X-Request-Id": "job-7:42", "Origin": "https://evil.example"})
        assert answer.headers["x-request-id"] == "job-7:42"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert not re.search(r"\d", answer.headers.get("server", ""))
    assert front.ask("GET", "/v2/runs").headers["cache-control"] == "no-store"
    odd = httpx2.get(f"{front.url}/healthz", headers={"X-Request-Id": "two words " * 20 + "x"})
    assert re.fullmatch(r"[0-9a-f-]{36}", odd.headers["x-request-id"])


def test_bodies_are_bounded_while_they_arrive(narrow: Front) -> None:
    narrow.refused(413, "BODY_TOO_LARGE", "POST", "/v2/workflows", content=b"x" * (LIMIT + 1), headers=JSON)
    exact = json.dumps({"source": "x" * (LIMIT - 14)})
    assert len(exact) == LIMIT
    narrow.refused(422, "INVALID_DEFINITION", "POST", "/v2/workflows", content=exact, headers=JSON)
    host = urlsplit(narrow.url).netloc
    head = f"POST /v2/workflows HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {narrow.secret}\r\n"
    head += "Content-Type: application/json\r\n"
    sent = 0
    with socket.create_connection((HOST, int(host.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        connection.settimeout(0.05)
        answer = b""
        while not answer and sent < 100 * LIMIT:
            connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            sent += 0x4000
            try:
                answer = connection.recv(65_536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 413"), answer
    assert sent <= 4 * LIMIT
    with socket.create_connection((HOST, int(host.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: 9000000000\r\n\r\n".encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413")
    narrow.refused(413, "BODY_TOO_LARGE", "POST", "/v2/files", content=b"x" * 200_001)
    narrow.refused(413, "BODY_TOO_LARGE", "POST", "/v2/files", files={"file": ("x", b"x" * 200_001)})
    assert narrow.want(201, "POST", "/v2/files", content=b"x" * 200_000)["size"] == 200_000


def test_a_tenant_that_sends_too_much_is_slowed_and_nobody_else(narrow: Front, front: Front, cluster: Cluster) -> None:
    through = 0
    for _ in range(50):
        answer = narrow.ask("GET", "/v2/actions/transform")
        if answer.status_code == 429:
            break
        through += 1
    assert answer.status_code == 429
    assert through < 41
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["ratelimit-remaining"] == "0"
    with Front(narrow.url, front.secret, narrow.promises) as neighbour:
        assert neighbour.ask("GET", "/v2/runs").headers["ratelimit-limit"] == "40"
    assert httpx2.get(f"{narrow.url}/healthz").status_code == 200


def test_clients_that_hang_up_leave_nothing_behind(front: Front, workflow: str, cluster: Cluster) -> None:
    host, port = HOST, int(front.url.rpartition(":")[2])
    lines = [f"X-API-Key: {front.secret}", "Content-Type: application/json", f"Host: {host}"]
    path = f"/v2/workflows/{workflow}/run"
    for request in (
        f"POST {path} HTTP/1.1\r\n{chr(13) + chr(10).join(lines)}",
        "\r\n".join([f"POST {path} HTTP/1.1", *lines, "Content-Length: 1000", "", '{"input": {']),
        "\r\n".join([f"POST {path}?wait=30 HTTP/1.1", *lines, "Content-Length: 2", "", "{}"]),
        "\r\n".join(["POST /v2/files?name=x HTTP/1.1", *lines, "Content-Length: 100000", "", "x" * 5000]),
        "\x16\x03\x01 this is no HTTP at all\r\n\r\n",
    ):
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(request.encode("latin-1"))
            time.sleep(0.05)
    began = time.monotonic()
    assert front.ask("GET", "/healthz").status_code == 200
    assert time.monotonic() - began < 1
    log = cluster.processes["web"].log
    cluster.until(lambda: log.read_text().count('"status": 499') >= 2, "they are noted", 5)
    assert "Traceback" not in log.read_text()


def test_the_log_tells_requests_and_no_secrets(front: Front, cluster: Cluster) -> None:
    mark = f"mark-{time.time_ns()}"
    front.ask("GET", "/v2/runs", params={"text": mark}, headers={"X-Request-Id": mark})
    log = cluster.processes["web"].log.read_text()
    (line,) = [json.loads(each) for each in log.splitlines() if f'"request_id": "{mark}"' in each]
    assert line["event"] == "request.answered"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v2/runs", 200)
    assert line["tenant"] == cluster.tenant
    assert front.secret not in log
    assert log.count(mark) == 1  # what was asked for is not told


def test_the_reference_is_there_without_a_network(front: Front) -> None:
    page = front.ask("GET", "/docs").text
    parts = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert {"/openapi.json", "/docs/reference.js", "/docs/reference.css"} <= set(parts)
    assert not re.search(r"https?://", page)
    for part in parts:
        assert front.ask("GET", part).status_code == 200
    front.refused(404, "NOT_FOUND", "GET", "/docs/nothing.js")


@pytest.mark.parametrize(
    ("method", "path", "body", "place", "told", "hint"),
    [
        ("GET", "/v2/runs?per_page=0", None, "?per_page", "It must be at least 1.", ""),
        ("GET", "/v2/runs?per_page=many", None, "?per_page", "It must be a whole number.", ""),
        ("GET", "/v2/runs?since=2026", None, "?since", "It must be a time with its zone", ""),
        ("GET", "/v2/runs?until=2026-01-31T00:00:00", None, "?until", "It must be a time with its zone", ""),
        ("GET", "/v2/runs?sort=id", None, "?sort", "It must be '-accepted_at', ", ""),
        ("GET", "/v2/runs?workflow=none", None, "?workflow", "There is no workflow none.", "GET /v2/workflows"),
        ("GET", "/v2/runs?workflow=", None, "?workflow", "It must have at least 1 character", ""),
        ("POST", "{run}", {"input": []}, "/input", "It must be an object.", ""),
        ("POST", "{run}", {"version": "1"}, "/version", "It must be a whole number.", ""),
        ("POST", "{run}", {"inptu": {}}, "/inptu", "'inptu' is not known here.", "Did you mean 'input'?"),
        ("POST", "{run}:batch", {"inputs": [7]}, "/inputs/0", "It must be an object.", ""),
        ("POST", "{run}:batch", {"inputs": []}, "/inputs", "It must have at least 1; it has 0.", ""),
        ("POST", "/v2/workflows", {"source": "x", "publish": "yes"}, "/publish", "It must be true or false.", ""),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_json(
    method: str, path: str, body: Any, place: str, told: str, hint: str, front: Front, workflow: str
) -> None:
    path = path.replace("{run}", f"/v2/workflows/{workflow}/run")
    (problem,) = front.refused(422, "VALIDATION_ERROR", method, path, body)["details"]
    assert problem["path"] == place
    assert problem["message"].startswith(told)
    assert hint in problem["hint"]


def test_what_is_not_there_comes_with_what_is(front: Front) -> None:
    assert "Did you mean http.request?" in front.refused(404, "NOT_FOUND", "GET", "/v2/actions/http.reqest")["hint"]
    assert "this API key's tenant" in front.refused(404, "NOT_FOUND", "GET", "/v2/runs/1")["hint"]


def test_metrics_count_requests_by_route_and_name_no_tenant(front: Front, cluster: Cluster) -> None:
    front.ask("GET", "/v2/runs/0199f0a1-2b4c-7d8e-8f90-a1b2c3d4e5f6")
    text = front.ask("GET", "/metrics").text
    assert "_created" not in text
    assert re.search(r'nexusflow_http_requests_total\{method="GET",route="/v2/runs/\{run_id\}",status="404"\} \d', text)
    assert "nexusflow_database_up 1.0" in text
    assert cluster.tenant not in text
    assert "0199f0a1" not in text
