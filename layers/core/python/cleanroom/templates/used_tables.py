"""The linked tables that a query reads, as relations with the path to their entity. Pure; `queries.py` asks."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from cleanroom.errors import InvalidRequestError
from cleanroom.rooms.owned_through import Step, path_of
from cleanroom.rooms.tables import LinkedTable
from cleanroom.templates.keys import key_parts
from cleanroom.templates.names import named_table
from cleanroom.templates.ownership import world_of_table
from cleanroom.templates.refusals import refuse
from cleanroom.templates.relations import Path, Relation, World, table_relation


class UsedTables:
    """The tables that one query reads.

    Attributes:
        used: what exact queries call a table -> the table, in the order in which the query names them.
    """

    def __init__(
        self,
        *,
        tables: Mapping[str, LinkedTable],
        room_tables: Mapping[str, LinkedTable],
        reader: str,
        differential: bool,
        exempt: frozenset[str],
    ) -> None:
        """Begin.

        Args:
            tables: lower-case full name -> table: what the query may name.
            room_tables: likewise: where declared keys may lead.
            reader: the party that will see the release.
            differential: whether DP is on for it.
            exempt: owners who have it off for the reader all the same.
        """
        self._tables = tables
        self._room_tables = room_tables
        self._reader = reader
        self._differential = differential
        self._exempt = exempt
        self.used: dict[str, LinkedTable] = {}

    def relation_of(self, node: exp.Table) -> tuple[Relation, str]:
        """Return what a name in FROM that is no CTE stands for, and the name that it has without an alias.

        Raises:
            TemplateRefusedError: it is no linked table that the query may name, or nobody can say whose its rows are.
        """
        table = named_table(node, self._tables)
        return self._table(table, at=node), table.name

    def _table(self, table: LinkedTable, *, at: exp.Expr, parent: bool = False) -> Relation:
        """Return a linked table as a relation, with the path to its entity where it is owned through a key.

        Args:
            table: from FROM, or where a declared key leads.
            at: for refusals.
            parent: a key leads here, from a table that is protected.
        """
        steps = self._steps(table, at=at)
        world = World.OWNED
        if not parent:
            through = tuple(s.parent for s in steps)
            differential = self._differential and table.owner not in self._exempt
            world = world_of_table(table, through=through, reader=self._reader, differential=differential, at=at)
        name = next((name for name, t in self.used.items() if t.full_name == table.full_name), f"t{len(self.used)}")
        self.used.setdefault(name, table)
        if world is World.PUBLIC:
            return table_relation(table, name=name, world=world)
        path = None
        if steps:
            columns = tuple((child.name, of_parent.name) for child, of_parent in steps[0].columns)
            owner = self._table(steps[0].parent, at=at, parent=True)
            path = Path(parent=owner, columns=columns, unique=steps[0].unique)
        keys = key_parts(table, self._room_tables.values())
        return table_relation(table, name=name, world=world, path=path, keys=keys)

    def _steps(self, table: LinkedTable, *, at: exp.Expr) -> tuple[Step, ...]:
        if table.owner == self._reader:
            return ()
        try:
            return path_of(table, self._room_tables)
        except InvalidRequestError as problem:
            refuse(
                str(problem),
                rule="owned_through",
                cure=f"{table.owner} links the tables again, with their policies",
                at=at,
            )
