"""A run that is over, written as a test file: its input, what its vendors answered, and what came of it.

The case is rehearsed before it is written, and brought in line with what a rehearsal can show: so it passes as it is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nexusflow.errors import InvalidDefinition
from nexusflow.workflows.engine.outcomes import Key
from nexusflow.workflows.language.definition import Definition
from nexusflow.workflows.language.document import Document
from nexusflow.workflows.language.loader import load
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rehearsal.acting import is_rehearsed
from nexusflow.workflows.rehearsal.case_text import written
from nexusflow.workflows.rehearsal.cases import UNFINISHED, TestFile
from nexusflow.workflows.rehearsal.journal import Rehearsed
from nexusflow.workflows.rehearsal.places import Places, level_of, show_place
from nexusflow.workflows.rehearsal.suites import make_suite, read_tests
from nexusflow.workflows.rehearsal.verdict import Verdict
from nexusflow.workflows.reports.export_rows import FinishedRun, StepRecord, read_finished, refused
from nexusflow.workflows.rows.plans import plan_of
from nexusflow.workflows.rows.states import STEP_TERMINAL
from nexusflow.workflows.saved.versions import read_definition

ROUNDS = 20
"""So often a case is rehearsed until it passes."""
RAN = frozenset({"succeeded", "failed", "timed_out"})
FOUND_ANYWAY = frozenset(
    {
        *("REFERENCE_MISSING", "EXPRESSION_FAILED", "EXPRESSION_INVALID", "EXPRESSION_LIMIT", "WHEN_NOT_BOOLEAN"),
        *("INVALID_STEP_INPUT", "UNKNOWN_ACTION"),
    }
)
"""Errors that came before a vendor was asked: a rehearsal finds them by itself."""


@dataclass(frozen=True)
class ExportedTest:
    """A test file's text. ``notes``: what in it is not as it was."""

    run: str
    source: str
    notes: tuple[str, ...]


def export_test(tenant: str, run: str, *, workflow: str = "") -> ExportedTest:
    """Write a run as a test file; ``workflow``: the path of its workflow's file, else the definition is in it.

    Raises NotFound, Conflict CANNOT_EXPORT, StorageAway, ClusterUnusable.
    """
    found = read_finished(tenant, run)
    return write_test(run, found, plan_of(tenant, found.version), workflow=workflow)


def write_test(run: str, found: FinishedRun, plan: Plan, *, workflow: str = "") -> ExportedTest:
    """Write what was read of a run. Raises Conflict CANNOT_EXPORT."""
    try:
        definition = read_definition(found.source.encode())
        draft = _Draft(run, found, plan)
        for _ in range(ROUNDS):
            verdict = _rehearsed(draft, definition)
            if not draft.corrected(verdict):
                break
        else:
            draft.give_up(_rehearsed(draft, definition))
        ended = f"{found.status} on {found.finished_at:%Y-%m-%d} at {found.finished_at:%H:%M} UTC"
        comments = [f"Run {run} of {found.workflow}, version {found.number}: {ended}.", *draft.notes()]
        text = written(_words(found, draft, workflow), [*comments, "To be rehearsed by: nexusflow test FILE"])
        read_tests(text)  # what it holds, the language's own limits may refuse
    except InvalidDefinition as error:
        why = error.details[0].message if error.details else error.message
        message = f"Run {run} cannot be written as a test file: {why}"
        raise refused(message, "Run the workflow with simpler data, and export that run.") from None
    return ExportedTest(run, text, draft.notes())


def _words(found: FinishedRun, draft: "_Draft", workflow: str) -> dict[str, Any]:
    inline = None if workflow else load(found.source, max_bytes=len(found.source.encode())).data
    return {"nexusflow": "1", "workflow": workflow or inline, "cases": [draft.case]}


def _rehearsed(draft: "_Draft", definition: Definition) -> Verdict:
    """The case as it is now, checked and rehearsed."""
    words = {"nexusflow": "1", "workflow": "-", "cases": [draft.case]}
    suite = make_suite(Document(words, "", "", {}, {}), TestFile.model_validate(words), definition)
    return suite.judged(*suite.cases[0])


class _Draft:
    """The case, as far as it is. ``case``: its words."""

    def __init__(self, run: str, found: FinishedRun, plan: Plan) -> None:
        self._run, self._found, self._plan, self._places = run, found, plan, Places(plan)
        self._notes: list[str] = []
        self._computed: list[str] = []
        self._timing = 0
        mocks = self._mocks()
        expect = self._expected()
        self.case: dict[str, Any] = {"name": f"run {run}", "input": found.input}
        if "run.id" in found.source:
            self.case["run_id"] = run
        if mocks:
            self.case["mocks"] = mocks
        self.case["expect"] = expect

    def notes(self) -> tuple[str, ...]:
        """What is not as it was, a sentence each."""
        told = list(self._notes)
        if self._computed:
            told.append(f"Mocked, because a rehearsal computes something else: {', '.join(self._computed)}.")
        if self._timing:
            told.append(f"Left out, because they are a matter of timing: the states of {self._timing} steps.")
        mocked = {place.partition("[")[0] for place in self.case.get("mocks", {})}
        cut = dict.fromkeys(path for (path, _), record in self._found.records.items() if record.is_shortened)
        short = [f"the output of {path}" for path in cut if path in mocked]
        if short or "input" in self._found.shortened:
            what = ["the input"] * ("input" in self._found.shortened) + short
            told.append(f"Too large to be written, so shortened: {', '.join(what)}.")
        return tuple(told)

    # What the vendors answered.

    def _mocks(self) -> dict[str, Any]:
        answers: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for (path, item), record in self._found.records.items():
            if (
                path in self._places.steps
                and not self._is_rehearsed(path)
                and level_of(item) == self._places.steps[path]
            ):
                given = list(_answers(record))
                if given:
                    answers.setdefault(path, {})[item] = given
        mocks: dict[str, Any] = {}
        for path, by_item in answers.items():
            several = list(by_item.values())
            if all(each == several[0] for each in several) and len(several[0]) == 1:
                mocks[path] = several[0][0]
            else:
                mocks |= {show_place(path, item): _one(each) for item, each in by_item.items()}
        if self._found.status != "succeeded":  # what the run's end kept from being called
            mocks |= {
                path: {"never": True} for path in self._places.steps if path not in mocks and self._has_effect(path)
            }
        return mocks

    def _has_effect(self, path: str) -> bool:
        """Whether a rehearsal needs a mock of the step; a wait that was cancelled with its run is not waited for."""
        if self._found.status == "cancelled" and path in self._plan.steps and self._is_cut_off(path):
            return True
        return not self._is_rehearsed(path)

    def _is_cut_off(self, path: str) -> bool:
        states = [record.state for key, record in self._found.records.items() if key[0] == path]
        is_wait = self._plan.steps[path].spec["type"] == "wait"
        return is_wait and any(state not in STEP_TERMINAL or state == "cancelled" for state in states)

    def _is_rehearsed(self, path: str) -> bool:
        step = self._plan.steps.get(path)
        if step is None:
            return is_rehearsed(self._plan.steps[path.removesuffix("/compensate")].spec["compensate"])
        return is_rehearsed(step.spec)

    # What came of it.

    def _expected(self) -> dict[str, Any]:
        found = self._found
        expect: dict[str, Any] = {"status": found.status}
        if found.status == "cancelled":
            expect["status"] = UNFINISHED
            self._notes.append("The run was cancelled; rehearsed, it is still running at the end.")
        if found.status == "succeeded" and "output" not in found.shortened:
            expect["output"] = found.output
        elif found.status in ("failed", "timed_out") and found.error:
            expect["error"] = {
                word: found.error[word] for word in ("code", "cause", "step", "item") if found.error.get(word)
            }
        expect["steps"] = self._states()
        tried = {show_place(*key): each.attempts for key, each in self._found.records.items() if self._is_own(key)}
        expect["attempts"] = {place: attempts for place, attempts in tried.items() if attempts > 1}
        expect["order"] = self._order()
        return {word: value for word, value in expect.items() if word in ("status", "output") or value}

    def _states(self) -> dict[str, str]:
        """By step where all its items are alike, else by item; loops' own items where they failed."""
        by_path: dict[str, dict[str, str]] = {}
        states: dict[str, str] = {}
        for key, record in self._found.records.items():
            if record.state in STEP_TERMINAL and self._is_own(key):
                by_path.setdefault(key[0], {})[key[1]] = record.state
        for path, by_item in by_path.items():
            alike = len(set(by_item.values())) == 1
            states |= (
                {path: next(iter(by_item.values()))}
                if alike
                else {show_place(path, item): state for item, state in by_item.items()}
            )
        for (path, item), record in self._found.records.items():
            if path in self._plan.steps and not self._is_own((path, item)) and record.state == "failed":
                states[show_place(path, item)] = record.state
        return states

    def _is_own(self, key: Key) -> bool:
        """Whether a record is a step's own, not an item's or a part's."""
        return key[0] in self._places.steps and level_of(key[1]) == self._places.steps[key[0]]

    def _order(self) -> list[str]:
        """The longest chain of the workflow's steps in which each waits for the one before."""
        chains: dict[str, list[str]] = {}
        left = list(self._plan.scopes[""].steps)
        while left:
            path = next(each for each in left if not set(self._plan.steps[each].needs).intersection(left))
            left.remove(path)
            step, record = self._plan.steps[path], self._found.records.get((path, ""))
            if record is None or record.state not in RAN:
                continue
            waits = step.spec["join"] in ("all_success", "all_done")
            before = [chains[need] for need in step.needs if need in chains] if waits else []
            chains[path] = [*max(before, key=len, default=[]), path]
        longest = max(chains.values(), key=len, default=[])
        return longest if len(longest) > 1 else []

    # What a rehearsal makes of it.

    def corrected(self, verdict: Verdict) -> bool:
        """Bring the case in line with its rehearsal; False where there was nothing to correct."""
        rehearsed = verdict.rehearsed
        if rehearsed.unanswered is not None:
            self._leave_unanswered(rehearsed.unanswered.path, rehearsed.unanswered.item)
            return True
        computed = list(self._computed_otherwise(rehearsed))
        for key in computed:
            self._mock(*key, list(_answers(self._found.records[key], everything=True)))
            self._computed.append(show_place(*key))
        if computed:
            return True
        if not verdict.passed:
            self._drop(verdict)
            return True
        for place in rehearsed.unused:
            if self.case["mocks"][place] == {"never": True}:
                del self.case["mocks"][place]
        return False

    def give_up(self, verdict: Verdict) -> None:
        """Expect nothing but what the last rehearsal gave."""
        self._notes.append("The rehearsal is not the run: only what both have in common is expected.")
        self._drop(verdict)

    def _leave_unanswered(self, path: str, item: str) -> None:
        """What was not called in the run, because it ended before, is not answered in the rehearsal either."""
        place = show_place(path, item)
        mocks = self.case.setdefault("mocks", {})
        given = mocks.get(place)
        never = {"never": True}
        if given is None:
            mocks[path] = never
        else:
            mocks[place] = [*(given if isinstance(given, list) else [given]), never]

    def _computed_otherwise(self, rehearsed: Rehearsed) -> Iterator[Key]:
        """The first step that is rehearsed and ends otherwise, with all its items: others follow from it."""
        wrong = [
            key
            for key, record in self._found.records.items()
            if self._is_own(key)
            and self._is_computed(key[0])
            and record.state in RAN
            and not record.is_shortened
            and show_place(*key) not in self.case.get("mocks", {})
            and (there := rehearsed.records.get(key)) is not None
            and there.state in STEP_TERMINAL
            and (there.state, there.output) != (record.state, record.output)
        ]
        first = min(wrong, key=lambda key: rehearsed.begun.get(key, 0), default=None)
        yield from (key for key in wrong if first is not None and key[0] == first[0])

    def _is_computed(self, path: str) -> bool:
        """Whether a rehearsal does the step's action itself."""
        return path in self._places.calls and self._is_rehearsed(path)

    def _mock(self, path: str, item: str, answers: list[dict[str, Any]]) -> None:
        if answers:
            self.case.setdefault("mocks", {})[show_place(path, item)] = _one(answers)

    def _drop(self, verdict: Verdict) -> None:
        """Expect no more what does not come."""
        expect, rehearsed = self.case["expect"], verdict.rehearsed
        for difference in verdict.differences:
            word, _, place = difference.at.partition(".")
            word = word.partition("[")[0]
            if word == "status":
                told = f"The run was {self._found.status}; rehearsed, it is {rehearsed.status}."
                self._notes += [told] if told not in self._notes and self._found.status != "cancelled" else []
                expect["status"] = rehearsed.status
                for other in ("output", "error"):
                    expect.pop(other, None)
            elif word in ("steps", "attempts"):
                named = {place, place.partition("[")[0]}
                kept = {name: each for name, each in expect.get(word, {}).items() if name not in named}
                self._timing += len(expect.get(word, {})) - len(kept)
                expect[word] = kept
            elif expect.pop(word, None) is not None and word != "order":
                self._notes.append(f"The {word} of the run is not that of its rehearsal, so none is expected.")


def _one(answers: list[dict[str, Any]]) -> Any:
    return answers[0] if len(answers) == 1 else answers


def _answers(record: StepRecord, *, everything: bool = False) -> Iterator[dict[str, Any]]:
    """What a step's calls gave, in their order. ``everything``: errors too that a rehearsal finds by itself."""
    if record.state in ("skipped", "blocked"):
        return
    yield from _errors(record.retried, everything, transient=True)
    if record.state == "succeeded":
        yield {"output": record.output}
    elif record.state in ("failed", "timed_out"):
        yield from _errors([record.error or {}], everything, transient=False)
    else:
        yield {"never": True}


def _errors(errors: Iterable[dict[str, Any]], everything: bool, *, transient: bool) -> Iterator[dict[str, Any]]:
    for error in errors:
        if everything or error.get("code") not in FOUND_ANYWAY:
            told = {word: error[word] for word in ("code", "message", "cause", "hint", "details") if error.get(word)}
            yield {"error": {"code": "STEP_FAILED"} | told | ({"transient": True} if transient else {})}
