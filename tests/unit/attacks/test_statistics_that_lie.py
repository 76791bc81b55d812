"""Attack: a Parquet file whose statistics are not those of its rows, so that the engine leaves out what it believes."""

from __future__ import annotations

import struct
from fractions import Fraction

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cleanroom.adapters.duckdb_engine import DuckDbEngine
from cleanroom.adapters.memory import MemoryObjects
from cleanroom.adapters.parquet_tables import ParquetTableStore
from cleanroom.rooms.approved import Template
from cleanroom.rooms.policies import policy_from_json
from cleanroom.rooms.settings import NoiseMechanism, PrivacySettings
from cleanroom.rooms.tables import EntityColumn, LinkedTable
from cleanroom.templates.compile import compile_query
from cleanroom.templates.render import render
from cleanroom.templates.template import CompileContext
from tests.contract.tables import table_of

VICTIM = 999_999
OTHERS = [700_001, 700_002, 700_003, 700_004, 700_005]
HEAVY = 12_345


def lying(table, claims, **written):
    """Return a Parquet object that says `claims[value]` wherever its footer said a value."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", use_dictionary=False, **written)
    content = sink.getvalue().to_pybytes()
    footer_at = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
    footer = content[footer_at:]
    for value, claim in claims.items():
        assert struct.pack("<q", value) in footer
        footer = footer.replace(struct.pack("<q", value), struct.pack("<q", claim))
    return content[:footer_at] + footer


def measured(visitors, own, sql, *, later=None):
    """Return the exact integers of a query over protected visits and the reader's own table.

    `later` is a new version of that.
    """
    objects = MemoryObjects()
    visits = pa.table({"person": visitors, "kind": [9 if v == VICTIM else 1 for v in visitors]})
    objects.put_table(owner="shop", name="visits", table=visits)
    objects.put("reader/own/0.parquet", own)
    store = ParquetTableStore(objects)
    tables = []
    for owner, name, entity, policy in [
        ("shop", "visits", "person", {"max_groups": 1, "max_rows": 4}),
        ("reader", "own", None, {"bounds": {"weight": [0, 10]}}),
    ]:
        columns = store.describe(owner=owner, name=name).columns
        entities = (EntityColumn(column=entity, kind="person", evidence=("a test says so",)),) if entity else ()
        tables.append(
            LinkedTable(
                owner=owner,
                name=name,
                columns=columns,
                entity_columns=entities,
                policy=policy_from_json(policy, columns),
            )
        )
    if later is not None:
        objects.put("reader/own/0.parquet", later)
    settings = PrivacySettings(
        differential=True, epsilon=Fraction(1), noise_mechanism=NoiseMechanism.LAPLACE, privacy_budget=100
    )
    context = CompileContext(
        reader="reader",
        settings=settings,
        source_tables=(tables[0],),
        my_tables=(tables[1],),
        room_tables=tuple(tables),
    )
    template = Template(name="asked", text=sql)
    plan = compile_query(render(template, {}, context), template=template, context=context)
    versions = {use.relation: store.resolve(use.table) for use in plan.tables}
    exact = table_of(DuckDbEngine(objects).execute(plan, versions=versions, run_key=1)["m0"]).to_pydict()
    (measurement,) = plan.measurements
    return {c.meaning: (exact[c.name][0] * c.unit, c.sensitivity * c.unit) for c in measurement.columns}


JOINED = "FROM IDENTIFIER({{ source_table[0] }}) v JOIN IDENTIFIER({{ my_table[0] }}) o ON v.person = o.person"


@pytest.mark.parametrize("claim", [HEAVY, 7])
def test_a_clamp_holds_whatever_the_file_says_of_its_largest_value(claim):
    """Before: with 7 as the declared maximum the engine dropped the clamp, and one row weighed 12,345 of 10."""
    own = pa.table({"person": [VICTIM, *OTHERS], "weight": [HEAVY, 1, 1, 1, 1, 1]})
    found = measured([VICTIM], lying(own, {HEAVY: claim}), f"SELECT SUM(o.weight) AS s {JOINED}")
    ((value, sensitivity),) = found.values()
    assert value == 10 <= sensitivity


@pytest.mark.parametrize("claim", [False, True])
def test_one_entity_does_not_decide_which_rows_of_others_are_read(claim):
    """Before: a part of the reader's file that claimed to hold the victim alone was read only where the victim was."""
    keys = [*range(800_000, 800_100), *(OTHERS * 20)]
    own = pa.table({"person": keys, "weight": [1] * len(keys)})
    content = lying(own, {OTHERS[0]: VICTIM, OTHERS[-1]: VICTIM} if claim else {}, row_group_size=100)
    sql = f"SELECT COUNT(*) AS n {JOINED}"
    ((without, sensitivity),) = measured(OTHERS, content, sql).values()
    ((with_victim, _),) = measured([*OTHERS, VICTIM], content, sql).values()
    assert without == 5 * 4
    assert abs(with_victim - without) <= sensitivity


def test_which_row_is_first_does_not_hang_on_what_the_file_says():
    """Before: the least row was not seen where its part of the file claimed larger ones and was read late."""
    part = 2048
    weights = [1_000_000 + i for i in range(60 * part)]
    weights[-part] = HEAVY
    own = pa.table({"person": [VICTIM if w == HEAVY else 7 for w in weights], "weight": weights})
    content = lying(own, {HEAVY: weights[-1]}, row_group_size=part)
    sql = (
        "SELECT COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) v JOIN (SELECT o.person, o.weight "
        "FROM IDENTIFIER({{ my_table[0] }}) o ORDER BY o.weight LIMIT 1) q ON v.person = q.person"
    )
    ((value, _),) = measured([VICTIM], content, sql).values()
    assert value == 1
