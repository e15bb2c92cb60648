"""The runner: what one message sets going. Claim → act → record → settle → publish.

A message is a hint. What it names is claimed by one conditional statement, so twins, late and wrong messages are
harmless. What a segment's records make ready is published by Celery where the message carries it, else from here;
what this worker may do at once it goes on with, without a message.
"""

import random
import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial

from nexusflow.log import get_logger
from nexusflow.storage import StorageAway
from nexusflow.workflows.engine.consequences import CONTROL_OPS
from nexusflow.workflows.engine.execution import Execution, Outside
from nexusflow.workflows.engine.failing import RunDone, RunEnding, RunPaused, Stopped, Waiting
from nexusflow.workflows.engine.insist import insist
from nexusflow.workflows.engine.outcomes import Runs
from nexusflow.workflows.messaging.publish import publish
from nexusflow.workflows.planning.plan import Plan
from nexusflow.workflows.rows import work
from nexusflow.workflows.rows.effects import Effects, Fired
from nexusflow.workflows.rows.plans import plan_of
from nexusflow.workflows.rows.work import Claim, FenceLost, Hint, Holder

SLICE_SECONDS = 0.25
STORAGE_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds until a segment is tried again that could not read what it needs, at first and at last."""

log = get_logger(__name__)
_runs = Runs()


def storage_pause(attempts: int) -> float:
    """Longer and longer: thousands may wait for one storage, and others' work must not wait behind their tries."""
    return min(STORAGE_PAUSE * 2.0 ** min(attempts, 8), LONGEST_PAUSE) * random.uniform(0.75, 1.0)  # noqa: S311 - no secret


class NotClaimed(Exception):
    """The hint led to nothing: a twin, too late, not due, or a run that is over."""


@dataclass(frozen=True)
class Carried:
    """What Celery publishes by itself when the message's task returns: the chain's next, and the chord's body."""

    following: frozenset[int] = frozenset()
    body: int | None = None

    @property
    def all(self) -> frozenset[int]:
        """Every segment the message carries."""
        return self.following if self.body is None else self.following | {self.body}


@dataclass(frozen=True)
class Done:
    """``returns``: Celery may go on with what the message carries; ``fired``: the segments that became ready."""

    returns: bool
    fired: list[int]


class Runner:
    """Runs the segment that one message names, and what it may go on with at once."""

    def __init__(self, holder: Holder, carried: Carried, outside: Outside) -> None:
        self._holder, self._carried, self._outside = holder, carried, outside
        self._until = time.monotonic() + SLICE_SECONDS
        self._mine: deque[Claim] = deque()

    def run(self, hint: Hint) -> Done:
        """Do the hinted segment and what follows at once. Raises NotClaimed, and FenceLost for the first segment."""
        known = _runs.get(hint.run)
        claim = work.claim(hint, self._holder, known=known is not None)
        if claim is None:
            raise NotClaimed
        if known is None:
            _runs.put(hint.run, claim.input, claim.family)
        else:
            claim.input, claim.family = known
        done = self._one(claim, self._carried)
        while self._mine:
            try:
                self._one(self._mine.popleft(), Carried())
            except FenceLost:
                log.warning("fence.lost", run=hint.run)
        return done

    def _one(self, claim: Claim, carried: Carried) -> Done:
        tenant = claim.hint.tenant
        plan = plan_of(tenant, claim.version)
        execution = Execution(plan, claim, claim.input, self._outside)
        fired: list[Fired] = []
        while True:
            try:
                effects = execution.run()
            except Waiting as waiting:
                insist(partial(work.wait, claim, waiting.rows, delay=waiting.delay, attempts=waiting.attempts))
                return Done(returns=False, fired=[])
            except StorageAway as error:
                # No attempt of the step's and no loss of a worker: it waits until what it reads can be read.
                log.warning("storage.away", run=claim.hint.run, error=str(error))
                rows, attempts = execution.unrecorded, claim.attempts + 1
                delay = storage_pause(claim.attempts)
                insist(partial(work.wait, claim, rows, delay=delay, attempts=attempts))
                return Done(returns=False, fired=[])
            except RunEnding:
                insist(partial(work.settle, claim, Effects()))
                insist(partial(work.finish_ending, tenant, claim.hint.run))
                return Done(returns=False, fired=[])
            except Stopped:
                settled = insist(partial(work.settle, claim, execution.stop()))
                fired += settled.fired
                break
            except RunPaused:
                insist(partial(work.hand_over, claim, begun=True))
                return Done(returns=False, fired=[])
            except RunDone as end:
                insist(partial(work.succeed, claim, end.output))
                return Done(returns=True, fired=[])
            self._choose_mine(claim, effects, carried)
            settled = insist(partial(work.settle, claim, effects))
            fired += settled.fired
            if settled.range is None:
                break
            execution.next_range(*settled.range)
            if time.monotonic() > self._until:
                insist(partial(work.hand_over, claim))
                fired.append(Fired(claim.hint.segment, claim.hint.item, claim.hint.lo, claim.hi, leased=False))
                break
        return self._publish(plan, claim, fired, carried)

    def _choose_mine(self, claim: Claim, effects: Effects, carried: Carried) -> None:
        """Besides the ends of scopes, go on with one follower of this queue: no hop through the broker between them.

        One at the most waits here at any time: what is leased must not wait behind another's long step.
        """
        if self._mine or time.monotonic() > self._until:
            return
        for follower in effects.followers:
            if follower.is_later or follower.mine:
                continue
            if follower.queue == claim.queue and follower.segment not in carried.all:
                follower.mine = True
                return

    def _publish(self, plan: Plan, claim: Claim, fired: list[Fired], carried: Carried) -> Done:
        ids = {each.segment for each in fired if not each.leased}
        returns = carried.following <= ids
        ready = []
        for each in fired:
            if each.leased:
                hint = replace(claim.hint, segment=each.segment, item=each.item, lo=each.lo)
                queue = plan.segments[each.segment].queue
                taken = replace(claim, hint=hint, queue=queue, hi=each.hi, attempts=0, losses=0, verdict=None)
                if plan.segments[each.segment].ops[0].kind in CONTROL_OPS:
                    self._mine.appendleft(taken)  # quick, and nothing long may come before it
                else:
                    self._mine.append(taken)
            elif not (returns and each.segment in carried.all):
                ready.append(each)
        publish(plan, claim.hint.tenant, claim.hint.run, ready)
        return Done(returns, sorted(ids))
