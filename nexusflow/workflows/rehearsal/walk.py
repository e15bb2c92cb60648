"""A run of a plan inside this process: its scopes, joins, loops, tries and retries, with a clock that jumps.

What an expression sees, when a join is met, what is next in a try and whether an error is tried again are the engine's
own rules; what is told here is what the engine's rows tell: which step is ready, and when a scope is over.
"""

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from nexusflow.errors import StepError
from nexusflow.workflows.engine.act import recordable, storable
from nexusflow.workflows.engine.consequences import blame
from nexusflow.workflows.engine.mocking import mocked_by
from nexusflow.workflows.engine.outcomes import LIST, Key, Outcome, Surroundings, child_item
from nexusflow.workflows.engine.scopes import BLOCKED, items_of, loop_did_not_end
from nexusflow.workflows.engine.trying import next_of_try, parts_of
from nexusflow.workflows.engine.waiting import waiting_moment, waiting_seconds
from nexusflow.workflows.evaluation.expressions import is_true, resolve
from nexusflow.workflows.evaluation.sandbox import get_sandbox
from nexusflow.workflows.language.definition import CONTROL_TYPES, Definition
from nexusflow.workflows.planning.graph import BODY, FINALLY
from nexusflow.workflows.planning.plan import Plan, StepPlan
from nexusflow.workflows.rehearsal.acting import Actor, is_rehearsed
from nexusflow.workflows.rehearsal.agenda import Agenda, Opened, Walked
from nexusflow.workflows.rehearsal.attempts import Attempts
from nexusflow.workflows.rehearsal.cases import UNFINISHED, Case
from nexusflow.workflows.rehearsal.journal import Journal, Rehearsed
from nexusflow.workflows.rehearsal.mocking import Mocks, Unanswered, unmocked
from nexusflow.workflows.rehearsal.undoing import how_undone, next_to_undo
from nexusflow.workflows.rows.effects import Row
from nexusflow.workflows.rows.states import STEP_FAILED, STEP_TERMINAL, join_met
from nexusflow.workflows.rows.work import Claim, Hint, Holder

RUN_TIMED_OUT = {"code": "RUN_TIMED_OUT", "message": "The run took longer than its timeout.", "cause": "user"}


def rehearse(definition: Definition, plan: Plan, case: Case, given: dict[str, Any]) -> Rehearsed:
    """Walk through one case; ``given``: its input, checked. Nothing but pure actions is done."""
    return _Walk(definition, plan, case, given).run()


class _Walk:
    def __init__(self, definition: Definition, plan: Plan, case: Case, given: dict[str, Any]) -> None:
        self._plan, self._timeout = plan, definition.timeout
        claim = Claim(Hint("", case.run_id, 0), Holder("", ""), "", "")
        self._around = Surroundings(plan, claim, given)
        self._journal, self._agenda, self._mocks = Journal(self._around.known), Agenda(), Mocks(case.mocks)
        self._actor = Actor(case.run_id, self._mocks, self._journal.found.calls)
        self._followers: dict[str, list[str]] = {path: [] for path in plan.steps}
        for path, step in plan.steps.items():
            for need in step.needs:
                self._followers[need].append(path)
        self._root = Walked(plan.scopes[""], "", None)
        self._attempts = Attempts(plan, self._journal, self._agenda, self._root)
        self._opened: dict[Key, Opened] = {}
        self._started = time.time()

    def run(self) -> Rehearsed:
        found = self._journal.found
        self._enter(self._root)
        try:
            while found.status == UNFINISHED and (moment := self._agenda.next_moment()) is not None:
                if self._timeout is not None and moment > self._timeout:
                    break
                self._agenda.step()
            if found.status == UNFINISHED and self._timeout is not None:  # what never answers takes too long, too
                found.status, found.error = "timed_out", dict(RUN_TIMED_OUT)
        except Unanswered as unanswered:
            found.unanswered = unanswered
        if found.status != UNFINISHED:
            self._journal.cancel(lambda _: True)
        return self._journal.close(self._mocks.unused())

    def _roots(self, refs: tuple[str, ...], walked: Walked) -> dict[str, Any]:
        return self._around.expression_scope(refs, walked.scope.path, walked.item)

    def _resolve(self, value: Any, refs: tuple[str, ...], walked: Walked) -> Any:
        return resolve(value, self._roots(refs, walked), get_sandbox())

    # Scopes: they begin, their steps become ready, they are over.

    def _begin(self, scope: str, item: str, holder: Opened) -> None:
        walked = Walked(self._plan.scopes[scope], item, holder)
        if walked.scope.kind != "branch":
            self._journal.begin(scope, item)
        self._enter(walked)

    def _enter(self, walked: Walked) -> None:
        walked.left = len(walked.scope.steps)
        for path in walked.scope.steps:
            if not self._plan.steps[path].needs:
                self._start(walked, path)

    def _start(self, walked: Walked, path: str) -> None:
        walked.begun.add(path)
        self._agenda.add(walked, partial(self._attempt, walked, path))

    def _conclude(self, walked: Walked, row: Row) -> None:
        """A step is over: its failure ends the scope, unless it is continued; else its followers may be ready."""
        step = self._plan.steps[row.step]
        if self._is_cancelled(row.step, walked):
            return
        self._journal.record(row, walked)
        if row.state in STEP_FAILED and row.state not in ("blocked", "cancelled") and step.spec["on_error"] == "fail":
            self._fail_scope(walked, blame(row))
            return
        walked.left -= 1
        for path in self._followers[row.step]:
            if path not in walked.begun and self._is_ready(path, walked):
                self._start(walked, path)
        if walked.left == 0:
            self._agenda.add(walked, partial(self._finish, walked))

    def _is_ready(self, path: str, walked: Walked) -> bool:
        step = self._plan.steps[path]
        states = [self._journal.state(need, walked.item) for need in step.needs]
        join = step.spec["join"]
        quorum = join["n"] if isinstance(join, dict) else 1 if join == "any_success" else None
        early = quorum is not None and states.count("succeeded") >= quorum
        return early or all(state in STEP_TERMINAL for state in states)

    def _finish(self, walked: Walked) -> None:
        scope, item, holder = walked.scope, walked.item, walked.holder
        path = scope.path if scope.kind == "part" else scope.step
        row = self._guarded(Row(path, item, "succeeded"), lambda: self._output(walked))
        if holder is None:
            self._end_run(row)
        elif scope.kind == "branch":
            self._close(holder, row)
        elif row.state != "succeeded":
            self._fail_scope(walked, row.error or {})
        elif scope.kind == "foreach":
            self._journal.record(row, walked)
            self._next_item(holder)
        elif scope.kind == "until":
            self._finish_iteration(walked, holder, row)
        else:
            self._finish_part(holder, row)

    def _end_run(self, row: Row) -> None:
        self._journal.found.status, self._journal.found.output, self._journal.found.error = (
            row.state,
            row.output,
            row.error,
        )

    def _output(self, walked: Walked) -> Any:
        scope = walked.scope
        if scope.output is not None:
            return self._resolve(scope.output, scope.refs, walked)
        last = self._journal.known.get((scope.last, walked.item))
        return last.output if last is not None else None

    def _guarded(self, row: Row, value: Callable[[], Any]) -> Row:
        try:
            row.output = storable(value())
        except StepError as error:
            row.state, row.error = "failed", recordable(error)
        return row

    def _close(self, opened: Opened, row: Row) -> None:
        """A step that held scopes is over, and with it all that is open inside."""
        opened.is_open = False
        self._journal.cancel(lambda walked: not walked.lives)
        self._conclude(opened.around, row)

    def _fail_scope(self, walked: Walked, error: dict[str, Any]) -> None:
        """A failure nobody continued: it ends its item, iteration, branch or part, or the run."""
        scope, item, holder = walked.scope, walked.item, walked.holder
        walked.is_open = False
        if holder is None:
            self._journal.found.status, self._journal.found.error = "failed", error
            return
        self._journal.cancel(lambda each: not each.lives)
        failed = Row(holder.path, holder.item, "failed", error=error)
        if scope.kind == "branch":
            self._close(holder, failed)
        elif scope.kind == "part":
            self._journal.record(Row(scope.path, item, "failed", error=error), walked)
            self._agenda.add(holder.around, partial(self._handle, holder))
        elif scope.kind == "until":
            self._journal.record(Row(scope.step, item, "failed", error=error), walked)
            self._close(holder, failed)
        else:
            policy = self._plan.steps[scope.step].spec["with"]["on_item_error"]
            output = {"error": error} if policy == "collect" else None
            self._journal.record(Row(scope.step, item, "failed", output=output, error=error), walked)
            if policy == "fail":
                self._close(holder, failed)
            else:
                self._next_item(holder)

    # One step.

    def _attempt(self, walked: Walked, path: str) -> None:
        step, item = self._plan.steps[path], walked.item
        if self._is_cancelled(path, walked):
            return
        self._cancel_rest(step, walked)
        self._journal.begin(path, item)
        states = [self._journal.state(need, item) for need in step.needs]

        def work(row: Row) -> None:
            when = step.spec.get("when")
            if not join_met(step.spec["join"], states):
                row.state, row.error = "blocked", dict(BLOCKED)
            elif when is False or (isinstance(when, str) and not is_true(self._resolve(when, step.refs, walked))):
                row.state = "skipped"
            elif step.spec.get("mock") is not None and not self._actor.has_mock(path, item):
                row.output = mocked_by(step.spec["mock"], lambda value: self._resolve(value, step.refs, walked))
            elif step.spec["type"] not in CONTROL_TYPES:
                row.output = self._actor.act(step.spec, path, item, self._roots(step.refs, walked))
            elif (mocked := self._actor.mocked(path, item)) is not None:
                row.output = mocked[0]
            else:
                self._open(step, walked, row)

        again = partial(self._attempt, walked, path)
        row = self._attempts.tried((path, item), walked, step.spec.get("retry"), work, again)
        if row is not None and row.state in STEP_TERMINAL:
            self._conclude(walked, row)

    def _is_cancelled(self, path: str, walked: Walked) -> bool:
        return self._journal.state(path, walked.item) == "cancelled"

    def _cancel_rest(self, step: StepPlan, walked: Walked) -> None:
        """What a join does not need any more is cancelled, with all that is open inside."""
        for path in step.rest:
            if self._journal.state(path, walked.item) in STEP_TERMINAL:
                continue
            if (opened := self._opened.get((path, walked.item))) is not None:
                opened.is_open = False
            walked.begun.add(path)
            walked.left -= 1
            self._journal.record(Row(path, walked.item, "cancelled", attempts=0), walked)
        if step.rest:
            self._journal.cancel(lambda each: not each.lives)

    def _open(self, step: StepPlan, walked: Walked, row: Row) -> None:
        """Begin what a step holds; its record is then an open one. A switch where nothing is true is over at once."""
        kind, path, item = step.spec["type"], step.path, walked.item
        opened = self._opened[path, item] = Opened(path, item, walked)
        row.state = "running"
        if kind == "foreach":
            value = self._resolve(step.spec["with"]["items"], step.refs, walked)
            opened.items = items_of(step.spec, value)
            self._journal.record(row, walked)
            self._open_foreach(step, opened)
        elif kind == "until":
            self._journal.record(row, walked)
            self._begin(path, child_item(item, 0), opened)
        elif kind == "try":
            self._journal.record(row, walked)
            self._begin(f"{path}/{BODY}", item, opened)
        elif kind == "switch":
            self._open_switch(step, opened, row)
        elif kind == "wait" and is_rehearsed(step.spec):
            delay = self._delay(step, walked)
            row.state = "waiting"
            self._journal.record(row, walked)
            self._agenda.add(walked, partial(self._conclude, walked, Row(path, item, "succeeded")), delay)
        else:
            raise unmocked(path, item, kind)

    def _delay(self, step: StepPlan, walked: Walked) -> float:
        given = step.spec["with"]
        if given["duration"] is not None:
            return waiting_seconds(self._resolve(given["duration"], step.refs, walked))
        moment = datetime.fromisoformat(waiting_moment(self._resolve(given["until"], step.refs, walked)))
        return max(0.0, moment.timestamp() - self._started - self._agenda.now)

    def _open_switch(self, step: StepPlan, opened: Opened, row: Row) -> None:
        names = [str(number) for number in range(len(step.spec["cases"]))]
        conditions = [case["when"] for case in step.spec["cases"]]
        chosen = next(
            (
                name
                for name, when in zip(names, conditions, strict=True)
                if is_true(self._resolve(when, step.refs, opened.around))
            ),
            "default",
        )
        if f"{step.path}/{chosen}" in self._plan.scopes:
            self._journal.record(row, opened.around)
            self._begin(f"{step.path}/{chosen}", opened.item, opened)
        else:
            row.state = "succeeded"

    # Loops.

    def _open_foreach(self, step: StepPlan, opened: Opened) -> None:
        opened.left = len(opened.items)
        self._journal.known[opened.path + LIST, opened.item] = Outcome("running", items=opened.items)
        if not opened.items:
            self._agenda.add(opened.around, partial(self._close_foreach, opened))
        while opened.cursor < min(len(opened.items), step.spec["with"]["max_parallel"]):
            self._begin_item(opened)

    def _begin_item(self, opened: Opened) -> None:
        opened.cursor += 1
        self._begin(opened.path, child_item(opened.item, opened.cursor - 1), opened)

    def _next_item(self, opened: Opened) -> None:
        """An item is over: its lane takes the next, or the foreach is over."""
        opened.left -= 1
        if opened.cursor < len(opened.items):
            self._begin_item(opened)
        elif opened.left == 0:
            self._agenda.add(opened.around, partial(self._close_foreach, opened))

    def _close_foreach(self, opened: Opened) -> None:
        skip = self._plan.steps[opened.path].spec["with"]["on_item_error"] == "skip"
        outcomes = [
            self._journal.known[opened.path, child_item(opened.item, index)] for index in range(len(opened.items))
        ]
        outputs = [each.output for each in outcomes if not (skip and each.state != "succeeded")]
        self._close(opened, self._guarded(Row(opened.path, opened.item, "succeeded"), lambda: outputs))

    def _finish_iteration(self, walked: Walked, opened: Opened, row: Row) -> None:
        scope, given = walked.scope, self._plan.steps[opened.path].spec["with"]
        condition = Row(opened.path, walked.item, "succeeded")
        self._guarded(condition, lambda: is_true(self._resolve(scope.condition, scope.refs, walked)))
        if condition.state != "succeeded":
            self._fail_scope(walked, condition.error or {})
            return
        self._journal.record(row, walked)
        following = int(walked.item.rpartition(".")[2]) + 1
        if condition.output:
            self._close(opened, Row(opened.path, opened.item, "succeeded", output=row.output))
        elif following < given["max_iterations"]:
            begin = partial(self._begin, opened.path, child_item(opened.item, following), opened)
            self._agenda.add(opened.around, lambda: begin() if opened.is_open else None, given["delay"] or 0.0)
        else:
            self._close(opened, Row(opened.path, opened.item, "failed", error=loop_did_not_end(following)))

    # Tries.

    def _finish_part(self, opened: Opened, row: Row) -> None:
        self._journal.record(row, opened.around)
        last = f"{opened.path}/{FINALLY}"
        if row.step == last:
            self._agenda.add(opened.around, partial(self._handle, opened))  # how it ends, the parts before it say
        elif last in self._plan.scopes:
            self._begin(last, opened.item, opened)
        else:
            self._close(opened, Row(opened.path, opened.item, "succeeded", output=row.output))

    def _handle(self, opened: Opened) -> None:
        """A part failed, or the last one is done: what succeeded is undone, then a catch, ``finally`` or the end."""
        if not opened.is_open:
            return
        path, item, spec = opened.path, opened.item, self._plan.steps[opened.path].spec
        found = {part: self._journal.known.get((f"{path}/{part}", item)) for part in parts_of(self._plan, path)}
        if (body := found[BODY]) is not None and body.state == "failed":
            following = next_to_undo(self._plan, self._journal, path, item)
            if following is not None:
                self._agenda.add(opened.around, partial(self._undo, opened, *following))
                return
            undone = how_undone(self._plan, self._journal, path, item)
            if undone.state == "failed":
                found[BODY], spec = undone, spec | {"catch": []}
        step = next_of_try(spec, found)
        if step.enter is not None:
            self._begin(f"{path}/{step.enter}", item, opened)
        elif step.end is not None:
            self._close(opened, Row(path, item, step.end.state, step.end.output, step.end.error))

    def _undo(self, opened: Opened, path: str, item: str) -> None:
        if not opened.is_open:
            return
        step, name = self._plan.steps[path], f"{path}/compensate"
        at = Walked(self._plan.scopes[step.scope], item, None)  # what the step saw, its compensation sees
        self._journal.begin(name, item)

        def work(row: Row) -> None:
            row.output = self._actor.act(step.spec["compensate"], name, item, self._roots(step.undo_refs, at))

        again = partial(self._undo, opened, path, item)
        row = self._attempts.tried((name, item), opened.around, step.spec["compensate"]["retry"], work, again)
        if row is not None:
            self._journal.record(row, opened.around)
            self._handle(opened)
