"""A picture of any plan: no two boxes in each other's way, scopes around their steps, every edge downward."""

from itertools import combinations
from pathlib import Path

import pytest
import yaml

from nexusflow.workflows.evaluation.expressions import check_jq
from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.planning.plan import Plan, compile_plan
from nexusflow.workflows.reports.layout import FRAMES, LETTER, MAX_STEPS, SMALL_LETTER, Box, Picture, lay_out
from nexusflow.workflows.saved.catalogue import catalogue
from tests.unit.workflows.definitions import compiled, step, switch

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "examples/lead-intake.yaml", *sorted((ROOT / "tests/corpus").glob("valid-*.yaml"))]


def plan_of(path: Path) -> Plan:
    """A definition's plan; those of the corpus are a field of their file."""
    text = path.read_text()
    source = yaml.safe_load(text)["definition"] if path.parent.name == "corpus" else text
    return compile_plan(parse_definition(source.encode(), catalogue(), check_jq=check_jq), catalogue())


def compiled_needs(needs: dict[str, list[str]]) -> Plan:
    """The plan of steps that need each other so."""
    return compiled(*(step(name, needs=" ".join(needed)) for name, needed in needs.items()))


def picture_of(plan: Plan) -> Picture:
    found = lay_out(plan)
    assert found is not None
    return found


def overlap(a: Box, b: Box) -> bool:
    beside = a.x + a.width <= b.x + 0.01 or b.x + b.width <= a.x + 0.01
    return not (beside or a.y + a.height <= b.y + 0.01 or b.y + b.height <= a.y + 0.01)


def check(plan: Plan) -> Picture:
    """What must hold of every picture."""
    picture = picture_of(plan)
    boxes = {box.path: box for box in picture.boxes}
    assert set(plan.steps) == {box.path for box in picture.boxes if box.kind not in FRAMES}
    for a, b in combinations(picture.boxes, 2):
        nested = a.path.startswith(f"{b.path}/") or b.path.startswith(f"{a.path}/")
        assert nested or not overlap(a, b), (a, b)
    for box in picture.boxes:
        assert box.x >= -0.01
        assert box.x + box.width <= picture.width + 0.01
        assert box.y + box.height <= picture.height + 0.01
        around = boxes.get(box.path.rpartition("/")[0])
        if around is not None:
            assert around.x < box.x
            assert box.x + box.width < around.x + around.width
            assert around.y < box.y
            assert box.y + box.height < around.y + around.height
    assert {(edge.source, edge.target) for edge in picture.edges} == {
        (need, step.path) for step in plan.steps.values() for need in step.needs
    }
    for edge in picture.edges:
        heights = [y for _, y in edge.points]
        assert heights == sorted(heights), edge
        assert heights[0] < heights[-1]
    return picture


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_plan_is_drawn(path: Path) -> None:
    check(plan_of(path))


def test_a_chain_is_straight_and_a_diamond_even() -> None:
    chain = check(compiled_needs({"a": [], "b": ["a"], "c": ["b"]}))
    assert len({box.x + box.width / 2 for box in chain.boxes}) == 1
    diamond = {box.path: box for box in check(compiled_needs({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]})).boxes}
    middle = diamond["a"].x + diamond["a"].width / 2
    assert diamond["d"].x + diamond["d"].width / 2 == pytest.approx(middle)
    assert diamond["b"].x < middle < diamond["c"].x + diamond["c"].width


def test_an_edge_over_a_layer_goes_around_what_stands_there() -> None:
    picture = check(compiled_needs({"a": [], "b": ["a"], "c": ["b"], "d": ["a", "c"]}))
    (far,) = (edge for edge in picture.edges if (edge.source, edge.target) == ("a", "d"))
    for box in picture.boxes:
        if box.path in ("b", "c"):
            assert not any(box.x < x < box.x + box.width and box.y <= y <= box.y + box.height for x, y in far.points)


def test_the_parts_of_a_try_are_framed_as_they_follow_each_other() -> None:
    long = ["HTTP_*", "timeout", "SOMETHING_VERY_LONG_INDEED", "provider"]
    guarded = {
        "id": "g",
        "type": "try",
        "steps": [step("a"), step("b", needs="a")],
        "catch": [{"errors": long, "steps": [step("c")]}, {"steps": [step("d")]}],
        "finally": {"steps": [step("e")]},
    }
    boxes = {box.path: box for box in check(compiled(guarded)).boxes}
    frames = [box for box in boxes.values() if box.kind == "part"]
    assert [box.title for box in frames] == [
        "try",
        "catch 1: HTTP_*, timeout, SOMETHING…",
        "catch 2: any error",
        "finally",
    ]
    tried, first, second, last = frames
    assert tried.y + tried.height < first.y == second.y
    assert first.y + first.height < last.y
    assert first.width >= len(first.title) * SMALL_LETTER
    for path, part in (("g/try/a", tried), ("g/catch1/d", second), ("g/finally/e", last)):
        assert part.x < boxes[path].x
        assert boxes[path].x + boxes[path].width < part.x + part.width
        assert part.y < boxes[path].y


def test_what_an_until_repeats_stands_inside_of_it() -> None:
    loop = {"id": "poll", "type": "until", "until": "${{ 1 > 2 }}", "steps": [step("a"), step("b", needs="a")]}
    boxes = {box.path: box for box in check(compiled(loop)).boxes}
    assert (boxes["poll"].kind, boxes["poll/a"].kind) == ("until", "step")


def test_what_waits_has_room_to_say_how_long() -> None:
    loop = {"id": "poll_for_long", "type": "until", "until": "${{ 1 > 2 }}", "steps": [step("a")]}
    rest = {"id": "rest", "type": "wait", "with": {"duration": "5m"}}
    boxes = {box.path: box for box in check(compiled(loop, rest)).boxes}
    assert boxes["rest"].width >= 38 + len("wait · 23 h 59 min left") * SMALL_LETTER
    told = len("until · 999/1000 · 59 min 59 s left") * SMALL_LETTER
    assert boxes["poll_for_long"].width >= 38 + len("poll_for_long") * LETTER + told


def test_an_edge_leaves_a_low_box_beside_a_tall_one_downward() -> None:
    tall = switch("tall", [step("x"), step("y", needs="x"), step("z", needs="y")], needs="a")
    plan = compiled(step("a"), tall, step("low", needs="a"), step("end", needs="tall low"))
    picture = check(plan)
    around = next(box for box in picture.boxes if box.path == "tall")
    (edge,) = (edge for edge in picture.edges if edge.source == "low")
    crossing = [x for x, y in edge.points if around.y <= y <= around.y + around.height]
    assert crossing
    assert not any(around.x < x < around.x + around.width for x in crossing)
    assert edge.points[1][1] == pytest.approx(around.y + around.height)


def test_a_wide_and_tangled_plan_is_drawn_too() -> None:
    needs = {f"s{n}": [f"s{m}" for m in range(max(0, n - 40), n) if (n * 7 + m * 13) % 11 == 0] for n in range(150)}
    check(compiled_needs(needs))


def test_a_plan_of_too_many_steps_is_none() -> None:
    assert lay_out(compiled_needs({f"s{n}": [] for n in range(MAX_STEPS + 1)})) is None
