"""docs: `make docs` writes here what the code itself can say, and openapi.json. A test holds both together.

Blocks begin with `<!-- generated: name -->` and end with `<!-- end: name -->`; everything else is written by hand.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from samtranslator.yaml_helper import yaml_parse

from cleanroom import errors
from cleanroom.edge import STATUS
from cleanroom.openapi import all_procedures, build_openapi
from cleanroom.rooms.approved import Template
from cleanroom.rooms.policies import policy_as_json, policy_from_json
from cleanroom.rooms.settings import PrivacySettings, as_record
from cleanroom.rooms.tables import Column, ColumnBounds, ColumnType, EntityColumn, LinkedTable, TablePolicy
from cleanroom.templates.aggregates import NO_PRIVATE_FORM
from cleanroom.templates.compile import compile_query
from cleanroom.templates.functions import FUNCTIONS, NAMED_FUNCTIONS, REFUSED
from cleanroom.templates.jinja_filters import FILTERS
from cleanroom.templates.lint_findings import LINT_RULES
from cleanroom.templates.refusals import words
from cleanroom.templates.template import CompileContext, RenderedQuery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cleanroom.templates.plan import Plan

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CORE = ROOT / "layers" / "core" / "python" / "cleanroom"
OPENAPI = CORE / "openapi.json"


def main() -> int:
    """Write every generated block and openapi.json; return the process's exit code."""
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
    return 0


def written() -> dict[Path, str]:
    """Return each generated file with the text that it should have now."""
    texts = {path: with_blocks(path.read_text(encoding="utf-8")) for path in sorted(DOCS.glob("*.md"))}
    return {**texts, OPENAPI: json.dumps(build_openapi(), indent=1, sort_keys=True) + "\n"}


def with_blocks(text: str) -> str:
    """Return a document with every generated block made anew."""

    def block(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- generated: {name} -->\n{BLOCKS[name]()}\n<!-- end: {name} -->"

    return re.sub(r"<!-- generated: ([a-z-]+) -->\n.*?<!-- end: \1 -->", block, text, flags=re.DOTALL)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; cells are made safe."""
    lines = [head, ["---"] * len(head), *([_cell(c) for c in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def _first(thing: object) -> str:
    """Return the first paragraph of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n\n")[0]


def _attributes(kind: type) -> dict[str, str]:
    """Return what the `Attributes:` of a docstring say, by name; names listed together share their text."""
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2].split("\n\n")[0]
    entries = re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {6,}.*)*)", section, flags=re.MULTILINE)
    return {name.strip(): text for names, text in entries for name in names.split(",")}


# --- refusals ---------------------------------------------------------------------------------------------------------


def error_classes() -> list[type[errors.CleanRoomError]]:
    """Return every refusal but the base, in the order of the file."""
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.CleanRoomError)]
    return [k for k in kinds if k is not errors.CleanRoomError]


def _errors() -> str:
    rows = [[f"`{k.code}`", str(STATUS[k.kind]), f"`{k.kind.value}`", _first(k)] for k in error_classes()]
    rows.append(["`internal_error`", "500", "–", "Something unexpected; only a reference leaves, which is in the log."])
    return table(["code", "HTTP", "kind", "meaning"], rows)


def rules() -> dict[str, dict[str, str]]:
    """Return rule -> sentence -> cure, of every refusal in `templates/`; `…` stands for names of the request."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((CORE / "templates").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            given = {k.arg: k.value for k in node.keywords}
            rule = given.get("rule")
            if isinstance(rule, ast.Constant) and isinstance(rule.value, str):
                sentence = _written(node.args[0]) if node.args else ""
                found.setdefault(rule.value, {})[sentence] = _written(given.get("cure"))
    return dict(sorted(found.items()))


def _written(node: ast.expr | None) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_written(v) for v in values)
        case ast.BinOp(left=left, right=right):
            return _written(left) + _written(right)
    return "…"


def _rules() -> str:
    rows = [
        [f"`{rule}`" if number == 0 else "", sentence, cure]
        for rule, sentences in rules().items()
        for number, (sentence, cure) in enumerate(sentences.items())
    ]
    return table(["rule", "what is refused", "cure"], rows)


# --- SQL --------------------------------------------------------------------------------------------------------------


def _functions() -> str:
    rows = [
        [", ".join(f"`{example}`" for example in allowed.examples), allowed.types, allowed.reason]
        for allowed in (*FUNCTIONS.values(), *NAMED_FUNCTIONS.values())
    ]
    return table(["function", "types", "why no row can make it fail, or differ from run to run"], rows)


def _refused_functions() -> str:
    return table(["refused", "why"], [list(row) for row in REFUSED])


AGGREGATES = (
    "COUNT(*)",
    "COUNT(x)",
    "COUNT_IF(x > 3)",
    "COUNT(*) FILTER (WHERE x > 3)",
    "SUM(CASE WHEN x > 3 THEN 1 ELSE 0 END)",
    "COUNT(DISTINCT person)",
    "COUNT(DISTINCT CASE WHEN x > 3 THEN person END)",
    "COUNT(DISTINCT z)",
    "SUM(x)",
    "AVG(x)",
    "AVG(x > 3)",
    "VARIANCE(x)",
    "VAR_POP(x)",
    "STDDEV(x)",
    "STDDEV_POP(x)",
    "COVAR_POP(x, y)",
    "COVAR_SAMP(x, y)",
    "CORR(x, y)",
    "MEDIAN(x)",
    "PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY x)",
    "PERCENTILE_DISC(0.9) WITHIN GROUP (ORDER BY x)",
    "APPROX_PERCENTILE(x, 0.9)",
    "MIN(x)",
    "MAX(x)",
)
"""Aggregates over protected rows, as a template may write them."""


def _aggregates() -> str:
    rows = []
    for call in AGGREGATES:
        plan = compiled_aggregate(call)
        parts = [c.meaning for m in plan.measurements for c in m.columns]
        kind = plan.release.columns[0].role
        how = "exact from the noise" if kind == "measured" else "simulated"
        rows.append([f"`{call}`", "; ".join(parts), how])
    return table(["aggregate", "what is measured, for x and y in 0 to 100", "interval"], rows)


def compiled_aggregate(call: str) -> Plan:
    """Return the plan of one aggregate over a table with the entity `person`, numbers `x` and `y`, and a text `z`."""
    hundred = ColumnBounds(lo=Fraction(0), hi=Fraction(100))
    visits = LinkedTable(
        owner="airline",
        name="visits",
        columns=(
            Column(name="person", type=ColumnType.TEXT, native_type="VARCHAR"),
            *(Column(name=n, type=ColumnType.DOUBLE, native_type="DOUBLE") for n in "xy"),
            Column(name="z", type=ColumnType.TEXT, native_type="VARCHAR"),
        ),
        entity_columns=(EntityColumn(column="person", kind="person"),),
        policy=TablePolicy(max_rows=1, max_groups=1, bounds={"x": hundred, "y": hundred}),
    )
    text = f"SELECT {call} AS a FROM airline.visits"
    return compile_query(
        RenderedQuery(sql=text, dialect="snowflake", tables={visits.full_name: visits}),
        template=Template(name="asked", text=text),
        context=CompileContext(reader="agency", settings=PrivacySettings(differential=True, epsilon=Fraction(1))),
    )


def _no_private_form() -> str:
    rows = [[f"`{words(kind).replace(' ', '_')}`", reason, cure] for kind, (reason, cure) in NO_PRIVATE_FORM.items()]
    return table(["refused", "for it", "instead"], rows)


def _lint() -> str:
    return table(["rule", "what is found"], [[f"`{rule}`", meaning] for rule, meaning in LINT_RULES.items()])


def _filters() -> str:
    return ", ".join(f"`{name}`" for name in sorted(FILTERS))


# --- settings ---------------------------------------------------------------------------------------------------------


def _settings() -> str:
    says = _attributes(PrivacySettings)
    rows = [[f"`{name}`", f"`{json.dumps(value)}`", says[name]] for name, value in as_record(PrivacySettings()).items()]
    return table(["setting", "default", "meaning"], rows)


def policy_keys() -> tuple[str, ...]:
    """Return every key that a table policy may have."""
    try:
        policy_from_json({"?": 0}, ())
    except errors.InvalidRequestError as refusal:
        return tuple(re.findall(r"\w+", str(refusal).partition("the keys are ")[2]))
    raise AssertionError("an unknown key is refused")


def _policies() -> str:
    says = _attributes(TablePolicy)
    default = policy_as_json(TablePolicy())
    rows = [[f"`{name}`", str(default.get(name, "not declared")), says[name]] for name in policy_keys()]
    return table(["key", "default", "meaning"], rows)


def parameters() -> dict[str, dict[str, Any]]:
    """Return the parameters of template.yaml."""
    parsed: dict[str, dict[str, Any]] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Parameters"]
    return parsed


def _deployment() -> str:
    rows = [
        [f"`{name}`", f"`{p['Default']}`" if p.get("Default", "") != "" else "–", p["Description"]]
        for name, p in parameters().items()
    ]
    return table(["parameter", "default", "meaning"], rows)


# --- procedures -------------------------------------------------------------------------------------------------------


def _procedures() -> str:
    rows = []
    for (side, name), procedure in sorted(all_procedures().items()):
        rows.append(
            [f"`POST /{side}/{name}`", ", ".join(_arguments(procedure.arguments)) or "–", _first(procedure.call)]
        )
    rows.append(
        ["`GET /runs/{run_id}`", "–", "Return a run of the calling party: its state and, once released, its release."]
    )
    rows.append(["`GET /openapi.json`", "–", "Return this list as OpenAPI 3.1."])
    return table(["route", "arguments", "what it does"], rows)


def _arguments(kind: type[Any]) -> Iterator[str]:
    for field in msgspec.structs.fields(kind):
        yield f"`{field.encode_name}`" + ("" if field.required else "?")


# --- the worked example -----------------------------------------------------------------------------------------------


def _example(part: str) -> str:
    from tests.unit.docs.example import PARTS  # noqa: PLC0415 - a whole deployment in memory: only when asked for

    os.environ.setdefault("PARTY_CLAIM", "custom:party")
    return PARTS[part]()


# --- what public suites accept ----------------------------------------------------------------------------------------


def _breadth_totals() -> str:
    from tests.breadth.cases import Here, counted  # noqa: PLC0415 - only when asked for
    from tests.breadth.suites import SUITES  # noqa: PLC0415

    rows = []
    for suite in SUITES:
        count = counted(suite)
        accepted = [count[here, False] for here in Here]
        refused = [count[here, True] for here in Here]
        reached = count[Here.SUPPORTED, True] + count[Here.REWRITTEN, True]
        numbers = [sum(accepted) + sum(refused), sum(accepted), *accepted, sum(refused), reached]
        rows.append([suite.name, *map(str, numbers)])
    totals = [str(sum(int(row[place]) for row in rows)) for place in range(1, len(rows[0]))]
    head = ["suite", "cases", "the peer accepts", *(f"of these {here.value}" for here in Here)]
    return table([*head, "the peer refuses", "of these supported or in another form"], [*rows, ["**all**", *totals]])


def _breadth(place: int) -> str:
    from tests.breadth.cases import counted  # noqa: PLC0415
    from tests.breadth.suites import SUITES  # noqa: PLC0415

    suite = SUITES[place]
    rows = []
    for case in suite.points:
        count = counted(suite, (case,))
        peer = [sum(n for (_, refused), n in count.items() if refused is wanted) for wanted in (False, True)]
        rule = f" (`{case.rule}`)" if case.rule else ""
        form = f" Write: `{case.rewrite}`" if case.rewrite else ""
        of = "; ".join(f"{file} {numbers}" for file, numbers in case.of.items())
        rows.append([case.point, str(peer[0]), str(peer[1]), case.here.value + rule, (case.why + form).strip(), of])
    head = ["point", "the peer accepts", "refuses", "here", "why, and what to write", "cases"]
    source = f"[{suite.repository}](https://github.com/{suite.repository}) at `{suite.commit[:12]}`: {suite.where}."
    return f"{source}\n\n{table(head, rows)}"


def _accounting() -> str:
    from tests.unit.privacy.runs_by_accounting import CASES, runs_of  # noqa: PLC0415 - the oracle: only when asked for

    rows = []
    for budget, epsilon in CASES:
        runs = runs_of(budget, epsilon)
        counts = [f"{number:,}" for number in (runs.by_epsilon, runs.by_rho, runs.by_oracle)]
        share = f"{100 * runs.by_rho / runs.by_oracle:.0f} %"
        thousand = f"{float(1000 * epsilon):g}", f"{runs.budget_of_1000:,}", f"{runs.epsilon_of_1000:.2f}"
        rows.append([f"{budget}", f"{float(epsilon):g}", *counts, share, *thousand])
    columns = [
        "`privacy_budget`",
        "epsilon of a run",
        "runs by epsilon",
        "runs by rho",
        "runs by exact loss",
        "of that",
    ]
    columns += ["1,000 runs by epsilon", "1,000 by rho", "1,000 by exact loss"]
    return table(columns, rows)


BLOCKS = {
    "errors": _errors,
    "rules": _rules,
    "functions": _functions,
    "aggregates": _aggregates,
    "no-private-form": _no_private_form,
    "refused-functions": _refused_functions,
    "filters": _filters,
    "lint": _lint,
    "settings": _settings,
    "policies": _policies,
    "deployment": _deployment,
    "procedures": _procedures,
    **{
        f"example-{part}": (lambda part=part: _example(part))
        for part in ("link", "template", "quote", "release", "receipt")
    },
    "accounting": _accounting,
    "bounding": lambda: _example("bounding"),
    "breadth-totals": _breadth_totals,
    **{
        f"breadth-{name}": (lambda place=place: _breadth(place))
        for place, name in enumerate(("zetasql", "smartnoise", "dpsql", "qrlew"))
    },
}
"""Block -> its text."""


if __name__ == "__main__":
    sys.exit(main())
