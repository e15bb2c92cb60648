"""A front end for tests: real requests to a real process, each answer held against what OpenAPI promises."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import jsonschema_rs

from nexusflow.auth.keys import create_key
from tests.integration.cluster import Cluster
from tests.servers.server import HOST, free_port

HELLO = """\
nexusflow: "1"
name: {name}
input:
  schema:
    type: object
    properties: {{ who: {{ type: string, minLength: 2 }}, code: {{ type: string, x-sensitive: true }} }}
    additionalProperties: false
steps:
  - {{ id: greet, type: transform, with: {{ jq: '"{word} " + (.input.who // "you")' }} }}
"""

_HOLE = re.compile(r"\\\{([^}]*)\\\}")
"""A parameter in a path of OpenAPI; one called path may have slashes in it."""


def hello(name: str = "hello", word: str = "Hello") -> str:
    """A workflow of one step."""
    return HELLO.format(name=name, word=word)


@dataclass
class Front:
    """A front end and a tenant's key."""

    url: str
    secret: str
    promises: "Promises" = field(repr=False)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.secret}"}, timeout=30)

    def __enter__(self) -> "Front":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        """Send a request and check its answer's form."""
        if body is not None:
            options["json"] = body
        answer = self.client.request(method, path, **options)
        self.promises.check(answer)
        return answer

    def get(self, path: str, **options: Any) -> Any:
        """The data of a success."""
        return self.want(200, "GET", path, **options)

    def want(self, status: int, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The data of an answer that must have this status."""
        answer = self.ask(method, path, body, **options)
        assert answer.status_code == status, answer.text
        return answer.json()["data"]

    def refused(self, status: int, code: str, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The error of an answer that must be this one."""
        answer = self.ask(method, path, body, **options)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        return answer.json()["error"]

    def create(self, source: str, *, publish: bool = True) -> str:
        """A new workflow; its id."""
        return str(self.want(201, "POST", "/v2/workflows", {"source": source, "publish": publish})["id"])


class Promises:
    """What OpenAPI says of the answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._paths = [
            (re.compile(_HOLE.sub(lambda hole: ".+" if hole[1] == "path" else "[^/]+", re.escape(path)) + "$"), path)
            for path in document["paths"]
        ]
        self._known: dict[tuple[str, str, str], Any] = {}

    def check(self, answer: httpx2.Response) -> None:
        """An answer is as described, carries its request's id, and shows no trace."""
        assert "Traceback" not in answer.text
        assert 'File "' not in answer.text
        if not answer.headers.get("content-type", "").startswith("application/json"):
            return
        body = answer.json()
        if "openapi" in body:
            return
        assert answer.headers["x-request-id"] == body["meta"]["request_id"]
        validator = self._validator(answer.request.method.lower(), answer.request.url.path, str(answer.status_code))
        assert validator is not None, (answer.request.url, answer.status_code)
        assert [str(error.message) for error in validator.iter_errors(body)] == []

    def _validator(self, method: str, path: str, status: str) -> Any:
        named = next((name for pattern, name in self._paths if pattern.match(path)), "")
        responses = self.document["paths"].get(named, {}).get(method, {}).get("responses", {})
        response = responses.get(status) if int(status) < 400 else {"$ref": "#/components/responses/Error"}
        if response is None:
            return None
        if "$ref" in response:
            response = self.document["components"]["responses"]["Error"]
        key = (method, named, status)
        if key not in self._known:
            schema = response["content"]["application/json"]["schema"]
            whole = {**schema, "components": self.document["components"]}
            self._known[key] = jsonschema_rs.validator_for(whole, validate_formats=False)
        return self._known[key]


@contextmanager
def web_of(cluster: Cluster, name: str = "web") -> Iterator[tuple[str, Promises]]:
    """Start a front end of a cluster and end it; its address and what it promises."""
    port = free_port()
    process = cluster.web(name, port=port)
    url = f"http://{HOST}:{port}"
    try:
        cluster.until(lambda: process.says("running on http"), "the front end is up")
        yield url, Promises(httpx2.get(f"{url}/openapi.json").json())
    finally:
        process.kill()
        del cluster.processes[name]


def key_of(cluster: Cluster, tenant: Any) -> str:
    """A new API key of a tenant's."""
    with cluster.active():
        return create_key(str(tenant), "tests")[1]
