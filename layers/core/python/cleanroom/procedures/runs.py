"""Procedures of the `run_template` function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.edge import Procedure
from cleanroom.use_cases import arguments as a
from cleanroom.use_cases.explain import explain_analysis
from cleanroom.use_cases.quote import get_sql_jinja, quote_analysis
from cleanroom.use_cases.run_template import run_analysis

if TYPE_CHECKING:
    from cleanroom.edge import Routes
    from cleanroom.ports import RunServices

RUNS: Routes[RunServices] = {
    ("consumer", "run_analysis"): Procedure(arguments=a.RunAnalysis, call=run_analysis),
    ("consumer", "quote_analysis"): Procedure(arguments=a.RunArguments, call=quote_analysis),
    ("consumer", "explain_analysis"): Procedure(arguments=a.RunArguments, call=explain_analysis),
    ("consumer", "get_sql_jinja"): Procedure(arguments=a.RunArguments, call=get_sql_jinja),
    ("provider", "quote_analysis"): Procedure(arguments=a.ProviderRunArguments, call=quote_analysis),
    ("provider", "explain_analysis"): Procedure(arguments=a.ProviderRunArguments, call=explain_analysis),
    ("provider", "submit_analysis_request"): Procedure(arguments=a.SubmitAnalysisRequest, call=run_analysis),
}
