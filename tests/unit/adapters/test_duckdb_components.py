"""Connected components: the same entities as a slow and obvious search finds, called by what they own alone (B-04)."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanroom.adapters.duckdb_components import LABELS, join_entities, row_key
from cleanroom.adapters.duckdb_sandbox import EngineError, EngineLimits, open_sandbox
from cleanroom.rooms.entity_joining import key_spaces
from cleanroom.rooms.tables import Column, ColumnType, EntityColumn, LinkedTable

LIMITS = EngineLimits(memory_bytes=128 << 20, threads=2, seconds=30.0, spill_bytes=0)


def linked(*columns, kinds=("email", "phone", "card_id", "email")):
    """Return a table whose columns are all entity columns, of these (types, native types)."""
    return LinkedTable(
        owner="shop",
        name="customers",
        columns=tuple(Column(name=f"c{i}", type=t, native_type=n) for i, (t, n) in enumerate(columns)),
        entity_columns=tuple(EntityColumn(column=f"c{i}", kind=kinds[i]) for i in range(len(columns))),
    )


def labels_of(rows, table, types=None):
    """Return the label of every row, as a run would see it."""
    data = {f"c{i}": [row[i] for row in rows] for i in range(len(table.entity_columns))}
    arrow = pa.table({name: pa.array(v, (types or {}).get(name, pa.string())) for name, v in data.items()})
    arrow = arrow.append_column("place", pa.array(range(len(rows)), pa.int64()))
    with open_sandbox(LIMITS) as sandbox:
        sandbox.register("rows", arrow)
        join_entities(sandbox, "rows", table)
        stored = sandbox.trusted(f"SELECT key, label FROM {LABELS}")
        assert len({key for key, _ in stored}) == len(stored), "a key that is there twice would double rows"
        found = sandbox.trusted(
            f"SELECT coalesce(l.label, r.k) FROM (SELECT place, {row_key(table)} AS k FROM rows) r "
            f"LEFT JOIN {LABELS} l ON l.key = r.k ORDER BY place"
        )
    return [label for (label,) in found]


def searched(rows, table):
    """Return for every row the smallest key of its component, by breadth-first search over rows; None for no entity."""
    spaces = [space for _, space in key_spaces(table)]
    keys = [{f"{s}:{v}" for s, v in zip(spaces, row, strict=True) if v is not None} for row in rows]
    labels = [None] * len(rows)
    for start in range(len(rows)):
        if labels[start] is not None or not keys[start]:
            continue
        seen, waiting, reached = {start}, [start], set()
        while waiting:
            row = waiting.pop(0)
            reached |= keys[row]
            for other in range(len(rows)):
                if other not in seen and keys[row] & keys[other]:
                    seen.add(other)
                    waiting.append(other)
        for row in seen:
            labels[row] = min(reached, key=str.encode)
    return labels


TEXT = (ColumnType.TEXT, "VARCHAR")
VALUES = st.one_of(st.none(), st.sampled_from(["", "a", "b", "c", "d", "0:a", "é", "'", "10"]))


@st.composite
def tables(draw):
    """A table of two to four columns, the fourth of one kind with the first; sparse or dense."""
    width = draw(st.integers(2, 4))
    values = draw(st.sampled_from([VALUES, st.one_of(st.none(), st.integers(0, 30).map(str))]))
    return linked(*[TEXT] * width), draw(st.lists(st.tuples(*[values] * width), min_size=1, max_size=25))


@settings(max_examples=40)
@given(tables())
def test_rows_have_one_label_exactly_where_a_search_connects_them(drawn):
    """B-04: NULL joins nothing; equal values of one kind join, values of different kinds never do."""
    table, rows = drawn
    assert labels_of(rows, table) == searched(rows, table)


def test_a_row_of_the_first_column_alone_joins_what_has_its_value_in_another_column_of_that_kind():
    """B-04: the label of b was left out, for in the links b stands in the fourth column alone: two entities for one."""
    rows = [("b", None, None, None), ("a", None, None, "b")]
    assert labels_of(rows, linked(*[TEXT] * 4)) == ["0:a", "0:a"]


@settings(max_examples=12)
@given(tables(), st.randoms(use_true_random=False))
def test_labels_depend_on_neither_the_order_of_rows_nor_on_other_entities(drawn, chance):
    """B-01: without all rows of one entity, every other row keeps its very label: no other entity has a say in it."""
    table, rows = drawn
    labels = labels_of(rows, table)
    order = list(range(len(rows)))
    chance.shuffle(order)
    assert labels_of([rows[i] for i in order], table) == [labels[i] for i in order]
    gone = chance.choice(labels)
    rest = [i for i in order if labels[i] != gone]
    if rest:
        assert labels_of([rows[i] for i in rest], table) == [labels[i] for i in rest]


@pytest.mark.parametrize("shape", ["path", "star", "circle", "comb"])
def test_long_chains_and_wide_stars_are_one_entity(shape):
    """What takes many steps: the label is the smallest key at the far end."""
    n = 3000
    rows = {
        "path": [(f"{(i * 7919) % n}", f"{((i * 7919) % n) // 2 if i % 2 else i}") for i in range(n)],
        "star": [(f"{i}", "hub") for i in range(n)],
        "circle": [(f"{i}", f"{i}") for i in range(n)] + [(f"{(i + 1) % n}", f"{i}") for i in range(n)],
        "comb": [(f"{i}", f"{i}") for i in range(n)] + [(f"{i + 1}", f"{i}") for i in range(n - 1)] + [("z", "0")],
    }[shape]
    labels = labels_of(rows, linked(TEXT, TEXT))
    if shape == "path":
        assert labels == _by_union_find(rows)
    else:
        assert set(labels) == {"0:0"}


def _by_union_find(rows):
    """Return the labels by another method than both others, fast enough for long chains."""
    parent = {}

    def root(key):
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for a, b in rows:
        low, high = sorted((root(f"0:{a}"), root(f"1:{b}")), key=str.encode)
        parent[high] = low
    return [root(f"0:{a}") for a, _ in rows]


def test_columns_of_one_kind_and_type_hold_the_same_values_and_others_do_not():
    """B-04: an address is one value in whichever column it stands; a number is not an address."""
    rows = [("x", "y"), ("z", "x")]
    same = linked(TEXT, TEXT, kinds=("email", "email"))
    assert labels_of(rows, same) == ["0:x", "0:x"]
    apart = linked(TEXT, TEXT, kinds=("sender", "receiver"))
    assert labels_of(rows, apart) == ["0:x", "0:z"]
    number = linked(TEXT, (ColumnType.INTEGER, "BIGINT"), kinds=("id", "id"))
    assert labels_of([("1", 2), ("2", 1)], number, {"c1": pa.int64()}) == ["0:1", "0:2"]
    assert [space for _, space in key_spaces(linked(*[(ColumnType.DECIMAL, f"DECIMAL(9,{s})") for s in (2, 3)],
                                                    kinds=("id", "id")))] == [0, 1]  # fmt: skip


def test_every_type_that_an_entity_may_have_can_be_joined():
    import datetime
    from decimal import Decimal

    table = linked(
        (ColumnType.DATE, "DATE"), (ColumnType.DECIMAL, "DECIMAL(9,2)"), (ColumnType.BOOLEAN, "BOOLEAN"),
        kinds=("born", "no", "flag"),
    )  # fmt: skip
    types = {"c0": pa.date32(), "c1": pa.decimal128(9, 2), "c2": pa.bool_()}
    day = datetime.date(2020, 1, 1)
    rows = [(day, Decimal("1.50"), None), (None, Decimal("1.50"), True), (None, None, True), (None, None, None)]
    assert labels_of(rows, table, types) == ["0:2020-01-01"] * 3 + [None]


def test_nothing_is_stored_where_everybody_has_one_address_and_one_number():
    """The common case costs a run nothing: a key without a stored label is its own."""
    with open_sandbox(LIMITS) as sandbox:
        sandbox.register("rows", pa.table({"c0": ["a", "b", "b"], "c1": ["1", "2", "2"]}))
        join_entities(sandbox, "rows", linked(TEXT, TEXT))
        assert sandbox.trusted(f"SELECT count(*) FROM {LABELS}") == [(0,)]


def test_beyond_its_limits_it_stops():
    """Neither a part of the labels nor a hanging function: an error without a word of the data."""
    with open_sandbox(EngineLimits(memory_bytes=64 << 20, seconds=0.3, spill_bytes=0)) as sandbox:
        rows = "(SELECT 'a' || range AS c0, 'b' || (range // 2) AS c1 FROM range(20000000))"
        with pytest.raises(EngineError) as stopped:
            join_entities(sandbox, rows, linked(TEXT, TEXT))
    assert stopped.value.reason in {"out_of_time", "OutOfMemoryException"}
