"""``nexusflow init``: a workflow to start from."""

import re
import shlex
from pathlib import Path

from nexusflow.cli import exits
from nexusflow.cli.console import out, say
from nexusflow.errors import InvalidInput
from nexusflow.workflows.language.definition import SCHEMA_FILE

TEMPLATE = """\
# yaml-language-server: $schema={schema}
nexusflow: "1"
name: {name}
description: Greet everyone on a list.

input:
  schema:
    type: object
    additionalProperties: false
    properties:
      names: {{ type: array, items: {{ type: string }}, default: [Ada, Grace, Katherine] }}

steps:
  - id: each
    type: foreach
    with: {{ items: "${{{{ input.names }}}}", as: person }}
    steps:
      - id: greet
        type: transform
        with: {{ input: "${{{{ person }}}}", jq: '"Hello, " + . + "!"' }}

  - id: count
    type: transform
    needs: [each]
    with: {{ input: "${{{{ steps.each.output }}}}", jq: length }}

output:
  greetings: ${{{{ steps.each.output }}}}
  count: ${{{{ steps.count.output }}}}
"""


def write_starter(path: Path) -> int:
    """Write the file and say what to do next. Raises InvalidInput where it is there already or cannot be written."""
    name = re.sub(r"[^a-z0-9-]+", "-", path.stem.lower()).strip("-")[:100] or "workflow"
    text = TEMPLATE.format(schema=SCHEMA_FILE.as_uri(), name=name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InvalidInput(f"{path} is there already.", "Give another name: nexusflow init FILE.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput(f"{path} cannot be written: {reason}.", "Give another place: nexusflow init FILE.") from None
    say(f"Wrote {path}.", "bold green", to=out())
    say("Next:", to=out())
    quoted = shlex.quote(str(path))
    for command, what in (
        (f"nexusflow run {quoted}", "run it, on a cluster that starts by itself"),
        (f"nexusflow run {quoted} -i 'names=[\"Linus\"]'", "with input of your own"),
        (f"nexusflow validate {quoted}", "check it after each change"),
        ("nexusflow actions", "what else a step can do"),
    ):
        say(f"  {command:<48}  {what}", to=out())
    return exits.SUCCEEDED
