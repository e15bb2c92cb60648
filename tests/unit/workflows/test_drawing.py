"""What people see of a plan."""

import json
import re
from pathlib import Path

import pytest
import yaml

from nexusflow.connectors.registry import actions
from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.language.definition import ActionInfo, Definition
from nexusflow.workflows.language.loader import load
from nexusflow.workflows.planning.plan import Plan, compile_plan
from nexusflow.workflows.reports.drawing import DrawingFormat, draw
from nexusflow.workflows.reports.mermaid import draw_mermaid
from nexusflow.workflows.reports.phrases import written_duration
from nexusflow.workflows.saved.catalogue import catalogue
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


def _control() -> Plan:
    """A loop with two first steps, a wait, and a try whose steps can be undone."""
    return compiled(
        {
            "id": "poll",
            "type": "until",
            "until": "${{ steps.b.output > 3 }}",
            "with": {"max_iterations": 10, "delay": "90s"},
            "steps": [step("a"), step("b", "i")],
        },
        {"id": "rest", "type": "wait", "needs": ["poll"], "with": {"duration": "${{ input.long }}"}},
        {
            "id": "guarded",
            "type": "try",
            "needs": ["rest"],
            "steps": [step("c", compensate={"type": "http.request"}), step("d", "i", "c")],
            "catch": [{"errors": ["HTTP_*", "timeout"], "steps": [step("e")]}, {"steps": [step("f"), step("g")]}],
            "finally": {"steps": [step("h", "n")]},
        },
    )


def test_the_outline_tells_loops_tries_and_waits() -> None:
    assert draw(_control(), "text", "control") == (
        """\
control: 11 steps in 11 segments
    at the start:
        #0   workflow      poll (until)
    when poll is over:
        #1   workflow      rest (wait input.long)
    when rest is over:
        #2   workflow      guarded (try)
    when rest has waited: rest is done (#3)
    when guarded is over: the end (#5)

poll: again until "${{ steps.b.output > 3 }}", at most 10 times, 1m30s apart
    at the start:
        group
            #6   workflow      a (csv.read)
            #7   integration   b (http.request)
    when a and b are over: the iteration is done (#8)
    when it is true: poll is done; else the next iteration

guarded/try: what is tried
    at the start:
        chain
            #9   workflow      c (csv.read)
            #10  integration   d (http.request)
    if it succeeded and the try around it fails: c is undone by http.request (#11)
    when d is over: try is done (#12)
    if it fails: catch 1 for HTTP_*, timeout; else catch 2 for any error (#4)
    then, in any case: finally

guarded/catch0: catch 1, if that failed with HTTP_*, timeout
    at the start:
        #13  workflow      e (csv.read)
    when e is over: catch 1 is done (#14)

guarded/catch1: catch 2, if that failed with any error
    at the start:
        group
            #15  workflow      f (csv.read)
            #16  workflow      g (csv.read)
    when f and g are over: catch 2 is done (#17)

guarded/finally: at last, in any case
    at the start:
        #18  notification  h (email.send)
    when h is over: finally is done (#19)
"""
    )


def test_a_try_without_a_catch_for_all_may_fail() -> None:
    caught = {"id": "g", "type": "try", "steps": [step("a")], "catch": [{"errors": ["user"], "steps": [step("b")]}]}
    assert "    if it fails: catch 1 for user; else g fails (#1)\n" in draw(compiled(caught), "text")
    last = {"id": "g", "type": "try", "steps": [step("a")], "finally": {"steps": [step("b")]}}
    assert "    if it fails: g fails (#1)\n    then, in any case: finally\n" in draw(compiled(last), "text")


def test_the_picture_has_the_ways_of_loops_tries_and_waits() -> None:
    text = draw(_control(), "mermaid", "control")
    picture = text.splitlines()
    for line in (
        '        subgraph scope1["poll, at most 10 iterations"]',
        '            scope1again{"until steps.b.output #gt; 3"}:::gate',
        '        subgraph scope2["guarded, try"]',
        '            s9["c · csv.read<br/>(undone by http.request)<br/>(workflow)"]:::workflow',
        '        subgraph scope3["guarded, catch 1: HTTP_*, timeout"]',
        '        subgraph scope5["guarded, finally"]',
        '    s0 -.->|"iteration 1"| scope1next',
        "    scope1next -.-> s6",
        "    scope1next -.-> s7",
        "    s6 -.-> scope1again",
        '    scope1again -.->|"true"| d0',
        '    scope1again -.->|"false, after 1m30s"| scope1next',
        '    s1 -.->|"after input.long"| d1',
        "    d1 -.-> s2",
        "    s2 -.-> s9",
        '    scope2 -.->|"HTTP_*, timeout"| s13',
        '    scope2 -.->|"any error"| s15',
        '    scope2 -.->|"any error"| s16',
        '    scope2 -.->|"else"| s18',
        '    scope3 -.->|"in any case"| s18',
        '    scope4 -.->|"in any case"| s18',
        "    s18 -.-> d2",
        "    d2 -.-> finish",
    ):
        assert line in picture
    assert "s10 -.-> d2" not in text, "what is tried is followed by what is last"
    _check_mermaid(text)


def test_a_foreach_tells_how_many_it_takes_at_once() -> None:
    plan = compiled(foreach("each", step("a")) | {"with": {"items": [1, 2, 3], "batch": 2}})
    assert "each: for each batch of 2, at most 20 at once" in draw(plan, "text")
    assert '    s0 -.->|"each batch of 2"| s3' in draw_mermaid(plan).splitlines()


def test_an_iteration_with_one_first_step_comes_back_to_it() -> None:
    loop = {"id": "poll", "type": "until", "until": "${{ 1 > 2 }}", "steps": [step("a"), step("b", needs="a")]}
    picture = draw_mermaid(compiled(loop)).splitlines()
    assert '    scope1again -.->|"false"| s2' in picture
    assert '    s0 -.->|"iteration 1"| s2' in picture
    moment = {"id": "rest", "type": "wait", "with": {"until": "2030-01-01T08:00:00Z"}}
    assert '    s0 -.->|"until 2030-01-01T08:00:00Z"| d0' in draw_mermaid(compiled(moment)).splitlines()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({}, "for order.paid"),
        ({"key": "${{ input.order }}", "timeout": "2d"}, "for order.paid input.order, at most 2d"),
        ({"timeout": "${{ input.long }}"}, "for order.paid, at most input.long"),
    ],
)
def test_a_wait_for_an_event_tells_which(words: dict[str, str], told: str) -> None:
    plan = compiled({"id": "rest", "type": "wait", "with": {"event": "order.paid", **words}})
    assert f'    s0 -.->|"{told}"| d0' in draw_mermaid(plan).splitlines()
    assert f"rest (wait {told})" in draw(plan, "text")


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.05, "50ms"), (1.5, "1.5s"), (90, "1m30s"), (7200, "2h"), (90_061, "1d1h1m1s")]
)
def test_durations_are_told_as_one_writes_them(seconds: float, written: str) -> None:
    assert written_duration(seconds) == written


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
    for plan in (_mixed(), _control()):
        shown = [int(number) for number in re.findall(r"run_segment\((\d+)\)", draw(plan, "canvas"))]
        undoing = [step.undo for step in plan.steps.values() if step.undo is not None]
        assert sorted([*shown, *undoing, *plan.closers.values()]) == [segment.id for segment in plan.segments]


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
    assert text.count("subgraph ") == 4
    _check_mermaid(text)


def _check_mermaid(text: str) -> None:
    """What must hold of every picture: frames are closed, and an edge joins what is drawn."""
    assert text.count("subgraph ") == len(re.findall(r"^ *end$", text, re.MULTILINE))
    known = set(re.findall(r"^ +(?:subgraph )?(\w+)(?=[\[({])", text, re.MULTILINE))
    edges = re.findall(r"^ +(\w+) -\.?->(?:\|.*\|)? (\w+)$", text, re.MULTILINE)
    assert len(edges) == text.count("->")
    for source, target in edges:
        assert {source, target} <= known


@pytest.mark.parametrize("path", sorted((ROOT / "tests/corpus").glob("valid-*.yaml")), ids=lambda path: path.stem)
def test_every_workflow_of_the_corpus_is_drawn(path: Path) -> None:
    source = yaml.safe_load(path.read_text())["definition"].encode()
    plan = compile_plan(parse_definition(source, catalogue()), catalogue())
    _check_mermaid(draw(plan, "mermaid"))
    assert draw(plan, "text").count("\n\n") == len(plan.scopes) - 1
    assert draw(plan, "canvas")


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
    (shown,) = re.findall(rf"<!-- .*lead-intake.yaml --format {form} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert shown == drawn


def test_a_call_and_the_rest_of_a_join_are_told() -> None:
    bill = {"id": "bill", "type": "workflow", "with": {"workflow": "invoice", "version": 3}}
    tell = {"id": "tell", "type": "workflow", "with": {"workflow": "tell", "wait": False}}
    first = step("first", needs="bill tell", join={"n": 1, "rest": "cancel"})
    plan = compiled(bill, tell, first)
    outline = draw(plan, "text")
    assert "bill (workflow invoice version 3)" in outline
    assert "when bill's run of invoice version 3 is over: bill is done" in outline
    assert "tell's run" not in outline
    assert "when 1 of bill, tell succeeded (the rest is cancelled):" in outline
    picture = draw_mermaid(plan)
    assert '|"calls invoice version 3"| d0' in picture
    assert '|"starts tell"| d1' in picture
    assert '{{"1 of 2<br/>the rest is cancelled"}}' in picture
