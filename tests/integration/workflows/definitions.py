"""Definitions to save."""


def source(name: str, jq: str = ".", more: str = "") -> bytes:
    """A workflow of one step, whose input has a number and a secret."""
    return f"""\
nexusflow: "1"
name: {name}
description: About {name}.
input:
  schema:
    type: object
    properties:
      n: {{ type: integer, default: 7 }}
      token: {{ type: string, x-sensitive: true, maxLength: 12 }}
steps:
  - {{ id: one, type: transform, with: {{ jq: "{jq}" }} }}
{more}""".encode()
