"""What public suites accept and refuse: every case of theirs has its point tried here, by a statement of our own."""

from __future__ import annotations

from collections import Counter

import pytest

from cleanroom.errors import MissingBoundsError, TemplateRefusedError
from tests.breadth.cases import Case, Here, Suite, positions
from tests.breadth.suites import SUITES
from tests.unit.templates.compiling import Engine, compiled

POINTS = [pytest.param(case, id=f"{suite.name} {case.point[:60]}") for suite in SUITES for case in suite.points]
REFUSED = [p for p in POINTS if p.values[0].rule]
SUPPORTED = [p for p in POINTS if not p.values[0].rule]
REWRITTEN = [p for p in POINTS if p.values[0].rewrite]
ROWS: dict[str, list[tuple[object, ...]]] = {
    "customers": [
        (
            f"e{n % 40}",
            ("gold", "silver", "none")[n % 3],
            "XYZ"[n % 3],
            n % 99,
            n % 30 - 5.5,
            n % 900,
            f"2024-01-{n % 28 + 1:02}",
            f"2024-02-{n % 28 + 1:02} 10:00:00",
            n % 2 == 0,
            None,
            ["['a', 'b']", "['b', NULL]", "[]"][n % 3],
        )
        for n in range(60)
    ],
    "flights": [(f"e{n % 40}", n % 70 * 10, ("BOS", "LAX")[n % 2]) for n in range(60)],
    "planes": [(f"p{n}", n) for n in range(5)],
    "segments": [(f"e{n}", ("wide", "slim")[n % 2], float(n)) for n in range(20)],
}


@pytest.mark.parametrize("suite", SUITES, ids=lambda s: s.name)
def test_each_case_of_a_suite_belongs_to_one_point(suite: Suite) -> None:
    every = Counter(positions(suite.cases))
    assert set(every.values()) == {1}
    assert Counter(p for case in suite.points for p in positions(case.of)) == every
    assert set(positions(suite.rejected)) <= set(every)


def test_the_suites_have_as_many_cases_as_were_counted() -> None:
    """1,231 blocks of ZetaSQL, 11 of them empty; all that show an error in a variant count as refused."""
    sizes = {s.name: (len(list(positions(s.cases))), len(list(positions(s.rejected)))) for s in SUITES}
    assert sizes == {"ZetaSQL": (1220, 398), "SmartNoise SQL": (200, 45), "DPSQL+": (123, 62), "Qrlew": (74, 0)}


def _runs(sql: str) -> None:
    plan = compiled(sql)
    assert plan.measurements
    engine = Engine(**ROWS)
    engine.load(plan)
    engine.release(plan)


@pytest.mark.parametrize("case", SUPPORTED)
def test_what_is_supported_compiles_and_runs(case: Case) -> None:
    assert case.here is Here.SUPPORTED
    _runs(case.sql)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_where_why_and_what_instead(case: Case) -> None:
    """Row 8: code, line and column, the rule, and a cure."""
    with pytest.raises((TemplateRefusedError, MissingBoundsError)) as refusal:
        compiled(case.sql)
    said = refusal.value
    assert said.rule == case.rule, "supported now? then say so in its suite, and run `make docs`"
    assert said.line == 1
    assert said.column is not None
    assert 1 <= said.column <= len(case.sql) + 1
    assert said.cure
    assert case.why


@pytest.mark.parametrize("case", REWRITTEN)
def test_rewrites_compile_and_run(case: Case) -> None:
    _runs(case.rewrite)


def test_another_form_has_a_rewrite_and_what_is_not_yet_there_has_none() -> None:
    for suite in SUITES:
        for case in suite.points:
            if case.here in (Here.REWRITTEN, Here.SET_ELSEWHERE):
                assert case.rewrite, case.point
            if case.here is Here.NOT_YET:
                assert not case.rewrite, case.point
