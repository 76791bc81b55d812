"""FROM and its joins, item by item: whose a joined row is, and where its entity stands. Pure; `selects.py` uses it."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.conditions import conjuncts, no_aggregate
from cleanroom.templates.expressions import translate
from cleanroom.templates.flattening import Flattened, flattened_item
from cleanroom.templates.from_items import Alias
from cleanroom.templates.keys import KeyLink, key_link, path_join, with_entity
from cleanroom.templates.ownership import equal_pairs, equal_to_entity, equates_entities, joined_entity
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.relations import Item, RowScope, World, made_optional
from cleanroom.templates.scalars import require
from cleanroom.templates.trees import conjunction


class Joined:
    """The items joined so far, and FROM as a tree.

    Attributes:
        select: FROM, no expressions yet.
        items: what names mean.
        world: of the joined rows.
        protected: what protects them.
        entity: of a row, where it is known already; else `finish` finds it through a declared key.
        most_rows: that one entity can have, as far as is known.
        single: there is never more than one row.
        merged: USING column -> the item that answers for it.
        tied: these are rows of the entity of the query around, in a subquery.
    """

    def __init__(self, first: Item, *, alias: Alias) -> None:
        """Begin with the first item of FROM."""
        self.select = exp.Select().from_(first.tree)
        self.items = [first]
        self.world = first.relation.world
        self.protected = first.relation.entity
        self.entity = first.entity
        self.most_rows = first.relation.most_rows_per_entity
        self.single = first.relation.single
        self.tied = False
        self._anchor = first if first.relation.path is not None else None
        self.merged: dict[str, str] = {}
        self._alias = alias

    def tie(self, around: tuple[Item, ...], entity: exp.Expr | None, where: list[exp.Expr]) -> exp.Expr | None:
        """Find whether WHERE ties these protected rows to the entity of the query around; see `tied`.

        Args:
            around: the items of the query around.
            entity: of its row.
            where: conjuncts of WHERE.

        Returns:
            The equality of entities that WHERE needs beside what it says, if any.
        """
        if entity is None:
            return None
        outer = list(around)
        protected = [i for i in outer if i.relation.world is World.OWNED]
        for item in self.items:
            if item.relation.world is not World.OWNED:
                continue
            pairs = equal_pairs(where, outer, item, beside=outer, nearer=self.items)
            if any(one.entity and other.entity for one, other, _, _ in pairs):
                self.finish()
                self.tied = True
                return None
            link = key_link(equal_pairs(where, protected, item, beside=outer, nearer=self.items))
            if link is not None:
                self.tied = True
                if self._is_anchor(item.alias) and not _is_table(item, link.parent):
                    # Everybody under the key of the row around has these rows, and so has its entity.
                    self.entity, self._anchor = entity.copy(), None
                    return None
                self.finish()
                if self.entity is None:
                    raise AssertionError("protected rows have an entity, or a path to it")
                return exp.EQ(this=self.entity.copy(), expression=entity.copy())
        return None

    def finish(self) -> None:
        """Join the declared path to the entity, where no join of the query brought it."""
        if self.entity is None and self._anchor is not None and self._anchor.relation.path is not None:
            self.select, self.entity = path_join(
                self.select, self._anchor, self._anchor.relation.path, alias=self._alias
            )

    def join(self, join: exp.Join, item: Item, *, where: list[exp.Expr]) -> None:
        """Add one join.

        Args:
            join: from the parser.
            item: its right side.
            where: top-level conjuncts of WHERE: they hold in every row that remains.

        Raises:
            TemplateRefusedError: a kind of join without a rule, or one that mixes rows of several entities.
        """
        only(join, {"this", "on", "using", "side", "kind"})
        side = str(join.args.get("side") or "").upper()
        kind = str(join.args.get("kind") or "").upper()
        semi = kind in ("SEMI", "ANTI") and side in ("", "LEFT")
        known = side in ("", "LEFT", "RIGHT", "FULL") and kind in ("", "INNER", "OUTER", "CROSS")
        if not (semi or known):
            refuse("this kind of join is not supported", rule="unsupported_join", cure="use JOIN or LEFT JOIN", at=join)
        self._check_name(item, at=join)
        on = self._condition(join, item)
        given = conjuncts(on) if on is not None else []
        inner = side == "" and not semi
        item, tie = self._owner(
            item, given, [*given, *(where if inner else [])], side="SEMI" if semi else side or "INNER", at=join
        )
        if semi:
            self._filter(item, on, tie, kind, at=join)
            return
        self._count(item)
        self.items, item = [_repeated(i) for i in self.items], _repeated(item)
        left = [made_optional(i) for i in self.items] if side in ("RIGHT", "FULL") else self.items
        # The condition is about rows before NULLs are put in.
        scope = RowScope((*self.items, item), self.merged)
        self.items = [*left, made_optional(item) if side in ("LEFT", "FULL") else item]
        if inner:
            self.items = equal_to_entity(given, self.items)
        if World.OWNED in (self.world, item.relation.world):
            self.world = World.OWNED
        if join.args.get("using"):
            if side in ("RIGHT", "FULL"):
                refuse("USING with this join is not supported", rule="unsupported_join", cure="write ON", at=join)
            for name in join.args["using"]:
                self.merged.setdefault(name.name.lower(), self._owner_of(name.name.lower()))
        if on is None:
            if not inner:
                refuse("an outer join needs ON", rule="unsupported_join", cure="write ON", at=join)
            if tie is None:
                self.select = self.select.join(item.tree, join_type="cross")
            else:
                self.select = self.select.join(item.tree, on=tie, join_type="inner")
            return
        no_aggregate(on, "ON")
        condition = require(translate(on, scope), frozenset({ColumnType.BOOLEAN}), what="ON", at=join)
        whole = conjunction([condition.sql, tie]) if tie is not None else condition.sql.copy()
        self.select = self.select.join(item.tree, on=whole, join_type=side.lower() or "inner")

    def flatten(self, source: Flattened, join: exp.Join | None) -> None:
        """Add the elements of an array of the rows joined so far.

        Args:
            source: what is made rows of.
            join: as it was written, if it was.

        Raises:
            TemplateRefusedError: rules `unsupported_join`, `ambiguous_table`, or the array's own.
        """
        side = kind = ""
        on = None
        if join is not None:
            only(join, {"this", "on", "side", "kind"})
            side, kind = (str(join.args.get(name) or "").upper() for name in ("side", "kind"))
            on = join.args.get("on")
        everything = on is None or (isinstance(on, exp.Boolean) and bool(on.this))
        if side not in ("", "LEFT") or kind not in ("", "INNER", "OUTER", "CROSS") or not everything:
            refuse(
                "elements are joined to their own row, without a condition",
                rule="unsupported_join",
                cure="write CROSS JOIN or LEFT JOIN … ON TRUE, and the condition in WHERE",
                at=source.node,
            )
        optional = side == "LEFT" or source.outer
        scope = RowScope(tuple(self.items), self.merged)
        item, lateral = flattened_item(source, scope, world=self.world, alias=self._alias(), optional=optional)
        self._check_name(item, at=source.node)
        self.single, self.most_rows = False, None
        self.items = [*(_repeated(i) for i in self.items), item]
        if optional:
            self.select = self.select.join(lateral, on=exp.true(), join_type="left")
        else:
            self.select = self.select.join(lateral, join_type="cross")

    def _check_name(self, item: Item, *, at: exp.Expr) -> None:
        if any(i.name == item.name for i in self.items):
            refuse(
                f"two tables in FROM are called {item.name}",
                rule="ambiguous_table",
                cure="give each an alias of its own",
                at=at,
            )

    def _filter(self, item: Item, on: exp.Expr | None, tie: exp.Expr | None, kind: str, *, at: exp.Expr) -> None:
        """Keep the rows that have a partner (SEMI), or none (ANTI); the partner's columns cannot be named after."""
        if on is None:
            refuse("a SEMI or ANTI JOIN needs ON", rule="unsupported_join", cure="write ON", at=at)
        no_aggregate(on, "ON")
        scope = RowScope((*self.items, item), self.merged)
        condition = require(translate(on, scope), frozenset({ColumnType.BOOLEAN}), what="ON", at=at)
        whole = conjunction([condition.sql, tie]) if tie is not None else condition.sql.copy()
        self.select = self.select.join(item.tree, on=whole, join_type=kind.lower())

    def _count(self, item: Item) -> None:
        """Work out how many rows an entity, and the whole, can have after a join with an item."""
        self.single = self.single and item.relation.single
        if self.world is World.OWNED and item.relation.world is World.OWNED:
            most = item.relation.most_rows_per_entity
            self.most_rows = None if most is None or self.most_rows is None else most * self.most_rows
        else:
            self.most_rows = None

    def _owner(
        self, item: Item, given: list[exp.Expr], held: list[exp.Expr], *, side: str, at: exp.Expr
    ) -> tuple[Item, exp.Expr | None]:
        """Find whose the joined rows are.

        While `entity` is None, a joined row is of everybody who has the anchor's row. A table that leads to a key has
        its rows for everybody under the key; of the table that the key belongs to, each has only some of the rows. So
        a row of the first is also of whoever has the row of the second, but not the other way round.

        Args:
            item: the right side.
            given: conjuncts of ON.
            held: conjuncts that hold in every joined row.
            side: `INNER`, `LEFT`, `RIGHT`, `FULL` or `SEMI`.
            at: for refusals.

        Returns:
            The right side, with its path joined where its entity is compared; and the equality of entities that ON
            needs beside what it says.
        """
        both = self.world is World.OWNED and item.relation.world is World.OWNED
        same = equates_entities(held, self.items, item)
        link = None
        if both and not same:
            protected = [i for i in self.items if i.relation.world is World.OWNED]
            link = key_link(equal_pairs(held, protected, item, beside=self.items))
        self.protected = joined_entity(
            self.protected,
            item.relation.entity,
            worlds=(self.world, item.relation.world),
            side=side,
            on_entity=same or link is not None,
            at=at,
        )
        if item.relation.world is not World.OWNED:
            return item, None
        if not both:
            self.entity, self._anchor = item.entity, item if item.relation.path is not None else None
            return item, None
        everybodys = link is not None and self._has_all_under(link)
        if item.entity is None and link is not None:
            leads = not _is_table(item, link.parent)
            if leads and side != "RIGHT":
                return item, None
            if everybodys and side in ("INNER", "RIGHT"):  # the way from the parent is shorter
                self._anchor = item
                return item, None
        follows = link is not None and self._follows(item, given, link.conditions, side=side)
        if item.entity is not None and everybodys and follows:
            self.entity = item.entity
            return item, None
        self.finish()
        if item.entity is None:
            item = with_entity(item, alias=self._alias)
        if self.entity is None or item.entity is None:
            raise AssertionError("protected rows have an entity, or a path to it")
        tie = None if same else exp.EQ(this=self.entity.copy(), expression=item.entity.copy())
        if side == "RIGHT":
            self.entity = item.entity
        return item, tie

    def _is_anchor(self, alias: str) -> bool:
        return self.entity is None and self._anchor is not None and self._anchor.alias == alias

    def _has_all_under(self, link: KeyLink) -> bool:
        """Return whether the rows joined so far are of everybody under the key by which they are joined next."""
        return self._anchor is not None and self._is_anchor(link.left) and not _is_table(self._anchor, link.parent)

    @staticmethod
    def _follows(item: Item, given: list[exp.Expr], link: tuple[exp.Expr, ...], *, side: str) -> bool:
        """Return whether the item's entity is that of every joined row whose key has an entity at all.

        A LEFT JOIN may leave rows without a partner though their key has one: not if it joins all of the parent.
        """
        if side not in ("LEFT", "SEMI"):
            return True
        if side == "SEMI":
            return False
        return isinstance(item.relation.tree, exp.Table) and all(any(c is k for k in link) for c in given)

    def _owner_of(self, name: str) -> str:
        return next(i.name for i in self.items if name in i.columns)

    def _condition(self, join: exp.Join, item: Item) -> exp.Expr | None:
        using = join.args.get("using")
        on = join.args.get("on")
        if not using:
            return on if isinstance(on, exp.Expr) else None
        conditions: list[exp.Expr] = []
        for name in using:
            key = name.name.lower()
            owners = [i.name for i in self.items if key in i.columns]
            if key in self.merged:
                owners = [self.merged[key]]
            if len(owners) != 1:
                refuse(
                    "a column of USING is not in exactly one table on the left",
                    rule="ambiguous_column",
                    cure="write ON",
                    at=name,
                )
            left, right = exp.column(name.copy(), table=owners[0]), exp.column(name.copy(), table=item.name)
            conditions.append(exp.EQ(this=left, expression=right))
        return exp.and_(*conditions)


def _repeated(item: Item) -> Item:
    """Return the item as one whose rows a join may repeat: a number of a row is no row's alone any more."""
    numbered = {n: replace(s, numbered=False) for n, s in item.columns.items() if s is not None and s.numbered}
    return replace(item, columns={**item.columns, **numbered}) if numbered else item


def _is_table(item: Item, full_name: str) -> bool:
    protected = item.relation.entity
    return isinstance(item.relation.tree, exp.Table) and (
        protected is not None and protected.tables[0].full_name.lower() == full_name
    )
