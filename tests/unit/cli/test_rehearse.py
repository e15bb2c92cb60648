"""``nexusflow test``: files of cases, what they say of a workflow, and what is wrong with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nexusflow.cli import exits
from nexusflow.workflows.rehearsal.cases import Case, Expected, MockedAnswer, MockedError, TestFile
from tests.unit.cli.conftest import Answer

ROOT = Path(__file__).parents[3]
Nexusflow = Callable[..., Answer]
SHOP = """\
nexusflow: "1"
name: shop
input:
  schema:
    type: object
    properties:
      orders: { type: array, default: [1, 2] }
      token: { type: string, minLength: 8, x-sensitive: true }
steps:
  - { id: fetch, type: http.request, with: { url: "https://shop.example.com/${{ size(input.orders) }}" } }
  - id: each
    type: foreach
    needs: [fetch]
    with: { items: "${{ input.orders }}", as: order, on_item_error: skip }
    steps:
      - { id: pay, type: http.request, with: { method: POST, url: "https://pay.example.com", body: "${{ order }}" } }
    output: "${{ steps.pay.output.body }}"
  - { id: sum, type: transform, needs: [each], with: { input: "${{ steps.each.output }}", jq: add } }
"""
CASE: dict[str, Any] = {
    "name": "two orders",
    "mocks": {"fetch": {"output": {"status": 200}}, "each/pay": [{"output": {"body": 10}}, {"output": {"body": 20}}]},
    "expect": {"status": "succeeded", "output": 30},
}


class _Dumper(yaml.SafeDumper):
    """Writes the same value twice where it stands twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write a test file beside its workflow, with these cases, and give its name."""
    (tmp_path / "shop.yaml").write_text(SHOP)

    def write(*cases: Any, name: str = "shop.test.yaml", **words: Any) -> str:
        words = {"nexusflow": "1", "workflow": "shop.yaml", "cases": list(cases)} | words
        (tmp_path / name).write_text(yaml.dump(words, Dumper=_Dumper, sort_keys=False))
        return name

    return write


def case(expect: dict[str, Any] | None = None, **words: Any) -> dict[str, Any]:
    return CASE | ({"expect": expect} if expect is not None else {}) | words


def test_a_case_that_comes_as_expected(nexusflow: Nexusflow, write: Callable[..., str]) -> None:
    expect = {
        "status": "succeeded",
        "output": 30,
        "steps": {"fetch": "succeeded", "each/pay": "succeeded", "each[1]": "succeeded", "sum": "succeeded"},
        "attempts": {"each/pay[0]": 1},
        "order": [["fetch", "each/pay", "sum"], ["each/pay[0]", "each/pay[1]"]],
        "calls": {"fetch": [{"url": "https://shop.example.com/2"}], "each/pay": [{"body": 1}, {"body": 2}], "sum": 1},
    }
    answer = nexusflow("test", write(case(expect)))
    assert (answer.code, answer.err) == (0, "")
    assert "shop.test.yaml (shop)" in answer.out
    assert "+ two orders" in answer.out or "✓ two orders" in answer.out
    assert "1 case: 1 passed" in answer.out


@pytest.mark.parametrize(
    ("expect", "at", "told"),
    [
        ({"status": "failed"}, "status", "The run is succeeded, not failed."),
        ({"output": 31}, "output", "output is 30, not 31."),
        ({"output": {"a": [1]}}, "output", 'output is 30, not {"a": [1]}.'),
        ({"error": {"code": "HTTP_STATUS"}}, "error.code", 'error.code is null, not "HTTP_STATUS".'),
        ({"steps": {"each/pay[1]": "failed"}}, "steps.each/pay[1]", "each/pay[1] succeeded, not failed."),
        ({"steps": {"sum": None}}, "steps.sum", "sum was not to run; it succeeded."),
        ({"attempts": {"fetch": 3}}, "attempts.fetch", "Attempts of fetch: 3 expected, 1 made."),
        ({"order": ["sum", "fetch"]}, "order", "fetch began before sum was over."),
        ({"calls": {"each/pay": 3}}, "calls.each/pay", "Calls of each/pay: 3 expected, 2 made."),
        ({"calls": {"each/pay[1]": [{"body": 1}]}}, "calls.each/pay[1][0].body", "body is 2, not 1."),
        ({"calls": {"fetch": [{"json": 1}]}}, "calls.fetch[0].json", "json is missing, not 1."),
    ],
)
def test_what_comes_otherwise_is_told(
    nexusflow: Nexusflow, write: Callable[..., str], expect: dict[str, Any], at: str, told: str
) -> None:
    name = write(case(expect))
    answer = nexusflow("test", name)
    assert answer.code == exits.FAILED
    assert told in answer.out
    assert "1 case: 1 failed" in answer.out
    document = nexusflow("test", name, "--json").json
    assert not document["passed"]
    assert [each["at"] for each in document["cases"][0]["differences"]] == [at]


def test_long_values_are_shown_below_each_other(nexusflow: Nexusflow, write: Callable[..., str]) -> None:
    answer = nexusflow("test", write(case({"output": "x" * 70})))
    assert f'output differs.\n        - "{"x" * 70}"\n        + 30\n' in answer.out


def test_what_fails_says_why(nexusflow: Nexusflow, write: Callable[..., str]) -> None:
    broken = {"fetch": {"error": {"code": "HTTP_STATUS", "message": "503 from the shop", "transient": True}}}
    answer = nexusflow("test", write(case({"status": "succeeded", "attempts": {"fetch": 4}}, mocks=broken)))
    assert "The run is failed at fetch, not succeeded. 503 from the shop [HTTP_STATUS]" in answer.out
    assert "Attempts" not in answer.out


@pytest.mark.parametrize(
    ("mocks", "told", "hint"),
    [
        ({}, "Step fetch does http.request, which a rehearsal does not do.", "mocks: {fetch: {output: …}}"),
        (
            CASE["mocks"] | {"each/pay": [{"output": {"body": 1}}]},
            "Step each/pay[1] is called for the 2nd time; its mock has 1 answer.",
            "under each/pay",
        ),
    ],
)
def test_a_call_without_an_answer_stops_the_case(
    nexusflow: Nexusflow, write: Callable[..., str], mocks: Any, told: str, hint: str
) -> None:
    answer = nexusflow("test", write(case(mocks=mocks)))
    assert answer.code == 1
    assert told in answer.out
    assert hint in answer.out


def test_errors_items_and_what_never_answers(nexusflow: Nexusflow, write: Callable[..., str]) -> None:
    late = {"error": {"code": "STEP_TIMED_OUT", "transient": True}}
    mocks = {
        **CASE["mocks"],
        "each/pay": {"output": {"body": 5}},
        "each/pay[1]": [late, {"error": {"code": "CARD_REFUSED", "cause": "user"}}],
    }
    skipped = case({"output": 5, "steps": {"each/pay[1]": "failed"}, "attempts": {"each/pay[1]": 2}}, mocks=mocks)
    mocks = CASE["mocks"] | {"fetch": {"never": True}}
    stuck = case({"status": "running", "steps": {"fetch": "running", "each": None}}, name="stuck", mocks=mocks)
    mocked = case({"output": 7}, name="a loop as one answer", mocks={**CASE["mocks"], "each": {"output": [3, 4]}})
    answer = nexusflow("test", write(skipped, stuck, mocked))
    assert answer.code == 0, answer.out


def test_secrets_that_are_masked_fit_any_schema(nexusflow: Nexusflow, write: Callable[..., str]) -> None:
    assert nexusflow("test", write(case(input={"token": "***"}))).code == 0
    assert nexusflow("test", write(case(input={"token": "short"}))).code == 2


def test_a_masked_value_fits_the_input_of_an_action(nexusflow: Nexusflow, write: Callable[..., str]) -> None:
    name = write(case({"status": "succeeded", "calls": {"fetch": [{"headers": "***"}]}}, input={"token": "***"}))
    workflow = Path("shop.yaml")
    workflow.write_text(SHOP.replace("with: { url: ", 'with: { headers: "${{ input.token }}", url: ', 1))
    assert nexusflow("test", name).code == 0
    written = name.replace("shop.", "other.")
    Path(written).write_text(Path(name).read_text().replace("'***'", "no-address-at-all"))
    assert "INVALID_STEP_INPUT" in nexusflow("test", written).out


def test_a_definition_in_the_test_file_itself(nexusflow: Nexusflow, write: Callable[..., str]) -> None:
    definition = yaml.safe_load(SHOP)
    assert nexusflow("test", write(CASE, workflow=definition)).code == 0
    definition["steps"][2]["needs"] = ["eech"]
    answer = nexusflow("test", write(CASE, workflow=definition), "--json")
    assert answer.code == 2
    (problem, *_) = answer.json["problems"]
    assert problem["path"].startswith("/workflow/steps/2/")
    assert problem["line"] > 2


def test_several_files_and_one_case_of_them(nexusflow: Nexusflow, write: Callable[..., str]) -> None:
    first, second = write(CASE), write(case(name="one more"), name="more.yaml")
    document = nexusflow("test", first, second, "--json").json
    assert [(each["file"], each["name"], each["passed"]) for each in document["cases"]] == [
        (first, "two orders", True),
        (second, "one more", True),
    ]
    document = nexusflow("test", first, second, "--case", "one more", "--json").json
    assert [each["name"] for each in document["cases"]] == ["one more"]
    refused = nexusflow("test", first, second, "--case", "two order")
    assert refused.code == 2
    assert "Did you mean 'two orders'?" in refused.err


WRONG: dict[str, tuple[Any, str, str, str]] = {
    "no version": ({"nexusflow": "2"}, "/nexusflow", "VERSION_UNKNOWN", 'nexusflow: "1"'),
    "unknown word": ({"cases": [case(mock={})]}, "/cases/0/mock", "UNKNOWN_WORD", "Did you mean 'mocks'?"),
    "no cases": ({"cases": []}, "/cases", "WRONG_VALUE", "name: two orders"),
    "no name": ({"cases": [{}]}, "/cases/0/name", "MISSING", "docs/testing.md"),
    "two of a name": ({"cases": [CASE, CASE]}, "/cases/1/name", "DUPLICATE_NAME", "Rename"),
    "no workflow": ({"workflow": "shopp.yaml"}, "/workflow", "NO_WORKFLOW", "test file's folder"),
    "state": ({"expect": {"steps": {"sum": "suceeded"}}}, "/steps/sum", "WRONG_VALUE", "Did you mean 'succeeded'?"),
    "order": ({"expect": {"order": "fetch"}}, "/order", "WRONG_TYPE", "[fetch, each, report]"),
    "code": ({"mocks": {"fetch": {"error": {"code": "low"}}}}, "/fetch/error/code", "WRONG_VALUE", "docs/errors.md"),
    "mocked step": ({"mocks": {"fetsh": {"output": 1}}}, "/mocks/fetsh", "UNKNOWN_STEP", "Did you mean 'fetch'?"),
    "mocked item": ({"mocks": {"fetch[1]": {"output": 1}}}, "/mocks/fetch[1]", "WRONG_ITEM", "Write fetch."),
    "place": ({"mocks": {"each/pay[": {"output": 1}}}, "/mocks/each~1pay[", "WRONG_PLACE", "each/put[3]"),
    "two answers": ({"mocks": {"fetch": {"output": 1, "never": True}}}, "/fetch", "WRONG_ANSWER", "{output: {id: 7}}"),
    "no answer": ({"mocks": {"each/pay": [{}]}}, "/each~1pay/0", "WRONG_ANSWER", "{output: {id: 7}}"),
    "field": ({"mocks": {"fetch": {"output": {"stat": 1}}}}, "/output/stat", "UNKNOWN_FIELD", "Did you mean 'status'?"),
    "deep item": ({"expect": {"steps": {"each/pay[0.1]": None}}}, "/steps/each~1pay[0.1]", "WRONG_ITEM", "each/pay[0]"),
    "call": ({"expect": {"calls": {"each": 1}}}, "/calls/each", "NO_CALL", ""),
    "ordered": ({"expect": {"order": [["fetch", "summ"]]}}, "/order/0/1", "UNKNOWN_STEP", "Did you mean 'sum'?"),
    "contradiction": ({"expect": {"status": "succeeded", "error": {}}}, "/expect/error", "CONTRADICTION", "Remove"),
    "input": ({"input": {"orders": 1}}, "/input/orders", "INVALID_INPUT", ""),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_is_told_with_its_place(nexusflow: Nexusflow, write: Callable[..., str], wrong: str) -> None:
    words, path, code, hint = WRONG[wrong]
    outer = set(words) & {"nexusflow", "workflow", "cases"}
    name = write(CASE, **words) if outer else write(CASE | words)
    answer = nexusflow("test", name, "--json")
    assert answer.code == 2
    (problem,) = answer.json["problems"]
    assert (problem["file"], problem["code"]) == (name, code)
    assert problem["path"].endswith(path)
    assert hint in problem["hint"]
    assert problem["line"] >= 1
    assert problem["column"] >= 1
    shown = nexusflow("test", name)
    assert (shown.code, shown.out) == (2, "")
    assert f"{name}:{problem['line']}:{problem['column']}: {problem['message']}  [{code}]" in shown.err


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "EMPTY"), ("- 1", "NOT_A_MAPPING"), ("a: [", "SYNTAX"), (SHOP, "NOT_A_TEST"), ("a: 1.10", "AMBIGUOUS_VALUE")],
)
def test_what_is_no_test_file(nexusflow: Nexusflow, tmp_path: Path, text: str, code: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    document = nexusflow("test", "odd.yaml", "--json").json
    assert [each["code"] for each in document["problems"]] == [code]


def test_a_workflow_that_is_wrong_is_told_as_such(nexusflow: Nexusflow, write: Callable[..., str]) -> None:
    name = write(CASE)
    Path("shop.yaml").write_text(SHOP.replace("needs: [each]", "needs: [eech]"))
    answer = nexusflow("test", name, "gone.yaml")
    assert answer.code == 2
    assert "shop.yaml:18:41: " in answer.err
    assert "There is no test file gone.yaml." in answer.err
    assert answer.out == ""


def test_the_example_passes(nexusflow: Nexusflow) -> None:
    answer = nexusflow("test", str(ROOT / "examples/lead-intake.test.yaml"))
    assert answer.code == 0, answer.out


def test_every_word_of_a_test_file_is_on_its_page() -> None:
    page = (ROOT / "docs/testing.md").read_text()
    words = {name for model in (TestFile, Case, MockedAnswer, MockedError, Expected) for name in model.model_fields}
    assert {word for word in words if f"`{word}`" not in page} == set()
