"""What a rerun keeps of the run that it repeats."""

from typing import Any

from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.starts.keeping import Kept, keep, keep_nothing
from nexusflow.workflows.starts.rerun_checks import misfits
from tests.unit.workflows.definitions import compiled, foreach, step, switch

OK, BAD = "succeeded", "failed"


def states(**given: str) -> dict[str, dict[str, str]]:
    """Records: ``a__b_1_0`` is the step ``a/b`` at the item ``1.0``; one letter a state."""
    words = {"s": OK, "f": BAD, "k": "skipped", "r": "running", "c": "cancelled", "b": "blocked", "t": "retrying"}
    found: dict[str, dict[str, str]] = {}
    for name, letter in given.items():
        path, _, item = name.replace("__", "/").partition("_")
        found.setdefault(path, {})[item.replace("_", ".")] = words[letter]
    return found


def kept(plan: Plan, *, at: str | None = None, onto: Plan | None = None, **given: str) -> Kept:
    return keep(plan, onto or plan, states(**given), at)


def names(found: Kept) -> set[str]:
    return {f"{path}_{item}" if item else path for path, item in found.records}


def until(name: str, *steps: dict[str, Any], needs: str = "") -> dict[str, Any]:
    given = {"max_iterations": 3}
    return {"id": name, "type": "until", "needs": needs.split(), "until": "${{ false }}", "with": given, "steps": steps}


def attempt(name: str, *steps: dict[str, Any], needs: str = "", last: Any = None, **more: Any) -> dict[str, Any]:
    more |= {"finally": {"steps": last}} if last else {}
    return {"id": name, "type": "try", "needs": needs.split(), "steps": steps, "catch": [], **more}


def undoable(name: str, needs: str = "") -> dict[str, Any]:
    return step(name, "i", needs, compensate={"type": "http.request"})


def test_steps_that_succeeded_or_were_skipped_are_kept_and_no_other() -> None:
    plan = compiled(step("a"), step("b", needs="a"), step("c", needs="b"), step("d", needs="a"), step("e"))
    found = kept(plan, a="s", b="k", c="f", d="t")
    assert names(found) == {"a", "b"}
    assert found.unfinished == {"c": {""}, "d": {""}}
    assert not found.again
    assert not found.anew


def test_a_foreach_that_failed_goes_on_with_its_list_and_what_its_items_did() -> None:
    plan = compiled(foreach("each", step("put"), step("tell", "n", "put")), step("last", needs="each"))
    assert plan.scopes["each"].single is None
    found = kept(plan, each="f", each_0="s", each_1="f", each__put_0="s", each__tell_0="s", each__put_1="s",
                 each__tell_1="f")  # fmt: skip
    assert names(found) == {"each/put_0", "each/tell_0", "each/put_1"}
    assert found.lists == {("each", "")}


def test_items_of_one_segment_are_passed_without_a_look_at_their_steps() -> None:
    plan = compiled(foreach("each", step("put"), step("log", needs="put")))
    found = kept(plan, each="f", each_0="s", each_1="f", each__put_0="s", each__log_0="s", each__put_1="f")
    assert names(found) == {"each_0", "each/put_0", "each/log_0"}


def test_failed_items_that_were_collected_are_done_again_and_what_came_after_is_not() -> None:
    plan = compiled(foreach("each", step("put")), step("last", needs="each"))
    found = kept(plan, each="s", each_0="s", each_1="f", each__put_0="s", each__put_1="f", last="s")
    assert names(found) == {"each_0", "each/put_0", "last"}
    assert found.lists == {("each", "")}
    assert found.unfinished == {"each/put": {"1"}}


def test_a_scope_that_succeeded_is_kept_whole() -> None:
    plan = compiled(
        foreach("each", switch("size", [step("put")], [step("drop")])), until("poll", step("look")), step("bad")
    )
    given = {"each": "s", "each_0": "s", "each__size_0": "s", "each__size__0__put_0": "s", "bad": "f"}
    found = kept(plan, **given, poll="s", poll_0="s", poll_1="s", poll__look_0="f", poll__look_1="s")
    assert {("each", ""), ("poll", ""), ("poll/look", "0"), ("each/size/0/put", "0")} <= found.records
    assert not found.lists
    assert set(found.unfinished) == {"bad"}


def test_an_until_goes_on_in_the_iteration_that_failed() -> None:
    plan = compiled(until("poll", step("look"), step("note", needs="look")))
    given = {"poll": "f", "poll_0": "s", "poll_1": "f"}
    found = kept(plan, **given, poll__look_0="s", poll__note_0="s", poll__look_1="s", poll__note_1="f")
    assert names(found) == {"poll_0", "poll/look_0", "poll/note_0", "poll/look_1"}


def test_an_until_that_took_too_many_iterations_begins_again() -> None:
    plan = compiled(until("poll", step("look")))
    found = kept(plan, poll="f", poll_0="s", poll_1="s", poll__look_0="s", poll__look_1="s")
    assert not found.records
    assert found.again == {"poll/look": {"0", "1"}}


def test_what_was_undone_is_done_again_and_what_comes_after_it() -> None:
    body = [undoable("pay"), step("log", "i", "pay"), step("other", "i"), step("send", "i", "pay")]
    plan = compiled(attempt("order", *body, last=[step("free", "i")]), step("last", needs="order"))
    found = kept(plan, order="f", order__try="f", order__try__pay="s", order__try__pay__compensate="s",
                 order__try__log="s", order__try__other="s", order__try__send="f", order__finally="s",
                 order__finally__free="s")  # fmt: skip
    assert names(found) == {"order/try/other"}
    assert found.again == {
        "order/try/pay": {""},
        "order/try/pay/compensate": {""},
        "order/try/log": {""},
        "order/finally/free": {""},
    }
    assert found.unfinished == {"order/try/send": {""}}


def test_what_could_not_be_undone_is_kept() -> None:
    plan = compiled(attempt("order", undoable("pay"), step("send", "i", "pay")))
    found = kept(plan, order="f", order__try="f", order__try__pay="s", order__try__pay__compensate="f",
                 order__try__send="f")  # fmt: skip
    assert names(found) == {"order/try/pay"}


def test_a_failure_that_was_caught_stays_caught() -> None:
    catch = [{"steps": [step("save", "i")]}]
    plan = compiled(
        attempt("order", undoable("pay"), step("send", "i", "pay"), catch=catch), step("bad", needs="order")
    )
    found = kept(plan, order="s", order__try="f", order__try__pay="s", order__try__pay__compensate="s",
                 order__try__send="f", order__catch0="s", order__catch0__save="s", bad="f")  # fmt: skip
    assert len(found.records) == 7
    assert set(found.unfinished) == {"bad"}


def test_a_try_whose_last_part_failed_keeps_its_steps() -> None:
    plan = compiled(attempt("order", step("pay", "i"), last=[step("free", "i"), step("tell", "i", "free")]))
    found = kept(plan, order="f", order__try="s", order__try__pay="s", order__finally="f", order__finally__free="s",
                 order__finally__tell="f")  # fmt: skip
    assert names(found) == {"order/try/pay", "order/finally/free"}


def test_from_a_step_on_it_and_what_comes_after_it_are_done() -> None:
    plan = compiled(step("a", "i"), step("b", "i", "a"), foreach("c", step("put", "i"), needs="b"), step("d", "i"))
    found = kept(plan, at="b", a="s", b="s", c="s", c_0="s", c__put_0="s", d="s")
    assert names(found) == {"a", "d"}
    assert found.anew >= {"b", "c", "c/put", "c/put/compensate"}
    assert not found.anew & {"a", "d"}
    assert not found.lists


def test_from_a_step_of_a_branch_or_a_try_on() -> None:
    inner = attempt("t", step("x", "i"), step("y", "i", "x"), last=[step("z", "i")])
    plan = compiled(switch("size", [step("w", "i"), inner]), step("after", "i", "size"), step("beside", "i"))
    given = {"size": "s", "size__0__w": "s", "size__0__t": "s", "size__0__t__try": "s", "size__0__t__finally": "s"}
    inside = {"size__0__t__try__x": "s", "size__0__t__try__y": "s", "size__0__t__finally__z": "s"}
    found = kept(plan, at="size/0/t/try/y", **given, **inside, after="s", beside="s")
    assert names(found) == {"size/0/w", "size/0/t/try/x", "beside"}
    assert found.anew >= {"size/0/t/try/y", "size/0/t/finally/z", "after"}
    assert not found.anew & {"size/0/t/try/x", "size/0/w", "beside", "size"}


def test_what_comes_after_a_step_in_either_version_is_done() -> None:
    before = compiled(step("a"), step("b", needs="a"), step("c"))
    after = compiled(step("a"), step("b"), step("c", needs="a"))
    assert names(kept(before, onto=after, at="a", a="s", b="s", c="s")) == set()


def test_what_the_other_version_does_not_have_is_left_out_of_what_is_kept_whole() -> None:
    before = compiled(foreach("each", step("put")), step("bad"))
    after = compiled(foreach("each", step("write")), step("bad"))
    found = kept(before, onto=after, each="s", each_0="s", each__put_0="s", bad="f")
    assert names(found) == {"each", "each_0"}
    assert misfits(before, after, found, dict.fromkeys) == []


def test_what_is_kept_of_an_open_loop_has_to_be_there() -> None:
    before = compiled(foreach("each", step("put"), step("tell", "n", "put")), until("poll", step("look")))
    given = {
        "each": "f",
        "each_0": "f",
        "each__put_0": "s",
        "each__tell_0": "f",
        "poll": "f",
        "poll_0": "s",
        "poll_1": "f",
    }
    after = compiled(foreach("each", step("write"), step("tell", "n")), foreach("poll", step("look")))
    found = kept(before, onto=after, **given, poll__look_0="s", poll__look_1="f")
    problems = misfits(before, after, found, dict.fromkeys)
    assert {each.code for each in problems} == {"STEP_GONE", "STEP_CHANGED"}
    assert {each.message.split("'")[1] for each in problems} == {"each/put", "poll"}


def test_an_item_that_failed_by_its_output_is_done_again() -> None:
    plan = compiled(foreach("each", step("put")))
    found = kept(plan, each="s", each_0="s", each_1="f", each__put_0="s", each__put_1="s")
    assert found.lists == {("each", "")}
    assert names(found) == {"each_0", "each/put_0", "each/put_1"}


def test_a_step_called_compensate_is_a_step() -> None:
    plan = compiled(switch("each", [step("compensate")]), step("bad"))
    assert names(kept(plan, each="s", each__0__compensate="s", bad="f")) == {"each", "each/0/compensate"}


def test_from_the_start_nothing_is_kept() -> None:
    plan = compiled(step("a", "i"), step("b", "i", "a"), step("c", "t"))
    found = keep_nothing(plan, plan, states(a="s", b="f", c="s"))
    assert not found.records
    assert (found.again, found.unfinished) == ({"a": {""}}, {"b": {""}})
    assert found.anew >= {"a", "b"}
