"""The filters that hold a caller to the column policies of the tables' owners (B-33). Pure; used by `render`.

A caller names a column; its owner has listed what may be named. Only plain or double-quoted identifiers are names here,
so that case, quotes, Unicode and comments leave nothing to interpret. A name without an alias is checked against every
table of the other parties that has such a column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from cleanroom.errors import PolicyViolationError
from cleanroom.templates.literals import CheckedName
from cleanroom.templates.reading import statements_of
from cleanroom.templates.refusals import PARSER_FAILURES, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from cleanroom.rooms.tables import Column, LinkedTable, TablePolicy
    from cleanroom.templates.template import CompileContext

_NAME = re.compile(
    r'(?:(?P<alias>[A-Za-z_][A-Za-z0-9_]*)\.)?(?:(?P<plain>[A-Za-z_][A-Za-z0-9_]*)|"(?P<quoted>[^"\x00-\x1f\x7f]+)")',
    re.ASCII,
)
_ALIAS = re.compile(r"[pc][0-9]{0,4}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Policy:
    """What a filter reads from a table's policy (None: nothing set), what it is called, and the call that sets it."""

    listed: Callable[[TablePolicy], tuple[str, ...] | None]
    called: str
    set_by: str


def _join_or_column(policy: TablePolicy) -> tuple[str, ...] | None:
    if policy.join_columns is None and policy.project_columns is None:
        return None
    return (policy.join_columns or ()) + (policy.project_columns or ())


_POLICIES = {
    "join_policy": _Policy(listed=lambda policy: policy.join_columns, called="join policy", set_by="set_join_policy"),
    "column_policy": _Policy(
        listed=lambda policy: policy.project_columns, called="column policy", set_by="set_column_policy"
    ),
    "join_and_column_policy": _Policy(
        listed=_join_or_column, called="join or column policy", set_by="set_join_policy or set_column_policy"
    ),
    "activation_policy": _Policy(
        listed=lambda policy: policy.activation_columns, called="activation policy", set_by="set_activation_policy"
    ),
}
POLICY_FILTERS = frozenset(_POLICIES)


@dataclass(kw_only=True, slots=True)
class PolicyChecks:
    """The policy checks of one rendering.

    Attributes:
        context: whose tables, and who reads.
        aliases: the aliases that checked names relied on; `verify_aliases` holds the query to them.
    """

    context: CompileContext
    aliases: set[str] = field(default_factory=set)

    def check(self, value: object, *, filter_name: str) -> CheckedName | tuple[CheckedName, ...]:
        """Return the name, or list of names, marked as checked.

        Raises:
            PolicyViolationError: not a name, no such column, or its owner has not listed it.
        """
        if isinstance(value, (tuple, list)):
            return tuple(self._check_one(item, filter_name=filter_name) for item in value)
        return self._check_one(value, filter_name=filter_name)

    def _check_one(self, value: object, *, filter_name: str) -> CheckedName:
        match = _NAME.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise _violation(
                f"{filter_name} takes the name of one column, such as city, p.city or c1.city",
                "pass a plain identifier, with the alias p, p1, … or c, c1, … in front where needed",
            )
        alias = match["alias"].lower() if match["alias"] else None
        if alias is not None and not _ALIAS.fullmatch(alias):
            raise _violation(
                f"{filter_name} knows the aliases p, p1, … for the provider's tables and c, c1, … for the consumer's",
                "use one of these aliases in the template and in the argument, or none",
            )
        tables = self._tables(alias)
        named = [(table, column) for table in tables if (column := _find(table, match)) is not None]
        if not named:
            raise _violation(
                f"{filter_name}: no table {'of that alias' if alias else 'of this run'} has the column that was named",
                "name a column of a table of this run; a quoted name must agree in case",
            )
        for table, column in named:
            if table.owner != self.context.reader:
                _require_listed(table, column, filter_name=filter_name)
        if alias is not None:
            self.aliases.add(alias)
        return CheckedName(match[0])

    def _tables(self, alias: str | None) -> tuple[LinkedTable, ...]:
        if alias is None:
            return self.context.source_tables + self.context.my_tables
        return self.context.source_tables if alias.startswith("p") else self.context.my_tables

    def verify_aliases(self, sql: str, *, dialect: str) -> None:
        """Refuse a query in which an alias that a check relied on is anything but a table of its side (B-34).

        Without this, `FROM provider.table c` would make `c.secret` pass as the consumer's own column. A text that does
        not parse is left to the compiler, which refuses it.

        Raises:
            PolicyViolationError: such an alias names another side's table, a subquery or a CTE.
            TemplateRefusedError: rule `too_large`: the text is too deep to be looked at.
        """
        if not self.aliases:
            return
        try:
            trees = statements_of(sql, dialect=dialect)
        except RecursionError:  # how deep is too deep hangs on where it is read from, so it is not left to another
            refuse("the rendered text is nested too deeply", rule="too_large", cure="make the query smaller")
        except PARSER_FAILURES:
            return
        for tree in trees:
            for node in tree.find_all(exp.Table, exp.TableAlias) if tree else ():
                if isinstance(node, exp.TableAlias) and isinstance(node.parent, exp.Table):
                    continue  # seen with its table
                alias = (node.alias_or_name if isinstance(node, exp.Table) else node.name).lower()
                if alias in self.aliases and not (
                    isinstance(node, exp.Table)
                    and _full_name(node) in {table.full_name.lower() for table in self._tables(alias)}
                ):
                    side = "provider" if alias.startswith("p") else "consumer"
                    raise _violation(
                        f"the alias {alias} must be a table of the {side}, for a policy filter was checked against it",
                        "alias provider tables p, p1, … and consumer tables c, c1, …, and nothing else so",
                    )


def _find(table: LinkedTable, match: re.Match[str]) -> Column | None:
    if match["quoted"] is not None:
        return next((column for column in table.columns if column.name == match["quoted"]), None)
    return table.column(match["plain"])


def _require_listed(table: LinkedTable, column: Column, *, filter_name: str) -> None:
    policy = _POLICIES[filter_name]
    listed = policy.listed(table.policy)
    if listed is None:
        raise _violation(
            f"{filter_name}: the owner of {table.full_name} has set no {policy.called}",
            f"ask the owner to call {policy.set_by} for {table.full_name}",
        )
    if column.name.lower() not in {name.lower() for name in listed}:
        raise _violation(
            f"{filter_name}: the {policy.called} of {table.full_name} does not list {column.name}",
            f"name one of {', '.join(sorted(listed)) or 'no column: the list is empty'}, "
            f"or ask the owner to call {policy.set_by}",
        )


def _full_name(table: exp.Table) -> str:
    if isinstance(table.this, exp.DynamicIdentifier):
        return str(table.this.name).lower()
    return ".".join(part.name for part in table.parts).lower()


def _violation(sentence: str, cure: str) -> PolicyViolationError:
    return PolicyViolationError(sentence, rule="policy_filter", cure=cure)
