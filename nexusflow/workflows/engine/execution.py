"""What a claimed segment does: its ops, one after the other, each turned into records and consequences."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nexusflow.db.session import DATABASE_DOWN
from nexusflow.errors import Permanent, StepError, Transient
from nexusflow.log import crash_fields, get_logger
from nexusflow.storage import StorageAway
from nexusflow.workflows.engine.act import (
    FileOpener,
    Performed,
    Place,
    perform,
    recordable,
    storable,
)
from nexusflow.workflows.engine.calling import Caller, call_workflow, returned
from nexusflow.workflows.engine.consequences import Consequences, patience
from nexusflow.workflows.engine.failing import RunDone, RunEnding, RunPaused, Stopped, Waiting, fail
from nexusflow.workflows.engine.handling import handle_try, holder_of
from nexusflow.workflows.engine.insist import insist
from nexusflow.workflows.engine.mocking import mocked_by
from nexusflow.workflows.engine.outcomes import LIST, Outcome, child_item, iterations_kept
from nexusflow.workflows.engine.reading import Reading
from nexusflow.workflows.engine.resting import stop_rest
from nexusflow.workflows.engine.scopes import BLOCKED, items_of
from nexusflow.workflows.engine.waiting import begin_wait, end_of_wait
from nexusflow.workflows.evaluation.expressions import is_true
from nexusflow.workflows.planning.plan import Op, Plan, Scope, Segment, StepPlan
from nexusflow.workflows.rows.effects import Effects, Ending, Row
from nexusflow.workflows.rows.states import STEP_OPEN, STEP_TERMINAL, join_met
from nexusflow.workflows.rows.values import resolved
from nexusflow.workflows.rows.work import Claim, record

log = get_logger(__name__)
MAX_LOSSES = 3
CHUNK_SECONDS = 0.05
MAX_CHUNK = 64


@dataclass(frozen=True)
class Outside:
    """What a step may need that lies above the engine."""

    open_file: FileOpener
    start_child: Caller


class Execution:
    """One claim's work. ``run`` gives the effects to settle; what must not wait is recorded on the way."""

    def __init__(self, plan: Plan, claim: Claim, input_value: Any, outside: Outside) -> None:
        self._plan, self._claim, self._outside = plan, claim, outside
        self._segment: Segment = plan.segments[claim.hint.segment]
        self._scope: Scope = plan.scopes[self._segment.scope]
        self._reading = Reading(plan, claim, input_value)
        self._consequences = Consequences(plan, self._segment.id)
        self._suspect = True

    def run(self) -> Effects:
        """Do the segment's ops. Raises Waiting, RunEnding, RunPaused, Stopped, RunDone, FenceLost."""
        if self._claim.stopped:
            raise Stopped
        if self._claim.hi > self._claim.hint.lo:
            self._range()
        else:
            try:
                self._ops(self._claim.hint.item)
            except Waiting as waiting:
                waiting.rows[:0] = self._consequences.effects.rows  # a pure step's record waited for this one's
                raise
        return self._consequences.effects

    @property
    def unrecorded(self) -> list[Row]:
        """What is done and not written yet."""
        return self._consequences.effects.rows

    def stop(self) -> Effects:
        """Leave what is left of a segment that is not needed any more: its steps are cancelled."""
        effects, item = self._consequences.effects, self._claim.hint.item
        if self._segment.ops[0].path not in self._plan.dispensable:
            return effects  # what it lies in is cancelled
        done = {(row.step, row.item) for row in effects.rows}
        done |= {key for key, known in self._reading.known.items() if known.state in STEP_TERMINAL}
        for op in self._segment.ops:
            if op.kind in ("step", "open") and (op.path, item) not in done:
                effects.rows.append(Row(op.path, item, "cancelled", attempts=0))
        self._consequences.follow(self._segment.follows, item)
        return effects

    def next_range(self, lo: int, hi: int) -> None:
        """Go on as the same lane with further items."""
        self._claim.hint = replace(self._claim.hint, lo=lo)
        self._claim.hi, self._suspect = hi, False
        self._consequences = Consequences(self._plan, self._segment.id)

    # A range: several items of a foreach whose body is one segment.

    def _range(self) -> None:
        started, lo, hi = time.monotonic(), self._claim.hint.lo, self._claim.hi
        effects = self._consequences.effects
        waits: list[Waiting] = []
        self._reading.load([child_item(self._claim.hint.item, index) for index in range(lo, hi)])
        for index in range(lo, hi):
            item = child_item(self._claim.hint.item, index)
            known = self._reading.known.get((self._scope.step, item))
            if known is not None and known.state == "succeeded":
                continue
            try:
                self._ops(item)
            except Waiting as waiting:
                effects.rows.extend(waiting.rows)
                waits.append(waiting)
            if self._foreach_is_over():
                return
        if waits:
            # The lane waits with its items, so that no more than its foreach allows are tried again at once.
            raise Waiting(effects.rows, max(w.delay for w in waits), max(w.attempts for w in waits))
        each = (time.monotonic() - started) / (hi - lo)
        take = int(max(1, min(MAX_CHUNK, CHUNK_SECONDS / max(each, 1e-6))))
        self._consequences.take_turn(self._scope, self._claim.hint.item, take=take)

    def _foreach_is_over(self) -> bool:
        effects = self._consequences.effects
        foreach, prefix = self._scope.step, self._claim.hint.item
        return effects.ending is not None or any(
            row.step == foreach and row.item == prefix and row.state in STEP_TERMINAL for row in effects.rows
        )

    # The ops of one item (or of no item).

    def _ops(self, item: str) -> None:
        if self._claim.hi == self._claim.hint.lo:
            self._reading.load([item])
        states = [self._reading.state(need, item) for need in self._segment.needs]
        last = self._segment.ops[-1]
        stop_rest(self._plan, self._claim, self._segment.ops[0], item)
        for position, op in enumerate(self._segment.ops):
            if op.kind not in ("step", "open"):
                self._control(op, item)
                return
            outcome = self._step(op, item, states)
            if outcome is None:
                return
            states = [outcome.state]
            if op is not last and self._must_record(op):
                self._flush(position + 1)
        self._after_last(item)

    def _after_last(self, item: str) -> None:
        if self._scope.single is None:
            self._consequences.follow(self._segment.follows, item)
            return
        row = self._guard(Row(self._scope.step, item, "succeeded", event=False), lambda: self._reading.output(item))
        if row.state == "succeeded":
            self._consequences.effects.rows.append(row)
        else:
            self._consequences.fail_scope(self._scope, item, row.error or {})
        if self._claim.hi - self._claim.hint.lo > 1 and any(self._must_record(op) for op in self._segment.ops):
            self._flush(0)

    def _step(self, op: Op, item: str, states: list[str]) -> Outcome | None:
        """Do one step or open one scope; None where the segment must not go on behind it.

        A step that another worker recorded is not done again, but what follows from it is worked out again: that
        worker may have died before it settled.
        """
        plan = self._plan.steps[op.path]
        known = self._reading.known.get((op.path, item))
        if known is not None and known.state == "cancelled":
            raise Stopped
        if known is not None and known.state in STEP_TERMINAL:
            row = Row(op.path, item, known.state, known.output, known.error)
        else:
            row = self._attempt(op, plan, item, states)
            if row.state in STEP_OPEN:
                return None
        if op.kind == "open":
            self._consequences.conclude_scope_step(row)
            return None
        self._consequences.conclude(row)
        outcome = self._reading.known[op.path, item] = Outcome(row.state, row.output, row.error)
        return None if row.state in ("failed", "timed_out") and plan.spec["on_error"] == "fail" else outcome

    def _attempt(self, op: Op, plan: StepPlan, item: str, states: list[str]) -> Row:
        known = self._reading.known.get((op.path, item))
        before = known.attempts if known is not None and known.state == "retrying" else 0
        row = Row(op.path, item, "succeeded", attempts=before + 1)
        started = time.monotonic()
        try:
            if not join_met(plan.spec["join"], states):
                row.state = "blocked"
                row.error = dict(BLOCKED)
            elif not self._wanted(plan, item):
                row.state = "skipped"
            elif self._claim.mock and plan.spec.get("mock") is not None:
                row.output = mocked_by(plan.spec["mock"], lambda value: self._reading.resolve(value, plan.refs, item))
            elif op.kind == "open":
                self._refuse_if_condemned()
                self._open(plan, row)
            else:
                # A pure step's record waits for the next one's, so its being unrecorded accuses it only at the end.
                if self._must_record(op) or op is self._segment.ops[-1]:
                    self._refuse_if_condemned()
                done = self._act(plan, item, row.attempts)
                row.output, row.attempts = done.output, 0 if done.cached else row.attempts
        except StepError as error:
            fail(row, plan.spec.get("retry"), error)
        except (StorageAway, RunEnding):
            raise
        except Exception as error:
            fail(row, None, self._defect(error, op.path))
        row.seconds = time.monotonic() - started
        return row

    def _act(self, plan: StepPlan, item: str, attempt: int) -> Performed:
        place = Place(self._claim.hint.tenant, self._claim.hint.run, plan.path, item, attempt, self._claim.family)
        return perform(plan.spec, place, self._reading.roots(plan.refs, item), self._outside.open_file)

    def _refuse_if_condemned(self) -> None:
        """Fail instead of trying once more what hung until the control plane took it, or killed worker after worker."""
        condemned, self._suspect = self._suspect, False
        if condemned and self._claim.verdict == "timed_out":
            raise Transient(
                "STEP_TIMED_OUT", "The step did not end within its timeout.", "Raise `timeout`, or do less."
            )
        if condemned and self._claim.losses >= MAX_LOSSES:
            raise Permanent(
                "WORKER_LOST",
                f"{self._claim.losses} workers died while they ran this step.",
                "It may exhaust a worker's memory or crash it: see the workers' logs.",
                cause="platform",
            )

    def _wanted(self, plan: StepPlan, item: str) -> bool:
        when = plan.spec.get("when")
        if when is None or isinstance(when, bool):
            return when is not False
        return is_true(self._reading.resolve(when, plan.refs, item))

    # Scopes.

    def _open(self, plan: StepPlan, row: Row) -> None:
        row.state = "running"
        if plan.spec["type"] == "foreach":
            known = self._reading.known.get((plan.path + LIST, row.item))
            if known is not None and known.items is not None:
                row.items = resolved(known.items)
            else:
                value = self._reading.resolve(plan.spec["with"]["items"], plan.refs, row.item)
                row.items = items_of(plan.spec, value)
            self._consequences.open_foreach(row)
        elif plan.spec["type"] == "until":
            self._consequences.open_until(row, iterations_kept(self._claim, row.step, row.item))
        elif plan.spec["type"] == "try":
            self._consequences.open_try(row)
        elif plan.spec["type"] == "wait":
            begin_wait(plan, row, self._reading, self._consequences)
        elif plan.spec["type"] == "workflow":
            call_workflow(self._plan, self._claim, self._reading, self._consequences, self._outside.start_child, row)
        else:
            branch = self._branch(plan, row.item)
            if branch is None:
                row.state = "succeeded"
            else:
                row.cursor = branch
                name = "default" if branch < 0 else str(branch)
                self._consequences.effects.rows.append(row)
                self._consequences.open_branch(self._plan.scopes[f"{plan.path}/{name}"], row.item)

    def _branch(self, plan: StepPlan, item: str) -> int | None:
        for number, case in enumerate(plan.spec["cases"]):
            if is_true(self._reading.resolve(case["when"], plan.refs, item)):
                return number
        return -1 if f"{plan.path}/default" in self._plan.scopes else None

    def _control(self, op: Op, item: str) -> None:
        """End a scope: an item, an iteration, a branch, a part of a try, a foreach, a wait, the workflow."""
        if op.kind == "end":
            row = self._guard(Row("", "", "succeeded"), lambda: self._reading.output(item))
            if row.state == "succeeded":
                raise RunDone(row.output)
            self._consequences.effects.ending = Ending("failed", row.error or {})
        elif op.kind in ("item", "part"):
            path = self._scope.path if op.kind == "part" else op.path
            row = self._guard(Row(path, item, "succeeded", event=False), lambda: self._reading.output(item))
            if row.state != "succeeded":
                self._consequences.fail_scope(self._scope, item, row.error or {})
            elif op.kind == "part":
                self._consequences.finish_part(self._scope, row)
            elif self._scope.kind == "until":
                self._finish_iteration(row, item)
            else:
                self._consequences.finish_item(op.path, item, row)
        elif op.kind == "handle":
            handle_try(self._plan, self._claim, self._reading, self._consequences, op.path, item)
        elif op.kind == "undo":
            self._undo(op.path, item)
        elif self._plan.steps[op.path].spec["type"] == "wait":
            self._consequences.conclude_scope_step(end_of_wait(self._plan.steps[op.path], item, self._claim))
        elif self._plan.steps[op.path].spec["type"] == "workflow":
            if (of_child := returned(self._claim, op.path, item)) is not None:
                self._consequences.conclude_scope_step(of_child)
        else:
            is_branch = self._scope.kind == "branch" and self._scope.step == op.path
            value = (
                (lambda: self._reading.output(item)) if is_branch else (lambda: self._reading.collect(op.path, item))
            )
            self._consequences.conclude_scope_step(self._guard(Row(op.path, item, "succeeded"), value))

    def _finish_iteration(self, row: Row, item: str) -> None:
        condition = Row(row.step, item, "succeeded")
        self._guard(condition, lambda: is_true(self._reading.resolve(self._scope.condition, self._scope.refs, item)))
        if condition.state == "succeeded":
            self._consequences.finish_iteration(self._scope, row, is_done=condition.output)
        else:
            self._consequences.fail_scope(self._scope, item, condition.error or {})

    def _undo(self, path: str, item: str) -> None:
        """Compensate a step, and let the try that asked for it go on."""
        plan, spec = self._plan.steps[path], self._plan.steps[path].spec["compensate"]
        name = f"{path}/compensate"
        known = self._reading.known.get((name, item))
        if known is None or known.state not in STEP_TERMINAL:
            before = known.attempts if known is not None else 0
            row, started = Row(name, item, "succeeded", attempts=before + 1), time.monotonic()
            place = Place(self._claim.hint.tenant, self._claim.hint.run, name, item, row.attempts, self._claim.family)
            try:
                self._refuse_if_condemned()
                roots = self._reading.roots(plan.undo_refs, item)
                row.output = perform(spec, place, roots, self._outside.open_file).output
            except StepError as error:
                fail(row, spec["retry"], error)
            except StorageAway:
                raise
            except Exception as error:
                fail(row, None, self._defect(error, name))
            row.seconds = time.monotonic() - started
            self._consequences.effects.rows.append(row)
        holder = holder_of(self._plan, self._reading, path, item)
        if holder is not None:
            self._consequences.handle(*holder)

    def _guard(self, row: Row, value: Any) -> Row:
        try:
            self._refuse_if_condemned()
            row.output = storable(value())
        except StepError as error:
            row.state, row.error = "failed", recordable(error)
        except DATABASE_DOWN:
            raise
        except Exception as error:
            row.state, row.error = "failed", self._defect(error, row.step).as_dict()
        return row

    def _defect(self, error: Exception, step: str) -> StepError:
        """A surprise in the engine is recorded at the step, not left to look like a worker that died."""
        log.error("step.crashed", run=self._claim.hint.run, step=step, **crash_fields(error))
        return Permanent(
            "ENGINE_DEFECT",
            f"NexusFlow met an unexpected {type(error).__name__} at this step.",
            "This is a defect of NexusFlow; the worker's log has the details.",
            cause="platform",
        )

    def _must_record(self, op: Op) -> bool:
        return op.kind == "step" and not self._plan.steps[op.path].pure

    def _flush(self, upcoming: int) -> None:
        """Record what is done so far (an effect's record does not wait); ``upcoming``: which op comes next."""
        effects = self._consequences.effects
        if effects.ending or effects.followers or effects.dropped:
            return  # a scope's end and what follows from it are written together
        rows, effects.rows = effects.rows, []
        timeout = patience(self._plan, self._segment, upcoming)
        then = insist(partial(record, self._claim, rows, next_timeout=timeout))
        if then == "end":
            raise RunEnding
        if then == "stop":
            raise Stopped
        if then == "pause" and upcoming:
            raise RunPaused
