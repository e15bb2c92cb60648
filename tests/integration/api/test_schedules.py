"""What the front end says of a workflow's schedules."""

import time
from datetime import UTC, datetime, timedelta

from tests.integration.api.front import Front, hello

TRIGGERS = (
    "triggers: [{type: schedule, interval: 1s, input: {who: Ada}}, {id: daily, type: schedule, cron: 0 7 * * *}]\n"
)


def test_schedules_tell_their_next_times_and_last_runs(front: Front, other: Front) -> None:
    flow = front.create(hello("ticking") + TRIGGERS, publish=False)
    path = f"/v2/workflows/{flow}/schedules"
    assert front.get(path) == []
    front.want(200, "POST", f"/v2/workflows/{flow}/publish")
    second, daily = front.get(path)
    assert (second["interval"], daily["cron"], daily["name"]) == (1.0, "0 7 * * *", "daily")
    times = [datetime.fromisoformat(each) for each in daily["next_times"]]
    assert times[0] > datetime.now(UTC) - timedelta(seconds=5)
    assert [each - times[0] for each in times] == [timedelta(days=each) for each in range(5)]
    until = time.monotonic() + 15
    while "succeeded" not in [each["run_status"] for each in front.get(path)[0]["ticks"]]:
        assert time.monotonic() < until, front.get(path)
        time.sleep(0.1)
    done = next(each for each in front.get(path)[0]["ticks"] if each["run_status"] == "succeeded")
    run = front.get(f"/v2/runs/{done['run_id']}")
    assert (run["trigger"], run["input"]) == ("schedule", {"who": "Ada"})
    other.refused(404, "NOT_FOUND", "GET", path)
    front.want(200, "POST", f"/v2/workflows/{flow}/archive")
    assert front.get(path) == []
