"""A test file's data as YAML that people read, and that is read back as exactly the same data."""

import re
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_ ./@-]*[A-Za-z0-9_/])?", re.ASCII)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
WIDTH = 120


class _Writer(yaml.SafeDumper):
    """Quotes every text that could be read as something else; writes the same value twice where it stands twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(writer: _Writer, text: str) -> yaml.Node:
    is_plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS
    style = None if is_plain else "|" if "\n" in text.rstrip("\n") else '"'
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _fraction(writer: _Writer, number: float) -> yaml.Node:
    # What YAML 1.1 takes for a text, such as 1e+20, must all the same stand there without quotes.
    text = repr(number)
    tag: str = writer.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return writer.represent_scalar(tag, text)


_Writer.add_representer(str, _text)
_Writer.add_representer(float, _fraction)


def written(data: dict[str, Any], comments: list[str]) -> str:
    """The data as YAML, below comments of a line each."""
    head = "".join(f"# {' '.join(line.split())}\n" for line in comments)
    return head + yaml.dump(
        data, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=False
    )
