"""``nexusflow doctor``."""

from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from nexusflow.cli import exits
from nexusflow.cli.console import out, print_json, say, speaks_unicode
from nexusflow.doctor import examine

_SIGNS = {"ok": ("✓", "+", "green"), "warn": ("!", "!", "yellow"), "fail": ("✗", "x", "red")}


def show_diagnosis(*, as_json: bool) -> int:
    """Look at everything and say what was found; 3 when something that is needed fails."""
    findings = examine()
    is_usable = all(each.level != "fail" for each in findings)
    if as_json:
        print_json({"usable": is_usable, "findings": [asdict(each) for each in findings]})
        return exits.SUCCEEDED if is_usable else exits.UNUSABLE
    table = Table.grid(padding=(0, 2, 0, 0))
    for each in findings:
        symbol, plain, style = _SIGNS[each.level]
        told = Text(each.message)
        if each.advice:
            told.append(f"\n{each.advice}", style)
        table.add_row(Text(symbol if speaks_unicode(out()) else plain, style), Text(each.name, "bold"), told)
    out().print(table)
    failing = [each.name for each in findings if each.level == "fail"]
    if failing:
        say(f"\nNot usable: {', '.join(failing)}.", "bold red", to=out())
    else:
        say("\nWorkflows can run.", "bold green", to=out())
    return exits.SUCCEEDED if is_usable else exits.UNUSABLE
