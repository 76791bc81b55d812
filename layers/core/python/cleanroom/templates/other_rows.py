"""`cleanroom.or_other(key [, label])` and `cleanroom.is_other()`: the groups that are not shown, as one row. Pure.

`GROUP BY cleanroom.or_other(x)` groups by x, and asks for one row more: the sum of all groups that do not reach the
threshold (`privacy/other_row.py`). There x is NULL, `or_other(x, label)` is the label, and `is_other()` is TRUE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from sqlglot import exp

from cleanroom.templates.refusals import refuse

OTHER = "other"
"""Column of a noisy table that says which row is the other row."""

_WRITTEN_OUT = (exp.Literal, exp.Null, exp.Boolean, exp.Neg, exp.Paren, exp.Cast, exp.TryCast, exp.DataType)


@dataclass(frozen=True, kw_only=True, slots=True)
class OrOther:
    """One call.

    Attributes:
        key: what is grouped by.
        label: what stands in its place in the other row; None: NULL.
        call: the whole call.
    """

    key: exp.Expr
    label: exp.Expr | None
    call: exp.Expr


def is_or_other(node: exp.Expr) -> bool:
    """Return whether the node is a call of or_other, in any case of letters."""
    return _named(node, "or_other")


def is_is_other(node: exp.Expr) -> bool:
    """Return whether the node is a call of is_other, in any case of letters."""
    return _named(node, "is_other")


def _named(node: exp.Expr, name: str) -> bool:
    if isinstance(node, exp.Dot):
        schema, node = node.this, node.expression
        if not (isinstance(schema, exp.Identifier) and schema.name.lower() == "cleanroom"):
            return False
    return isinstance(node, exp.Anonymous) and str(node.this).lower() == name


def read_or_other(node: exp.Expr) -> OrOther:
    """Return the checked call.

    Raises:
        TemplateRefusedError: rule `other_row`.
    """
    call = node.expression if isinstance(node, exp.Dot) else node
    given = call.expressions
    named = any(isinstance(g, exp.Kwarg | exp.PropertyEQ | exp.Star) for g in given)
    if named or len(given) not in (1, 2):
        _refuse("or_other takes the key, and the label of the other row", node)
    label = given[1] if len(given) == 2 else None
    if label is not None and not all(isinstance(part, _WRITTEN_OUT) for part in label.walk()):
        _refuse("the label of the other row must be written out", node)
    if any(is_or_other(part) or is_is_other(part) for part in given[0].walk()):
        _refuse("or_other inside or_other", node)
    return OrOther(key=given[0], label=label, call=node)


def read_is_other(node: exp.Expr) -> None:
    """Check a call.

    Raises:
        TemplateRefusedError: rule `other_row`.
    """
    call = node.expression if isinstance(node, exp.Dot) else node
    if call.expressions:
        _refuse("is_other takes no argument", node)


def _refuse(sentence: str, at: exp.Expr) -> NoReturn:
    refuse(
        sentence,
        rule="other_row",
        cure="cleanroom.or_other(key [, label]) with a label such as 'other' or -1, and cleanroom.is_other()",
        at=at,
    )


def refuse_place(node: exp.Expr) -> NoReturn:
    """Refuse a call that stands where there is no other row.

    Raises:
        TemplateRefusedError: rule `other_row`.
    """
    refuse(
        "or_other and is_other stand over groups of protected rows that were grouped by or_other",
        rule="other_row",
        cure="write GROUP BY cleanroom.or_other(key), in the same SELECT and around the whole key",
        at=node,
    )


def grouped_keys(keys: tuple[exp.Expr, ...]) -> tuple[tuple[exp.Expr, ...], exp.Expr | None]:
    """Return the keys of GROUP BY without their or_other, and the first call; None where there is none.

    Raises:
        TemplateRefusedError: rule `other_row`: some keys have it and some do not.
    """
    calls = [read_or_other(k.unnest()) if is_or_other(k.unnest()) else None for k in keys]
    asked = next((c.call for c in calls if c is not None), None)
    if asked is None:
        return keys, None
    if any(c is None for c in calls):
        refuse(
            "some keys of GROUP BY are in or_other, and some are not: a group is shown or left out with all its keys",
            rule="other_row",
            cure="write or_other around each key, e.g. GROUP BY cleanroom.or_other(x), cleanroom.or_other(y)",
            at=asked,
        )
    return tuple(c.key for c in calls if c is not None), asked


def refuse_without_selection(at: exp.Expr, *, public: bool) -> NoReturn:
    """Refuse or_other where no groups are left out for their size.

    Args:
        at: the call.
        public: the groups are of protected rows, and their keys are public.

    Raises:
        TemplateRefusedError: rule `other_row`.
    """
    if public:
        refuse(
            "all groups of public keys appear: there is nothing to be put into an other row",
            rule="other_row",
            cure="leave or_other out: GROUP BY the key itself",
            at=at,
        )
    refuse(
        "no group is left out here: an other row is of protected rows that are grouped with noise",
        rule="other_row",
        cure="leave or_other out: GROUP BY the key itself; over noisy numbers, write or_other where they are measured",
        at=at,
    )


def without_other_rows(tree: exp.Select) -> exp.Select:
    """Return a query in which all groups appear, for a reader with DP off: or_other(x) is x, is_other() is FALSE.

    Raises:
        TemplateRefusedError: rule `other_row`: a call is not as it should be.
    """

    def replaced(node: exp.Expr) -> exp.Expr:
        if is_or_other(node):
            return exp.Paren(this=read_or_other(node).key)
        if is_is_other(node):
            read_is_other(node)
            return exp.false()
        return node

    changed = tree.copy().transform(replaced, copy=False)
    if not isinstance(changed, exp.Select):
        raise AssertionError("a SELECT stays one")
    return changed
