"""The states told of a plan's steps, from records and what is live."""

import datetime

from nexusflow.workflows.catalogue import catalogue
from nexusflow.workflows.checks import parse_definition
from nexusflow.workflows.plan import Plan, compile_plan
from nexusflow.workflows.report_rows import Failure, Live, Records, RunRecords
from nexusflow.workflows.report_steps import Progress, StepReport, derive_steps

WORKFLOW = """\
nexusflow: "1"
name: all
steps:
  - { id: first, type: transform, with: { jq: . } }
  - id: each
    type: foreach
    needs: [first]
    with: { items: [1, 2, 3] }
    steps:
      - { id: score, type: transform, with: { jq: . } }
      - { id: keep, type: http.request, needs: [score], with: { url: "https://example.com" } }
  - id: choose
    type: switch
    needs: [each]
    cases: [{ when: "${{ size(steps.each.output) > 9 }}", steps: [{ id: yes_, type: transform, with: { jq: . } }] }]
    default: { steps: [{ id: no_, type: transform, with: { jq: . } }] }
  - { id: last, type: transform, needs: [choose], with: { jq: . } }
"""
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def plan() -> Plan:
    return compile_plan(parse_definition(WORKFLOW, catalogue()), catalogue())


def derive(
    counts: dict[tuple[str, int], Records] | None = None,
    *live: Live,
    failures: dict[str, list[Failure]] | None = None,
    is_over: bool = False,
) -> dict[str, StepReport]:
    steps = derive_steps(plan(), RunRecords(counts or {}, failures or {}, list(live)), is_over=is_over)
    return {step.path: step for step in steps}


def states(steps: dict[str, StepReport]) -> dict[str, str]:
    return {path: step.state for path, step in steps.items()}


def one(state: str, **more: object) -> Records:
    return Records({state: 1}, 1, NOW, NOW + datetime.timedelta(seconds=2), **more)  # type: ignore[arg-type]


def test_steps_come_in_the_plans_order_with_their_nesting() -> None:
    steps = derive()
    expected = ["first", "each", "each/score", "each/keep", "choose", "choose/0/yes_", "choose/default/no_", "last"]
    assert list(steps) == expected
    assert [step.nesting for step in steps.values()] == [0, 0, 1, 1, 0, 1, 1, 0]
    assert set(states(steps).values()) == {"pending"}


def test_what_is_live_tells_ready_running_and_retrying() -> None:
    assert derive({}, Live("first", "", False, None, NOW))["first"].state == "ready"
    assert derive({}, Live("first", "", True, None, NOW))["first"].state == "running"
    retrying = {("first", 0): one("retrying")}
    waiting = derive(retrying, Live("first", "", False, "retrying", NOW))["first"]
    assert (waiting.state, waiting.retry_at, waiting.seconds) == ("retrying", NOW, None)
    assert derive(retrying, Live("first", "", True, "retrying", NOW))["first"].state == "running"


def test_a_record_outdoes_what_was_live_a_moment_ago() -> None:
    step = derive({("first", 0): one("succeeded")}, Live("first", "", True, None, NOW))["first"]
    assert (step.state, step.seconds) == ("succeeded", 2.0)


def test_a_foreach_counts_its_items_and_its_steps_their_states() -> None:
    steps = derive(
        {
            ("each", 0): one("running", items=10),
            ("each", 1): Records({"succeeded": 4, "failed": 2}),
            ("each/score", 1): Records({"succeeded": 7, "failed": 1, "retrying": 2}),
            ("each/keep", 1): Records({"succeeded": 4, "failed": 1}),
        },
        Live("each/score", "8", True, "retrying", NOW),
        Live("each/score", "9", False, "retrying", NOW),
        Live("each/keep", "7", True, None, NOW),
        failures={"each": [Failure("3", "failed", 1, {"message": "m"})], "each/keep": [Failure("3", "failed", 1, {})]},
    )
    assert steps["each"].progress == Progress(done=6, failed=2, total=10)
    assert steps["each"].failures == ()
    assert steps["each/score"].counts == {"succeeded": 7, "failed": 1, "running": 1, "retrying": 1}
    assert steps["each/keep"].counts == {"succeeded": 4, "failed": 1, "running": 1}
    assert steps["each/keep"].state == "running"
    assert len(steps["each/keep"].failures) == 1


def test_branches_not_chosen_and_empty_lists_are_skipped() -> None:
    steps = derive({("each", 0): one("succeeded", items=0), ("choose", 0): one("running", cursor=-1)})
    assert (steps["each/score"].state, steps["each/score"].note) == ("skipped", "no items")
    assert (steps["choose/0/yes_"].state, steps["choose/0/yes_"].note) == ("skipped", "branch not chosen")
    assert (steps["choose"].branch, steps["choose/default/no_"].state) == ("default", "pending")
    none = derive({("choose", 0): one("succeeded")})
    assert none["choose"].branch == "none"
    assert {none["choose/0/yes_"].state, none["choose/default/no_"].state} == {"skipped"}


def test_what_lies_in_a_skipped_or_blocked_scope_shares_its_state() -> None:
    steps = derive({("each", 0): one("skipped"), ("choose", 0): one("blocked")})
    assert steps["each/keep"].state == "skipped"
    assert steps["choose/0/yes_"].state == "blocked"


def test_when_the_run_is_over_nothing_is_left_open() -> None:
    steps = derive(
        {
            ("first", 0): one("succeeded"),
            ("each", 0): one("running", items=3),
            ("each/score", 1): Records({"succeeded": 1, "retrying": 2}),
        },
        is_over=True,
    )
    assert (steps["each"].state, steps["each"].note) == ("cancelled", "interrupted")
    assert steps["each/score"].counts == {"succeeded": 1, "cancelled": 2}
    assert (steps["last"].state, steps["last"].note) == ("cancelled", "not started")
    open_states = {"pending", "ready", "running", "retrying", "waiting"}
    assert not open_states & set(states(steps).values())
