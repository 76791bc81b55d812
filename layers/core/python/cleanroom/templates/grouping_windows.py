"""Windows above grouping sets: they are over the groups of all sets, so they stand above the UNION of the sets. Pure;
`grouping_sets.py` uses it.

What a window reads (aggregates, keys, GROUPING) becomes a column of each set; the window itself, and what is computed
of it, is an expression over these columns.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from cleanroom.templates.windows import has_window

_AS_IT_STANDS = (exp.Literal, exp.Null, exp.Boolean, exp.Star, exp.DataType, exp.Var, exp.WindowSpec, exp.Identifier)


class Lifted:
    """Expressions above the sets, and the columns that they need of each set."""

    def __init__(self, names: set[str], windowed: set[str], *, column: Callable[[exp.Expr], exp.Expr]) -> None:
        """Take the names of the SELECT list.

        Args:
            names: of the list, lower case; above the sets they can be used as they are.
            windowed: those of them that hold a window.
            column: makes an expression a column of each set, and gives its name above.
        """
        self._names, self._windowed, self._column = names, windowed, column

    def above(self, node: exp.Expr) -> exp.Expr:
        """Return an expression as it stands above the sets."""
        if isinstance(node, _AS_IT_STANDS):
            return node.copy()
        if isinstance(node, exp.Column) and not node.table and node.name.lower() in self._names:
            return node.copy()
        if not self._needs_windows(node):
            return self._column(node)
        return self._of_parts(node)

    def _of_parts(self, node: exp.Expr) -> exp.Expr:
        copy = node.copy()
        for part, original in zip(list(copy.iter_expressions()), list(node.iter_expressions()), strict=True):
            whole = isinstance(original, exp.Order | exp.Ordered) or (
                isinstance(node, exp.Window | exp.IgnoreNulls | exp.RespectNulls) and original is node.this
            )
            part.replace(self._of_parts(original) if whole else self.above(original))
        return copy

    def _needs_windows(self, node: exp.Expr) -> bool:
        return has_window(node) or any(
            not c.table and c.name.lower() in self._windowed for c in node.find_all(exp.Column)
        )
