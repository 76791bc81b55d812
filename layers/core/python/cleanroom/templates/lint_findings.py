"""What the linter can find: findings, and the rules that are its own. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cleanroom.errors import TemplateRefusedError

WILL_BE_REFUSED = "it will be refused"
MAYBE_REFUSED = "may be refused with differential 1, where it reads protected rows"

LINT_RULES = {
    "missing_policy_filter": "an argument becomes a name or SQL without a column policy filter",
    "inclause_brackets": "`IN ({{ x | inclause }})`: inclause brings its own parentheses",
    "select_star": "`SELECT *` as the outermost SELECT; over tables it is refused",
    "limit_in_subquery": f"LIMIT below the outermost SELECT; {MAYBE_REFUSED}",
    "table_not_linked": "FROM reads something else than a linked table, CTE or subquery; refused",
    "window_not_partitioned": f"a window without PARTITION BY below an aggregation; {MAYBE_REFUSED}",
    "constant_noiserand": "noiserand of addnoise is a constant; it is never used",
    "unnoised_number": "a number that gets noise with differential 1 only, and leaves exact with 0",
    "no_other_row": "or_other or is_other without GROUP BY or_other in the same SELECT; refused with differential 1",
    "returns_rows": "rows instead of aggregates; refused with differential 1",
}
"""Rule -> what it means, of the findings that are the linter's own; others are rules of refusals."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Finding:
    """One finding.

    Attributes:
        line: of the template, 1-based; 0 where no line can be named.
        rule: short stable name.
        sentence: what is there, and what happens with it.
        cure: the rewrite.
    """

    line: int
    rule: str
    sentence: str
    cure: str


def finding_of(refusal: TemplateRefusedError, *, outlook: str = "") -> Finding:
    """Return what the compiler's own code refused as a finding.

    Args:
        refusal: what it said.
        outlook: what happens with a run, where the sentence does not say it.
    """
    sentence = f"{refusal}: {outlook}" if outlook else str(refusal)
    return Finding(line=refusal.line or 0, rule=refusal.rule, sentence=sentence, cure=refusal.cure)
