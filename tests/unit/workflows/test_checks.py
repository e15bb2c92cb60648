import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from nexusflow.errors import InvalidDefinition, Problem
from nexusflow.schemas import validate
from nexusflow.workflows.evaluation.expressions import check_jq
from nexusflow.workflows.language.checks import Limits, check, parse_definition
from nexusflow.workflows.language.definition import SCHEMA_FILE, ActionInfo, Definition, schema_text
from nexusflow.workflows.language.loader import load
from nexusflow.workflows.saved.catalogue import catalogue

ROOT = Path(__file__).parents[3]
CORPUS = sorted((ROOT / "tests" / "corpus").glob("*.yaml"))
HEAD = 'nexusflow: "1"\nname: case\n'


def problems_of(text: str | bytes, **options: Any) -> list[Problem]:
    options.setdefault("check_jq", check_jq)
    try:
        parse_definition(text, catalogue(), **options)
    except InvalidDefinition as error:
        return error.details
    return []


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_corpus_gives_exactly_its_problems(path: Path) -> None:
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = problems_of(case["definition"], name=path.name)
    expected = case.get("problems", [])
    assert [(each.line, each.column) for each in found] == sorted((each.line, each.column) for each in found)
    assert sorted((p.code, p.path, p.line) for p in found) == sorted(
        (p["code"], p["path"], p["line"]) for p in expected
    )
    for want in expected:
        same = [p for p in found if (p.code, p.path, p.line) == (want["code"], want["path"], want["line"])]
        assert any(want.get("message", "") in p.message and want.get("hint", "") in p.hint for p in same), (want, same)


def test_corpus_is_there() -> None:
    assert len([path for path in CORPUS if path.stem.startswith("valid-")]) >= 5
    assert len([path for path in CORPUS if path.stem.startswith("bad-")]) >= 15


EXAMPLES = [path for path in sorted((ROOT / "examples").rglob("*.yaml")) if not path.name.endswith(".test.yaml")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(path: Path) -> None:
    assert problems_of(path.read_bytes(), name=path.name) == []


def test_a_problem_points_into_the_scalar() -> None:
    text = HEAD + 'steps:\n  - {id: a, type: transform, with: {jq: ., input: "x ${{ steps.b.output }}"}}\n'
    (problem,) = problems_of(text)
    assert problem.column is not None
    assert text.splitlines()[3][problem.column - 1 :].startswith("steps.b.output")


def test_problems_do_not_name_pydantic_or_its_branches() -> None:
    text = (
        HEAD + "steps:\n  - {id: 5, type: foreach, with: [], steps: {}}\n  - {id: [], type: switch, cases: x}\n  - {}\n"
    )
    for problem in problems_of(text):
        assert problem.path.count("/") <= 3
        assert not any(part in ("action", "foreach", "switch") for part in problem.path.split("/"))
        assert "pydantic" not in problem.message
        assert "Input should" not in problem.message


def test_python_names_of_fields_are_no_words() -> None:
    found = problems_of(HEAD + "input: {schema_: {}}\nsteps:\n  - {id: a, type: transform, with_: {jq: .}}\n")
    assert [(p.code, p.path) for p in found if p.code == "UNKNOWN_WORD"] == [
        ("UNKNOWN_WORD", "/input/schema_"),
        ("UNKNOWN_WORD", "/steps/0/with_"),
    ]


def test_check_gives_the_definition_or_the_problems() -> None:
    definition, problems = check(load(HEAD + "steps: [{id: a, type: transform, with: {jq: .}}]"), catalogue())
    assert isinstance(definition, Definition)
    assert problems == []
    definition, problems = check(load(HEAD + "steps: [{id: a, type: x.y}]"), catalogue())
    assert definition is None
    assert [problem.code for problem in problems] == ["UNKNOWN_TYPE"]


def test_problems_of_reading_and_of_meaning_come_together() -> None:
    found = problems_of(HEAD + "name: twice\nsteps:\n  - {id: a, type: nope, needs: [b]}\n")
    assert [p.code for p in found] == ["DUPLICATE_KEY", "UNKNOWN_TYPE", "UNKNOWN_NEED"]


def test_too_many_steps_needs_and_scopes() -> None:
    step = "  - {{id: s{0}, type: transform, with: {{jq: .}}}}\n"
    many = HEAD + "steps:\n" + "".join(step.format(number) for number in range(11))
    assert [p.code for p in problems_of(many, limits=Limits(steps=10))] == ["TOO_BIG"]
    assert problems_of(many, limits=Limits(steps=11)) == []
    needs = "steps:\n  - {id: a, type: transform, with: {jq: .}, needs: [" + ", ".join(["b"] * 1_001) + "]}\n"
    assert [p.code for p in problems_of(HEAD + needs)] == ["TOO_BIG"]

    def nested(depth: int) -> str:
        inner = "{id: a, type: transform, with: {jq: .}}"
        for level in range(depth):
            inner = f"{{id: s{level}, type: foreach, with: {{items: [1], as: i{level}}}, steps: [{inner}]}}"
        return HEAD + f"steps:\n  - {inner}\n"

    assert problems_of(nested(8)) == []
    assert [p.code for p in problems_of(nested(9))] == ["TOO_BIG"]


@pytest.mark.timeout(20)
def test_thousands_of_steps_are_checked_in_seconds() -> None:
    lines = [
        f'  - {{id: s{n}, type: transform, needs: [s{n - 1}], with: {{input: "${{{{ steps.s0.output }}}}", jq: .}}}}'
        for n in range(1, 5_000)
    ]
    text = HEAD + "steps:\n  - {id: s0, type: transform, with: {jq: .}}\n" + "\n".join(lines) + "\n"
    assert problems_of(text, check_jq=None) == []


def test_many_problems_are_cut_and_counted() -> None:
    text = HEAD + "steps:\n" + "".join(f"  - {{id: s{n}, type: nope}}\n" for n in range(150))
    found = problems_of(text)
    assert len(found) == 101
    assert found[-1].code == "MORE_PROBLEMS"
    assert found[-1].message.startswith("50 ")


@pytest.mark.parametrize(
    ("given", "certain"),
    [
        ({"n": "${{ input.n }}"}, []),
        ({"n": "about ${{ input.n }}"}, ["/n"]),
        ({"n": "x"}, ["/n"]),
        ({"n": 1, "list": ["${{ input.a }}", "b"]}, ["/list"]),
        ({"n": 1, "either": {"k": "${{ input.a }}"}}, []),
        ({"n": 1, "either": {"k": "${{ input.a }}", "l": 1}}, ["/either/l"]),
        ({"n": 1, "either": 5}, ["/either"]),
        ({"n": 1, "either": "${{ input.a }}"}, []),
    ],
)
def test_only_what_is_written_out_is_held_against_the_schema(given: dict[str, Any], certain: list[str]) -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["n"],
        "properties": {
            "n": {"type": "integer"},
            "list": {"type": "array", "maxItems": 1},
            "either": {
                "anyOf": [
                    {"type": "null"},
                    {"type": "object", "additionalProperties": False, "properties": {"k": {"type": "integer"}}},
                ]
            },
        },
    }
    actions = {"demo.act": ActionInfo("demo.act", schema)}
    text = HEAD + "steps:\n  - id: a\n    type: demo.act\n    with: " + yaml.safe_dump(given, default_flow_style=True)
    _, problems = check(load(text), actions)
    assert [problem.path for problem in problems] == [f"/steps/0/with{pointer}" for pointer in certain]


def test_published_schema_is_current_and_fits_the_language() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "run python -m nexusflow.workflows.language.definition"
    )
    schema = yaml.safe_load(schema_text())
    for path in CORPUS:
        case = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.stem.startswith("valid-"):
            assert validate(schema, load(case["definition"]).data) == [], path.stem
    assert validate(schema, load(HEAD + "steps: [{id: a, type: approval}]").data) != []
    described = [word for model in schema["$defs"].values() for word in model["properties"].values()]
    assert all("description" in word for word in described)


def test_the_reference_is_right() -> None:
    page = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[2].split("```")[0]
    assert problems_of(example) == []
    used = {
        code
        for path in (ROOT / "nexusflow" / "workflows" / "language").glob("*.py")
        if path.stem.startswith(("check", "document", "loader", "scalars", "model_problems"))
        for code in re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)"', path.read_text(encoding="utf-8"))
    } - {"NULL", "TRUE", "FALSE", "RULES"}
    assert {code for code in used if f"`{code}`" not in page} == set()


SPOILS: tuple[Any, ...] = (
    *(None, True, 0, -1.5, "", "x", "${{", "${{ steps.a }}"),
    *([], ["a"], [[]], {}, {"a": 1}, {"": {}}),
)


def spoil(value: Any, random: Random) -> Any:
    """The value with one place somewhere in it replaced, renamed or removed."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        kept = {name: inner for name, inner in value.items() if name != key}
        if random.random() < 0.1:
            return kept | {random.choice(["steps", "with", "id", "x"]): value[key]}
        return kept if random.random() < 0.1 else kept | {key: spoil(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.9:
        place = random.randrange(len(value))
        return [*value[:place], spoil(value[place], random), *value[place + 1 :]]
    return random.choice(SPOILS)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_spoilt_definition_is_refused_or_accepted_but_never_breaks_the_checks(path: Path) -> None:
    random = Random(path.stem)
    text = yaml.safe_load(path.read_text(encoding="utf-8"))["definition"]
    for _ in range(60):
        data = yaml.safe_load(text)
        for _ in range(random.randint(1, 3)):
            data = spoil(data, random)
        for problem in problems_of(json.dumps(data), check_jq=None):
            assert problem.message.strip(), problem
            assert problem.line, problem
        cut = random.randrange(len(text))
        problems_of(
            text[:cut] + random.choice("{}[]\"':-\t\n&*!$ ") + text[cut + random.randint(0, 2) :], check_jq=None
        )
