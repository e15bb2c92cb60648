"""What people see of a plan."""

import json
import re
from pathlib import Path

import pytest

from nexusflow.connectors.registry import actions
from nexusflow.workflows.definition import ActionInfo, Definition
from nexusflow.workflows.drawing import DrawingFormat, draw
from nexusflow.workflows.loader import load
from nexusflow.workflows.mermaid import draw_mermaid
from nexusflow.workflows.plan import Plan, compile_plan
from tests.unit.workflows.definitions import compiled, foreach, step, switch

ROOT = Path(__file__).parents[3]


def _mixed() -> Plan:
    """A loop, then a fork that a chord joins, a gate, and a switch."""
    return compiled(
        step("read"),
        foreach("each", step("score", "i"), step("keep", "i", "score"), needs="read"),
        step("report", "t", "each"),
        step("store", "i", "report"),
        step("tell", "n", "report"),
        step("both", "w", "store tell"),
        step("aside", "i"),
        step("first", "n", "aside both", join="any_success"),
        switch("size", [step("small")], [step("large", "n")], needs="first"),
    )


def test_the_outline_tells_scopes_stages_gates_and_queues() -> None:
    assert draw(_mixed(), "text", "intake") == (
        """\
intake: 13 steps in 11 segments
    at the start:
        #0   workflow      read (csv.read) → each (foreach)
    at the start:
        #1   integration   aside (http.request)
    when each is over:
        chain
            #2   workflow      report (transform)
            group
                #3   integration   store (http.request)
                #4   notification  tell (email.send)
            #5   workflow      both (csv.read)
    when 1 of aside, both succeeded:
        chain
            #6   notification  first (email.send)
            #7   workflow      size (switch)
    when both and aside and size are over: the end (#9)

each: for each item, at most 20 at once, several items a message
    at the start:
        #10  integration   score (http.request) → keep (http.request)
    when keep is over: the item is done (#11)
    when all items are done: each is done (#8)

size/0: if true
    at the start:
        #12  workflow      small (csv.read)
    when small is over: size is done (#13)

size/1: if true
    at the start:
        #14  notification  large (email.send)
    when large is over: size is done (#15)
"""
    )


def test_the_canvas_is_written_as_python_would() -> None:
    plan = compiled(step("a"), step("b", "i", "a"), step("c", "n", "a"), step("d", needs="b c"), step("e", "i", "d"))
    assert draw(plan, "canvas", "diamond") == (
        """\
# diamond: 5 steps in 5 segments
# at the start
chain(
    tasks.workflow.run_segment(0),  # a (csv.read)
    chord(
        group(
            tasks.integration.run_segment(1),  # b (http.request)
            tasks.notification.run_segment(2),  # c (email.send)
        ),
        tasks.workflow.run_segment(3),  # d (csv.read)
    ),
)
# when d is over
tasks.integration.run_segment(4)  # e (http.request)
# when e is over
tasks.workflow.run_segment(5)  # the end
"""
    )


def test_the_canvas_shows_every_segment_that_a_scope_publishes() -> None:
    plan = _mixed()
    shown = [int(number) for number in re.findall(r"run_segment\((\d+)\)", draw(plan, "canvas"))]
    assert sorted([*shown, *plan.closers.values()]) == [segment.id for segment in plan.segments]


def test_json_is_the_stored_plan() -> None:
    plan = _mixed()
    assert Plan.from_json(json.loads(draw(plan, "json"))) == plan


def test_the_picture_has_a_frame_per_scope_and_a_box_per_segment() -> None:
    picture = draw(_mixed(), "mermaid", "intake").splitlines()
    assert picture[:3] == [
        "flowchart TB",
        '    subgraph scope0["intake"]',
        '        s0["read · csv.read<br/>each · foreach<br/>(workflow)"]:::workflow',
    ]
    text = "\n".join(picture)
    assert '            s10["score · http.request<br/>keep · http.request<br/>(integration)"]:::integration' in picture
    assert '        g6{{"1 of 2"}}:::gate' in picture
    for edge in (
        's0 -.->|"each item"| s10',
        "s10 -.-> d0",
        "d0 -.-> s2",
        "s2 --> s3",
        "s4 --> s5",
        "s5 -.-> g6",
        "s1 -.-> g6",
        "g6 -.-> s6",
        "s6 --> s7",
        's7 -.->|"case 2"| s14',
        's7 -.->|"no case"| d1',
        "d1 -.-> finish",
    ):
        assert f"    {edge}" in picture
    assert text.count("subgraph ") == len(re.findall(r"^ *end$", text, re.MULTILINE)) == 4
    known = set(re.findall(r"^ +(?:subgraph )?(\w+)(?=[\[({])", text, re.MULTILINE))
    for source, target in re.findall(r"^ +(\w+) -\.?->(?:\|.*\|)? (\w+)$", text, re.MULTILINE):
        assert {source, target} <= known


def test_everything_joined_with_everything_meets_in_one_point() -> None:
    members = [step(f"a{n}", "i") for n in range(9)]
    names = " ".join(member["id"] for member in members)
    picture = draw_mermaid(compiled(*members, *(step(f"b{n}", "w", names) for n in range(9))))
    assert picture.count("j0") == 1 + 9 + 9


def test_no_text_can_break_the_picture() -> None:
    picture = draw_mermaid(compiled(step("a")), 'x"]; click s0 "javascript:alert(1)" <b>#&`\n%% end')
    (title,) = re.findall(r"subgraph scope0\[\"(.*)\"\]", picture)
    assert not set('"<>`\n') & set(title)
    assert "#quot;]; click s0 #quot;javascript" in title


@pytest.mark.parametrize("form", ["mermaid", "canvas"])
def test_the_documentation_shows_the_example_as_it_is_compiled(form: DrawingFormat) -> None:
    definition = Definition.model_validate(load((ROOT / "examples/lead-intake.yaml").read_bytes()).data)
    catalogue = {a.name: ActionInfo(a.name, {}, queue=a.queue, pure=a.pure) for a in actions()}
    drawn = draw(compile_plan(definition, catalogue), form, definition.name)
    page = (ROOT / "docs/compile.md").read_text(encoding="utf-8")
    (shown,) = re.findall(rf"<!-- .* --format {form} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert shown == drawn
