"""What ``nexusflow up`` says once it is ready: the address, an API key, and three commands that work."""

import contextlib
import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from nexusflow.cli.console import out, print_text, say
from nexusflow.embedded.cluster_info import ClusterInfo
from nexusflow.embedded.home import FOLDER, Home, explained, write_private
from nexusflow.errors import Conflict, NexusError, NotFound, Unauthorized
from nexusflow.settings import get_settings, use_settings

HELLO = """\
nexusflow: "1"
name: hello
description: Greets whoever is named.
input:
  schema:
    type: object
    additionalProperties: false
    properties: { who: { type: string, title: Who to greet, default: world } }
steps:
  - { id: greet, type: transform, with: { input: "${{ input.who }}", jq: '"Hello, " + . + "!"' } }
"""
EXAMPLE = Path("examples/lead-intake.yaml")
EXAMPLE_INPUT = "--input leads=@examples/leads.csv --input owner=owner@example.com"


@dataclass(frozen=True)
class Welcome:
    """What a newcomer needs. ``workflow``: the id of the workflow ``hello``; None where there is none.

    ``variables``: what another terminal has to set to find the same cluster.
    """

    api_key: str
    workflow: str | None
    variables: dict[str, str]
    is_configured: bool

    @classmethod
    def prepare(cls, home: Home, info: ClusterInfo, *, is_configured: bool) -> "Welcome":
        """Make what is not there: the key, and in a new home the workflow ``hello``. Imports a lot."""
        from nexusflow.workflows.starts.service import ensure_tenant  # noqa: PLC0415

        given = get_settings()
        if not is_configured:
            use_settings(info.settings())
        tenant = ensure_tenant(given.tenant)
        key, is_first = _key(home, tenant)
        workflow = _hello(tenant, make=is_first and not is_configured)
        variables = {}
        if given.home is not None and given.home.absolute() != Path.cwd() / FOLDER:
            variables["NEXUSFLOW_HOME"] = str(given.home.expanduser().absolute())
        if given.tenant != type(given).model_fields["tenant"].default:
            variables["NEXUSFLOW_TENANT"] = given.tenant
        return cls(key, workflow, variables, is_configured)

    def show(self, url: str, *, as_json: bool) -> None:
        """On standard output; ``as_json``: one line and nothing else."""
        if as_json:
            print_text(json.dumps({"url": url, "api_key": self.api_key}) + "\n")
            return
        say(f"NexusFlow is up at {url}", "bold green", to=out())
        say(f"API key: {self.api_key}", to=out())
        say(f"Page:    {url}/ (sign in with the key)", to=out())
        where = "in another terminal of this folder"
        say(f"Try, {where}{', with the same settings' if self.is_configured else ''}:", to=out())
        for what, command in (
            ("start a run and wait for its result" if self.workflow else "list the runs", self._curl(url)),
            ("run a workflow from a file", self._run()),
            self._look(url),
        ):
            say(f"  # {what}", "dim", to=out())
            say(f"  {command}", to=out())
        say("Ctrl-C stops it; what was recorded is kept.", "dim", to=out())
        sys.stdout.flush()

    def _curl(self, url: str) -> str:
        key = f"-H 'Authorization: Bearer {self.api_key}'"
        if self.workflow is None:
            return f"curl -s {key} {url}/v2/runs"
        body = '-H \'Content-Type: application/json\' -d \'{"input": {"who": "Ada"}}\''
        return f"curl -s {key} {body} '{url}/v2/workflows/{self.workflow}/run?wait=10'"

    def _look(self, url: str) -> tuple[str, str]:
        for opener in ("open",) if sys.platform == "darwin" else ("xdg-open", "wslview"):
            if shutil.which(opener):
                return "watch them in a browser", f"{opener} {url}/"
        return "see what ran", f"{self._nexusflow()} runs list"

    def _nexusflow(self) -> str:
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.variables.items()), _program()])

    def _run(self) -> str:
        program = self._nexusflow()
        if EXAMPLE.exists():
            return f"{program} run {EXAMPLE} {EXAMPLE_INPUT}"
        if Path("workflow.yaml").exists():
            return f"{program} run workflow.yaml"
        return f"{program} init && {program} run workflow.yaml"


def _key(home: Home, tenant: str) -> tuple[str, bool]:
    """The tenant's API key in the home, and whether it is the first one there. One that is no good is replaced."""
    from nexusflow.auth.keys import authenticate, create_key  # noqa: PLC0415

    kept: dict[str, str] = {}
    with explained(home.key_file):
        is_first = not home.key_file.exists()
        with contextlib.suppress(OSError, ValueError):
            kept = dict(json.loads(home.key_file.read_text()))
        with contextlib.suppress(Unauthorized):
            if tenant in kept and authenticate(kept[tenant]).tenant == tenant:
                return kept[tenant], False
        _, made = create_key(tenant, "nexusflow up")
        write_private(home.key_file, kept | {tenant: made})
    return made, is_first


def _hello(tenant: str, *, make: bool) -> str | None:
    from nexusflow.workflows.saved.library import create_workflow, find_workflow  # noqa: PLC0415

    if make:
        try:
            return create_workflow(tenant, HELLO.encode(), publish=True).id
        except Conflict:
            pass  # somebody has one of this name
    try:
        return find_workflow(tenant, "hello")
    except (NotFound, NexusError):
        return None


def _program() -> str:
    """How this program is called from this folder."""
    found = shutil.which("nexusflow")
    called = Path(sys.argv[0]).absolute()
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m nexusflow.cli"
    if found is not None and Path(found).resolve() == called.resolve():
        return "nexusflow"
    here = Path.cwd()
    return shlex.quote(str(called.relative_to(here) if called.is_relative_to(here) else called))
