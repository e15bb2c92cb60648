"""The states told of a plan's steps, from records and what is live."""

import datetime

from nexusflow.workflows.language.checks import parse_definition
from nexusflow.workflows.planning.plan import Plan, compile_plan
from nexusflow.workflows.reports.report_rows import Failure, Live, Records, RunRecords
from nexusflow.workflows.reports.report_steps import Awaited, Iterations, Progress, StepReport, awaited, derive_steps
from nexusflow.workflows.saved.catalogue import catalogue

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


CONTROL = """\
nexusflow: "1"
name: control
steps:
  - id: poll
    type: until
    until: "${{ steps.look.output > 3 }}"
    with: { max_iterations: 5, delay: 10s }
    steps: [{ id: look, type: transform, with: { jq: . } }]
  - id: guarded
    type: try
    needs: [poll]
    steps:
      - { id: rest, type: wait, with: { duration: 1h } }
      - { id: pay, type: transform, with: { jq: . }, compensate: { type: transform, with: { jq: . } } }
      - { id: thank, type: transform, needs: [pay], with: { jq: . } }
      - id: other
        type: switch
        needs: [pay]
        cases: [{ when: "${{ 1 > 2 }}", steps: [{ id: deep, type: transform, with: { jq: . } }] }]
    catch:
      - { errors: [HTTP_*], steps: [{ id: again, type: transform, with: { jq: . } }] }
      - { errors: [NO_STOCK], steps: [{ id: tell, type: transform, with: { jq: . } }] }
      - { steps: [{ id: apologize, type: transform, with: { jq: . } }] }
    finally: { steps: [{ id: clean, type: transform, with: { jq: . } }] }
"""
LATER = NOW + datetime.timedelta(minutes=5)
NO_STOCK: dict[str, object] = {"code": "NO_STOCK", "cause": "user", "message": "m", "step": "guarded/try/pay"}


def control(
    counts: dict[tuple[str, int], Records],
    *live: Live,
    failures: dict[str, list[Failure]] | None = None,
    is_over: bool = False,
    workflow: str = CONTROL,
) -> dict[str, StepReport]:
    compiled = compile_plan(parse_definition(workflow, catalogue()), catalogue())
    found = derive_steps(compiled, RunRecords(counts, failures or {}, list(live)), is_over=is_over)
    return {step.path: step for step in found}


def failed_try(
    error: dict[str, object] = NO_STOCK, undoing: dict[tuple[str, int], Records] | None = None
) -> dict[str, StepReport]:
    """The steps of a try have failed; the handler has stopped what was left of them."""
    return control(
        {
            ("guarded", 0): one("running"),
            ("guarded/try", 0): one("failed"),
            ("guarded/try/rest", 0): one("cancelled"),
            ("guarded/try/pay", 0): one("failed"),
            **(undoing or {}),
        },
        failures={path: [Failure("", "failed", 1, error)] for path in ("guarded/try", "guarded/try/pay")},
    )


def told(step: StepReport) -> tuple[str, str]:
    return step.state, step.note


def test_the_records_of_a_trys_parts_are_no_steps() -> None:
    steps = failed_try()
    assert "guarded/try" not in steps
    assert list(steps) == [
        *("poll", "poll/look", "guarded", "guarded/try/rest", "guarded/try/pay", "guarded/try/thank"),
        *("guarded/try/other", "guarded/try/other/0/deep", "guarded/catch0/again", "guarded/catch1/tell"),
        *("guarded/catch2/apologize", "guarded/finally/clean"),
    ]
    assert [steps[path].way for path in ("poll/look", "guarded/try/rest", "guarded/catch1/tell")] == [
        "",
        "try",
        "catch 2",
    ]


def test_an_until_says_its_iteration_and_when_the_next_one_begins() -> None:
    counts = {("poll", 0): one("running"), ("poll", 1): Records({"succeeded": 2})}
    counts[("poll/look", 1)] = Records({"succeeded": 2}, 1, NOW, NOW)
    steps = control(counts, Live("poll/look", "2", False, None, LATER, is_later=True))
    assert steps["poll"].iterations == Iterations(2, 5)
    assert steps["poll"].told == "iteration 3 of at most 5"
    assert (steps["poll"].state, steps["poll"].waits_until) == ("running", LATER)
    assert steps["poll/look"].counts == {"succeeded": 2, "waiting": 1}
    assert steps["poll/look"].state == "waiting"
    assert steps["poll"].as_dict()["iterations"] == {"done": 2, "most": 5}
    assert steps["poll"].as_dict()["waits_until"] == LATER
    assert [step.path for step in awaited(steps.values())] == ["poll"]
    now = control(counts, Live("poll/look", "2", True, None, NOW))
    assert (now["poll"].waits_until, now["poll/look"].state) == (None, "running")
    assert awaited(now.values()) == []
    over = control({**counts, ("poll", 0): one("succeeded")})
    assert over["poll"].told == "2 iterations"


def test_a_wait_says_until_when() -> None:
    counts = {("guarded", 0): one("running"), ("guarded/try/rest", 0): one("waiting"), ("poll", 0): one("skipped")}
    steps = control(counts, Live("guarded/try/rest", "", False, "waiting", LATER, is_later=True))
    rest = steps["guarded/try/rest"]
    assert (rest.state, rest.waits_until, rest.seconds) == ("waiting", LATER, None)
    assert [step.path for step in awaited(steps.values())] == ["guarded/try/rest"]
    assert (steps["poll"].iterations, told(steps["poll/look"])) == (None, ("skipped", ""))
    beside = control(
        counts,
        Live("guarded/try/rest", "", False, "waiting", LATER, is_later=True),
        Live("guarded/try/pay", "", True, None, NOW),
    )
    assert awaited(beside.values()) == [], "something else goes on"


def test_what_a_failure_stopped_says_so() -> None:
    steps = failed_try()
    assert told(steps["guarded/try/rest"]) == ("cancelled", "stopped: pay failed")
    assert told(steps["guarded/try/pay"]) == ("failed", "")
    assert told(steps["guarded/try/thank"]) == ("cancelled", "not started: pay failed")
    assert told(steps["guarded/try/other/0/deep"]) == ("cancelled", "not started: pay failed")


def test_a_catch_that_does_not_run_says_why() -> None:
    steps = failed_try()
    assert told(steps["guarded/catch0/again"]) == ("skipped", "not for this error")
    assert told(steps["guarded/catch1/tell"]) == ("pending", ""), "it is about to run"
    assert told(steps["guarded/catch2/apologize"]) == ("skipped", "another catch ran")
    assert told(steps["guarded/finally/clean"]) == ("pending", "")
    rest = failed_try({**NO_STOCK, "code": "HTTP_503"})
    assert told(rest["guarded/catch0/again"]) == ("pending", "")
    assert told(rest["guarded/catch1/tell"]) == ("skipped", "another catch ran")
    half = failed_try(undoing={("guarded/try/pay/compensate", 0): one("failed")})
    assert told(half["guarded/catch1/tell"]) == ("skipped", "not everything could be undone")
    outer = failed_try(
        {**NO_STOCK, "code": "COMPENSATION_FAILED"}, {("guarded/try/in/pay/compensate", 0): one("failed")}
    )
    assert told(outer["guarded/catch2/apologize"]) == ("pending", "")
    well = control({("guarded", 0): one("running"), ("guarded/try", 0): one("succeeded")})
    assert {told(well[f"guarded/{path}"]) for path in ("catch0/again", "catch1/tell", "catch2/apologize")} == {
        ("skipped", "no error")
    }
    assert told(well["guarded/finally/clean"]) == ("pending", "")


def test_what_is_inside_of_a_cancelled_try_was_not_started() -> None:
    steps = control({("guarded", 0): one("cancelled"), ("guarded/try/pay", 0): one("succeeded")})
    assert told(steps["guarded/try/pay"]) == ("succeeded", "")
    for path in ("try/thank", "catch2/apologize", "finally/clean"):
        assert told(steps[f"guarded/{path}"]) == ("cancelled", "not started")


def test_a_step_that_was_undone_says_so() -> None:
    def pay(state: str) -> tuple[str, str]:
        undoing = {("guarded/try/pay", 0): one("succeeded"), ("guarded/try/pay/compensate", 0): one(state)}
        why = {"guarded/try/pay/compensate": [Failure("", state, 1, {"message": "gone"})]} if state == "failed" else {}
        return told(control(undoing, failures=why)["guarded/try/pay"])

    assert pay("succeeded") == ("succeeded", "undone")
    assert pay("retrying") == ("succeeded", "being undone")
    assert pay("failed") == ("succeeded", "could not be undone: gone")


EACH = """\
nexusflow: "1"
name: each
steps:
  - id: each
    type: foreach
    with: { items: [1, 2] }
    steps:
      - { id: rest, type: wait, with: { duration: 1h } }
      - id: guarded
        type: try
        needs: [rest]
        steps: [{ id: a, type: transform, with: { jq: . } }]
        catch: [{ steps: [{ id: b, type: transform, with: { jq: . } }] }]
      - id: poll
        type: until
        needs: [rest]
        until: "${{ iteration.index == 3 }}"
        steps: [{ id: look, type: transform, with: { jq: . } }]
"""


def test_in_a_foreach_waits_catches_and_iterations_are_counted() -> None:
    counts = {("each", 0): one("running", items=2), ("each/rest", 1): Records({"waiting": 2})}
    live = [Live("each/rest", item, False, "waiting", LATER, is_later=True) for item in "01"]
    steps = control(counts, *live, workflow=EACH)
    assert (steps["each/rest"].counts, steps["each/rest"].waits_until) == ({"waiting": 2}, LATER)
    assert told(steps["each/guarded/catch0/b"]) == ("pending", "")
    two = Records({"succeeded": 2})
    counts |= {("each/rest", 1): two, ("each/guarded", 1): two, ("each/guarded/try", 1): two}
    counts |= {("each/guarded/try/a", 1): two, ("each/poll", 1): two, ("each/poll", 2): Records({"succeeded": 8})}
    steps = control(counts, workflow=EACH)
    assert told(steps["each/guarded/catch0/b"]) == ("pending", ""), "another item may come"
    assert (steps["each/poll"].iterations, steps["each/poll"].told) == (Iterations(8, None), "8 iterations")
    steps = control({**counts, ("each", 0): one("succeeded", items=2)}, workflow=EACH, is_over=True)
    assert told(steps["each/guarded/catch0/b"]) == ("skipped", "no error")


EVENT = """\
nexusflow: "1"
name: event
steps:
  - id: each
    type: foreach
    with: { items: [1, 2, 3, 4, 5] }
    steps: [{ id: paid, type: wait, with: { event: order.paid, key: "${{ item }}", timeout: 1h } }]
  - { id: done, type: wait, with: { event: order.done } }
"""


def test_a_wait_says_for_which_event() -> None:
    counts = {
        ("each", 0): one("running", items=5),
        ("each/paid", 1): Records({"waiting": 5}),
        ("done", 0): one("waiting"),
    }
    live = [Live("each/paid", n, False, "waiting", LATER, True, "order.paid", f"o-{n}") for n in "01234"]
    steps = control(counts, *live, Live("done", "", False, "waiting", None, True, "order.done"), workflow=EVENT)
    paid, done = steps["each/paid"], steps["done"]
    assert (paid.waits_until, paid.waits_for) == (LATER, Awaited("order.paid", ("o-0", "o-1", "o-2"), 5))
    assert paid.waits_for is not None
    assert paid.waits_for.told == "order.paid o-0, o-1, o-2 and 2 more"
    assert (done.state, done.waits_until, done.waits_for) == ("waiting", None, Awaited("order.done", ("",), 1))
    assert done.waits_for is not None
    assert done.waits_for.told == "order.done"
    assert done.as_dict()["waits_for"] == {"event": "order.done", "keys": ("",), "waiting": 1}
    assert [step.path for step in awaited(steps.values())] == ["each/paid", "done"]
    given = control(counts, Live("done", "", False, "waiting", NOW), workflow=EVENT)
    assert given["done"].waits_for is None, "it goes on"
    over = control(counts, *live, workflow=EVENT, is_over=True)
    assert over["each/paid"].waits_for is None


def test_in_a_run_that_is_over_nothing_waits() -> None:
    counts = {("guarded", 0): one("running"), ("guarded/try/rest", 0): one("waiting")}
    steps = control(counts, Live("guarded/try/rest", "", False, "waiting", LATER, is_later=True), is_over=True)
    assert told(steps["guarded/try/rest"]) == ("cancelled", "interrupted")
    assert steps["guarded/try/rest"].waits_until is None
    inside = control({("poll", 0): one("running"), ("poll/look", 1): Records({"waiting": 1})}, is_over=True)
    assert inside["poll/look"].counts == {"cancelled": 1}


def test_why_there_is_no_attempt_is_told() -> None:
    text = """\
nexusflow: "1"
name: race
steps:
  - { id: ask, type: openai.chat, cache: 1h, with: { model: m, prompt: p } }
  - { id: rest, type: wait, with: { duration: 1h } }
  - { id: first, needs: [ask, rest], join: { n: 1, rest: cancel }, type: transform, with: { jq: . } }
"""
    race = compile_plan(parse_definition(text, catalogue()), catalogue())
    cached = Records({"succeeded": 1}, 0, NOW, NOW)
    counts = {("ask", 0): cached, ("rest", 0): Records({"cancelled": 1}, 0, None, NOW), ("first", 0): one("succeeded")}
    steps = {step.path: step for step in derive_steps(race, RunRecords(counts, {}, []), is_over=True)}
    assert {path: step.note for path, step in steps.items()} == {
        "ask": "from the cache", "rest": "not needed: others were enough", "first": "",
    }  # fmt: skip
