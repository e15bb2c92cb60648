"""The command line inside this process: no servers."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nexusflow.cli.app import call
from nexusflow.settings import use_settings

GOOD = """\
nexusflow: "1"
name: good
input:
  schema:
    type: object
    required: [n]
    additionalProperties: false
    properties: { n: { type: integer }, text: { type: string } }
steps:
  - { id: one, type: transform, with: { input: "${{ input.n }}", jq: . } }
  - { id: two, type: transform, needs: [one], with: { input: "${{ steps.one.output }}", jq: . + 1 } }
"""
BAD = """\
nexusflow: "1"
name: bad
steps:
  - { id: one, type: transfrom, with: { jq: . } }
  - id: two
    type: transform
    needs: [three]
    with: { jq: "." }
"""


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one document it must be."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _fresh_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    use_settings(None)
    yield
    use_settings(None)


@pytest.fixture
def nexusflow(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call the command line; nothing it says may be a trace."""

    def called(*arguments: str) -> Answer:
        code = call(list(arguments))
        said = capfd.readouterr()
        assert "Traceback" not in said.out + said.err
        return Answer(code, said.out, said.err)

    return called


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path
