"""What names mean after GROUP BY: keys and aggregates, nothing else. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp

from cleanroom.errors import TemplateRefusedError
from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.addnoise import is_addnoise
from cleanroom.templates.aggregates import is_aggregate
from cleanroom.templates.expressions import Scope, translate
from cleanroom.templates.fingerprints import fingerprint
from cleanroom.templates.other_rows import is_is_other, is_or_other, read_is_other, read_or_other
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import RowScope
from cleanroom.templates.scalars import Scalar
from cleanroom.templates.subqueries import is_subquery


class GroupScope:
    """Names in the SELECT list, HAVING and ORDER BY of a grouped SELECT."""

    def __init__(
        self,
        rows: RowScope,
        keys: list[tuple[str, Scalar]],
        aggregate: Callable[[exp.Expr], Scalar | None],
        *,
        subquery: Callable[[exp.Expr, Scope], Scalar] | None = None,
        other: exp.Expr | None = None,
    ) -> None:
        """Take the scope of rows, the keys by fingerprint, and what aggregates (or addnoise) and subqueries become.

        `other` says of a group whether it is the other row; None where there is none.
        """
        self._rows = rows
        self._keys = dict(keys)
        self._aggregate = aggregate
        self._subquery = subquery
        self._other = other

    def whole(self, node: exp.Expr) -> Scalar | None:
        """Return the key or aggregate that the node is."""
        if is_aggregate(node) or is_addnoise(node):
            return self._aggregate(node)
        if self._other is not None and is_is_other(node):
            read_is_other(node)
            return Scalar(sql=self._other.copy(), type=ColumnType.BOOLEAN, nullable=False)
        if self._other is not None and is_or_other(node):
            return self._labelled(node)
        if self._keys and not isinstance(node, exp.Literal | exp.Null | exp.Boolean):
            key = self._keys.get(fingerprint(node, self._rows))
            if key is not None:
                return key
        if self._subquery is not None and is_subquery(node):
            return self._subquery(node, self)
        return None

    def _labelled(self, node: exp.Expr) -> Scalar | None:
        """Return a key with its label in the other row; None where it is no key."""
        call = read_or_other(node)
        key = self._keys.get(fingerprint(call.key, self._rows))
        if key is None or call.label is None:
            return key
        is_other = exp.Anonymous(this="is_other")
        chosen = exp.Case(ifs=[exp.If(this=is_other, true=call.label.copy())], default=call.key.copy())
        try:
            labelled = translate(chosen, self)
        except TemplateRefusedError as refusal:
            if refusal.rule != "type_mismatch":
                raise
            labelled = None
        if labelled is None or labelled.type is not key.type:
            refuse(
                "the label of the other row has another type than the key",
                rule="other_row",
                cure="write a label of the key's type, or cast the key where it is grouped by",
                at=node,
            )
        return labelled

    def column(self, node: exp.Column) -> Scalar:
        """Refuse: a column that is no key has no one value in a group.

        Raises:
            TemplateRefusedError: rules `not_grouped`, `unknown_column`.
        """
        self._rows.column(node)  # an unknown name is told as such
        refuse(
            f"the column {node.name} is neither a group key nor inside an aggregate",
            rule="not_grouped",
            cure="add it to GROUP BY, or aggregate it",
            at=node,
        )


def group_keys(keys: tuple[exp.Expr, ...], rows: RowScope) -> list[tuple[str, Scalar]]:
    """Return the group keys, translated over rows, by fingerprint and each once."""
    found: dict[str, Scalar] = {}
    for key in keys:
        for part in key.walk(prune=is_subquery):
            if is_aggregate(part) or is_addnoise(part):
                refuse(
                    "a group key cannot be an aggregate",
                    rule="aggregate_not_allowed",
                    cure="filter on it with HAVING, or aggregate in a subquery and group by it above",
                    at=part,
                )
        found.setdefault(fingerprint(key, rows), translate(key, rows))
    return list(found.items())


def as_key(key: Scalar, reference: exp.Expr, *, other: bool = False) -> Scalar:
    """Return the key above the aggregation, where it is the column `reference`; NULL in an other row."""
    above = replace(key, sql=reference, drawn=None, constant=False, literal=None, whole=False)
    return replace(above, nullable=True, values=None, declared=False) if other else above
