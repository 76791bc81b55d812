"""Tables that are owned through a declared key: whose their rows are, which joins follow the key, what runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace

import pytest

from cleanroom.errors import TemplateRefusedError
from cleanroom.rooms.tables import ColumnType, Domain, EntityColumn, LinkedTable, OwnedThrough, TablePolicy
from tests.unit.templates.compiling import OFF, SEGMENTS, bounds, columns, compiled, ran

T = ColumnType
ORDERS = LinkedTable(
    owner="airline",
    name="orders",
    columns=columns(o_orderkey=T.INTEGER, o_custkey=T.TEXT, o_status=T.TEXT),
    entity_columns=(EntityColumn(column="o_custkey", kind="email"),),
    policy=TablePolicy(max_rows=50, max_groups=3, domains={"o_status": Domain(values=("F", "O"))}),
)
ITEMS = LinkedTable(
    owner="airline",
    name="items",
    columns=columns(l_orderkey=T.INTEGER, l_line=T.INTEGER, qty=T.INTEGER, flag=T.TEXT),
    policy=TablePolicy(
        max_rows=90,
        max_groups=3,
        bounds={"qty": bounds(0, 64)},
        owned_through=OwnedThrough(parent="orders", columns=(("l_orderkey", "o_orderkey"),)),
    ),
)
NOTES = LinkedTable(
    owner="airline",
    name="notes",
    columns=columns(n_order=T.INTEGER, n_line=T.INTEGER, words=T.INTEGER),
    policy=TablePolicy(
        max_rows=90,
        max_groups=3,
        owned_through=OwnedThrough(parent="items", columns=(("n_order", "l_orderkey"), ("n_line", "l_line"))),
    ),
)
CUSTOMERS = LinkedTable(
    owner="airline",
    name="people",
    columns=columns(custkey=T.TEXT, nation=T.TEXT),
    entity_columns=(EntityColumn(column="custkey", kind="email"),),
    policy=TablePolicy(max_rows=5, max_groups=3),
)
TABLES = (ORDERS, ITEMS, NOTES, CUSTOMERS, SEGMENTS)
ROWS = {
    # 3 is there twice for one entity, 4 belongs to nobody, 5 to two entities
    "orders": [
        (1, "a", "F"),
        (2, "a", "O"),
        (3, "b", "F"),
        (3, "b", "F"),
        (4, None, "F"),
        (5, "c", "F"),
        (5, "d", "O"),
    ],
    "items": [(1, 1, 5, "x"), (1, 2, 7, "y"), (3, 1, 9, "x"), (4, 1, 8, "x"), (5, 1, 6, "x"), (9, 1, 4, "x")],
    "notes": [(1, 1, 3), (1, 2, 4), (5, 1, 6), (9, 1, 1)],
    "people": [("a", "FR"), ("b", "DE"), ("c", "FR")],
    "segments": [("a", "s", 1.0)],
}


def owners_of_items() -> list[tuple[tuple[object, ...], str]]:
    """Say slowly what the rule says: an item is there once for each entity that has its key in orders."""
    entities = defaultdict(set)
    for key, entity, _ in ROWS["orders"]:
        if entity is not None:
            entities[key].add(entity)
    return [(item, e) for item in ROWS["items"] for e in sorted(entities[item[0]])]


def joins_of(sql: str) -> int:
    """Return how many joins the exact query has below the grouping by entity."""
    text = compiled(sql, tables=TABLES).measurements[0].exact_sql
    return text[: text.index('AS "r" GROUP BY')].count(" JOIN ")


def test_a_row_counts_once_for_each_entity_under_its_key():
    counted = owners_of_items()
    total = (len(counted), sum(item[2] for item, _ in counted))
    assert total == (5, 33)
    assert ran("SELECT COUNT(*) AS n, SUM(qty) AS s FROM items", ROWS, tables=TABLES) == [(5, 33.0)]


def test_a_join_on_the_declared_key_is_the_only_join():
    """The joined rows are those that SQL says: each item with each of its orders."""
    joined = "items l JOIN orders o ON l.l_orderkey = o.o_orderkey"
    sql = f"SELECT COUNT(*) AS n, COUNT(DISTINCT o.o_custkey) AS c FROM {joined}"
    assert joins_of(sql) == 1
    assert ran(sql, ROWS, tables=TABLES) == [(6, 4)]
    commas = "SELECT COUNT(*) AS n FROM orders o, items l WHERE o.o_orderkey = l.l_orderkey AND o.o_status = 'F'"
    assert joins_of(commas) == 1
    assert ran(commas, ROWS, tables=TABLES) == [(5,)]


@pytest.mark.parametrize(
    ("sql", "joins", "answer"),
    [
        ("SELECT COUNT(*) AS n FROM items", 1, 5),
        ("SELECT COUNT(*) AS n FROM notes", 2, 4),
        ("SELECT COUNT(*) AS n FROM items l JOIN segments s ON s.segment = l.flag", 2, 0),
        ("SELECT COUNT(*) AS n FROM segments s RIGHT JOIN items l ON s.segment = l.flag", 2, 5),
        ("SELECT COUNT(*) AS n FROM items l LEFT JOIN orders o ON l.l_orderkey = o.o_orderkey", 1, 6),
        # item 1's order F; 3 twice; 5 of c matches, 5 of d does not match its own
        (("SELECT COUNT(o.o_status) AS n FROM items l LEFT JOIN orders o ON l.l_orderkey = o.o_orderkey "
         "AND o.o_status = 'F'"), 2, 5),
        ("SELECT COUNT(*) AS n FROM orders o LEFT JOIN items l ON l.l_orderkey = o.o_orderkey AND l.flag = 'y'", 1, 6),
        ("SELECT COUNT(*) AS n FROM items l RIGHT JOIN orders o USING_KEY", 1, 7),
        ("SELECT COUNT(*) AS n FROM items a JOIN items b ON a.l_orderkey = b.l_orderkey", 2, 7),
        ("SELECT COUNT(*) AS n FROM notes n JOIN items i ON n.n_order = i.l_orderkey AND n.n_line = i.l_line", 2, 4),
        (("SELECT COUNT(*) AS n FROM notes n, items i, orders o WHERE n.n_order = i.l_orderkey AND n.n_line = i.l_line "
         "AND o.o_orderkey = i.l_orderkey"), 2, 4),
        (("SELECT COUNT(*) AS n FROM items l JOIN orders o ON l.l_orderkey = o.o_orderkey JOIN people p "
         "ON p.custkey = o.o_custkey"), 2, 5),
        ("SELECT COUNT(*) AS n FROM (SELECT qty, l_orderkey AS k FROM items) q JOIN orders o ON o.o_orderkey = q.k",
         2, 6),
    ],
)  # fmt: skip
def test_joins_along_declared_keys(sql: str, joins: int, answer: int):
    sql = sql.replace("USING_KEY", "ON l.l_orderkey = o.o_orderkey")
    assert joins_of(sql) == joins
    assert ran(sql, ROWS, tables=TABLES) == [(answer,)]


def test_a_group_by_a_declared_key_is_a_relation_of_entities():
    sql = (
        "WITH per_order AS (SELECT l_orderkey, SUM(qty) AS s FROM items GROUP BY l_orderkey) "
        "SELECT COUNT(*) AS n, COUNT_IF(s > 8) AS large FROM per_order"
    )
    assert ran(sql, ROWS, tables=TABLES) == [(4, 2)]
    joined = (
        "SELECT COUNT(*) AS n FROM (SELECT l_orderkey AS k FROM items GROUP BY 1 HAVING SUM(qty) > 8) q "
        "JOIN orders o ON o.o_orderkey = q.k"
    )
    assert ran(joined, ROWS, tables=TABLES) == [(3,)]


def test_a_unique_key_is_joined_without_distinct():
    unique = replace(
        ITEMS, policy=replace(ITEMS.policy, owned_through=replace(ITEMS.policy.owned_through, unique=True))
    )
    plan = compiled("SELECT COUNT(*) AS n FROM items", tables=(ORDERS, unique))
    assert "DISTINCT" not in plan.measurements[0].exact_sql
    assert "DISTINCT" in compiled("SELECT COUNT(*) AS n FROM items", tables=TABLES).measurements[0].exact_sql


def test_the_path_is_read_and_named_and_an_elided_one_is_not_read_twice():
    plan = compiled("SELECT COUNT(*) AS n FROM items", tables=TABLES)
    assert [(u.table.name, u.columns) for u in plan.tables] == [
        ("items", ("l_orderkey",)),
        ("orders", ("o_orderkey", "o_custkey")),
    ]
    assert plan.entity == "o_custkey of airline.orders"
    assert plan.protected_owners == ("airline",)
    assert any("count for the o_custkey under their key in airline.orders" in note for note in plan.notes)


REFUSED = [
    ("SELECT COUNT(*) AS n FROM items l JOIN people p ON TRUE", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM items l JOIN orders o ON l.l_line = o.o_orderkey", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM items l JOIN orders o ON l.l_orderkey + 0 = o.o_orderkey", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM items l JOIN orders o ON l.l_orderkey = o_orderkey OR qty = 3", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM notes n JOIN items i ON n.n_order = i.l_orderkey", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM items a JOIN items b ON a.l_line = b.l_line", "join_without_entity"),
    ("SELECT COUNT(*) AS n FROM segments s LEFT JOIN items l ON s.segment = l.flag", "outer_join"),
    ("SELECT COUNT(*) AS n FROM items l FULL JOIN orders o ON l.l_orderkey = o.o_orderkey", "outer_join"),
    ("SELECT qty FROM items", "rows_released"),
    ("SELECT l_orderkey, COUNT(*) AS n FROM items GROUP BY 1", "rows_released"),
    (
        # the parts of a key come from two rows: they say nothing of whose the pair is
("SELECT COUNT(*) AS n FROM (SELECT a.n_order AS x, b.n_line AS y FROM notes a JOIN notes b "
        "ON a.n_order = b.n_order AND a.n_line = b.n_line) q JOIN items i ON i.l_orderkey = q.x AND i.l_line = q.y"),
        "join_without_entity",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "rule"), REFUSED)
def test_what_does_not_follow_the_whole_key_is_refused(sql: str, rule: str):
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled(sql, tables=TABLES)
    assert refusal.value.rule == rule
    assert refusal.value.cure


def test_a_refused_join_names_the_table_that_is_owned_through_a_key():
    """It said "a join of o_custkey of airline.orders with o_custkey of airline.orders", of two different tables."""
    with pytest.raises(TemplateRefusedError) as refusal:
        compiled("SELECT COUNT(*) AS n FROM items l JOIN orders o ON l.l_line = o.o_orderkey", tables=TABLES)
    assert str(refusal.value).startswith(
        "a join of airline.items (owned by o_custkey of airline.orders) with o_custkey of airline.orders must have "
    )


def through(parent: str, **on: str) -> OwnedThrough:
    return OwnedThrough(parent=parent, columns=tuple(on.items()))


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ((ITEMS,), "not linked"),
        ((ITEMS, replace(ORDERS, owner="hotel")), "not linked"),
        ((ITEMS, replace(ORDERS, entity_columns=())), "no entity column"),
        ((ITEMS, replace(ORDERS, columns=columns(o_custkey=T.TEXT))), "does not have"),
        ((ITEMS, replace(ORDERS, columns=columns(o_orderkey=T.TEXT, o_custkey=T.TEXT))), "equal types"),
        ((ITEMS, replace(ORDERS, columns=columns(o_orderkey=T.DOUBLE, o_custkey=T.TEXT))), "equal types"),
        ((replace(ITEMS, entity_columns=(EntityColumn(column="flag", kind="email"),)), ORDERS), "unpin"),
        (
            (
                ITEMS,
                replace(
                    ORDERS, entity_columns=(), policy=TablePolicy(owned_through=through("items", o_orderkey="qty"))
                ),
            ),
            "itself",
        ),
    ],
)
def test_a_key_that_leads_nowhere_now_is_refused(tables: tuple[LinkedTable, ...], says: str):
    """What was linked anew since is checked again, when the query is compiled."""
    with pytest.raises(TemplateRefusedError, match=says) as refusal:
        compiled("SELECT COUNT(*) AS n FROM items", tables=tables)
    assert refusal.value.rule == "owned_through"


def test_with_differential_privacy_off_the_smallest_group_of_the_parent_holds_for_the_child():
    """B-80."""
    least = replace(ORDERS, policy=replace(ORDERS.policy, min_entities=2))
    sql = "SELECT flag, COUNT(*) AS n FROM items GROUP BY flag"
    assert [row[:2] for row in ran(sql, ROWS, tables=(least, ITEMS), given=OFF)] == [("x", 4)]
    assert sorted(row[:2] for row in ran(sql, ROWS, tables=(ORDERS, ITEMS), given=OFF)) == [("x", 5), ("y", 1)]


LINES = replace(
    NOTES, policy=replace(NOTES.policy, owned_through=OwnedThrough(parent="items", columns=(("n_line", "l_line"),)))
)
SHARED = {
    # six entities have an item under line 1; the one that is flagged is d's, and the only note is under line 1
    "orders": [*((i, f"u{i}", "F") for i in range(5)), (9, "d", "O")],
    "items": [*((i, 1, 6, "x") for i in range(5)), (9, 1, 6, "y")],
    "notes": [(0, 1, 3)],
}


@pytest.mark.parametrize(
    "asked",
    [
        "notes g LEFT JOIN items c ON g.n_line = c.l_line WHERE c.flag = 'y'",
        "items c RIGHT JOIN notes g ON g.n_line = c.l_line WHERE c.flag = 'y'",
        "(SELECT n_line AS k FROM notes) g JOIN items c ON g.k = c.l_line WHERE c.flag = 'y'",
        "items c JOIN (SELECT n_line AS k FROM notes) g ON g.k = c.l_line WHERE c.flag = 'y'",
        "items a JOIN items c ON a.l_line = c.l_line WHERE a.flag = 'y'",
        "items a LEFT JOIN items c ON a.l_line = c.l_line WHERE c.flag = 'y'",
        "notes g JOIN items c ON g.n_line = c.l_line JOIN items e ON g.n_line = e.l_line WHERE c.flag = 'y'",
        "items c JOIN notes g ON l_line = n_line JOIN (SELECT l_line k FROM items) s ON k = n_line WHERE flag = 'y'",
        "notes g SEMI JOIN items c ON g.n_line = c.l_line AND c.flag = 'y'",
        "notes g WHERE EXISTS (SELECT 1 FROM items c WHERE g.n_line = c.l_line AND c.flag = 'y')",
        "items a WHERE EXISTS (SELECT 1 FROM items c WHERE a.l_line = c.l_line AND c.flag = 'y')",
        "notes g JOIN items c ON g.n_line = c.l_line WHERE c.flag = 'y'",
    ],
)
def test_a_row_of_the_table_a_key_belongs_to_is_not_everybodys_under_the_key(asked: str):
    """B-01: only d's item is flagged, so only d counts; it was 6, once for each entity under the key, and d decided."""
    sql = f"SELECT COUNT(*) AS n FROM {asked}"
    assert ran(sql, SHARED, tables=(ORDERS, ITEMS, LINES)) == [(1,)]


def test_a_right_join_of_parent_and_child_keeps_the_parents_entity():
    """B-01: the order with status O is d's alone; its row was counted for all six entities under the key."""
    rows = {
        "orders": [*((5, f"u{i}", "F") for i in range(5)), (5, "d", "O")],
        "items": [(5, 1, 6, "x"), (7, 1, 6, "x")],
    }
    joined = "orders o RIGHT JOIN items l ON l.l_orderkey = o.o_orderkey"
    sql = f"SELECT COUNT(*) AS n FROM {joined} WHERE o.o_status = 'O'"
    assert ran(sql, rows, tables=TABLES) == [(1,)]
    # each entity with its own order; an item without an order is nobody's
    assert ran(f"SELECT COUNT(*) AS n FROM {joined}", rows, tables=TABLES) == [(6,)]
    only_open = f"SELECT COUNT(*) AS n FROM {joined} AND o.o_status = 'O'"
    assert ran(only_open, rows, tables=TABLES) == [(6,)]  # u0 to u4 keep the item without a partner


JOINED_BY_TWO_KEYS = (
    "WITH q AS (SELECT i.l_orderkey AS k FROM items i JOIN segments s ON s.segment = i.flag) "
    "SELECT COUNT(*) AS n FROM items a JOIN q b ON a.l_orderkey = b.k"
)
REMARKS = replace(
    NOTES,
    policy=replace(NOTES.policy, owned_through=OwnedThrough(parent="items", columns=(("n_order", "l_orderkey"),))),
)


@pytest.mark.parametrize("hash_seed", ["6", "7"])
def test_a_join_that_follows_two_keys_has_one_plan_in_every_process(hash_seed):
    """B-50. An answer is found again by its plan's digest: a plan that hung on the order of a set was paid for twice.

    With 6 the join followed the key of orders before, with 7 that of items.
    """
    script = (
        "from tests.unit.templates.test_owned_through import *\n"
        "print(compiled(JOINED_BY_TWO_KEYS, tables=(ORDERS, ITEMS, REMARKS, SEGMENTS)).measurements[0].exact_sql)"
    )
    given = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    told = subprocess.run([sys.executable, "-c", script], env=given, capture_output=True, text=True, check=True)
    here = compiled(JOINED_BY_TWO_KEYS, tables=(ORDERS, ITEMS, REMARKS, SEGMENTS)).measurements[0].exact_sql
    assert told.stdout.strip() == here
