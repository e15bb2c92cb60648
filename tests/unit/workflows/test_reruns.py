"""Whose id stands in the keys of a rerun."""

from nexusflow.workflows.rows.reruns import Family, key_run


def test_a_key_has_the_id_of_the_newest_run_that_wanted_the_step_again() -> None:
    family = Family.of("a", [["c", {"pay": [""], "each/put": ["1", "2"]}], ["b", {"pay": None, "send": None}]])
    assert family is not None
    assert [family.key_run(*each) for each in (("pay", ""), ("pay", "3"), ("send", ""), ("look", ""))] == list("cbba")
    assert [family.key_run("each/put", item) for item in ("1", "3")] == ["c", "a"]
    assert Family.of("a", family.to_json()) == family


def test_a_run_without_a_family_has_keys_of_its_own() -> None:
    assert Family.of(None, None) is None
    assert key_run(None, "run", "pay", "") == "run"
