"""The worked example of docs/privacy.md: a deployment in memory, with repeatable noise, so that a test can hold it."""

from __future__ import annotations

import json
from functools import lru_cache
from statistics import fmean

import pyarrow as pa

from tests.house import FLIGHTS, House

TEMPLATE = """SELECT p.carrier, COUNT(DISTINCT p.tailnum) AS planes, AVG(p.dep_delay) AS mean_delay
FROM IDENTIFIER({{ source_table[0] }}) p
WHERE p.dest = {{ destination }}
GROUP BY p.carrier ORDER BY p.carrier"""
POLICY = {
    "max_groups": 1,
    "max_rows": 2,
    "bounds": {"dep_delay": [-30, 180]},
    "domains": {"carrier": ["AA", "DL", "UA", "WN"]},
}
RUN = {
    "cleanroom_name": "room",
    "template_name": "by_carrier",
    "provider_tables": ["flights"],
    "arguments": {"destination": "BOS"},
}
SETTINGS = {"differential": 1, "epsilon": 1.0, "privacy_budget": 10}


@lru_cache(maxsize=1)
def story():
    house = House()
    house.objects.put_table(owner="airline", name="flights", table=FLIGHTS)
    house("airline", "provider", "cleanroom_init", cleanroom_name="room")
    linked = house(
        "airline",
        "provider",
        "link_datasets",
        cleanroom_name="room",
        tables=["flights"],
        policies={"flights": POLICY},
    )
    house(
        "airline",
        "provider",
        "add_custom_sql_template",
        cleanroom_name="room",
        template_name="by_carrier",
        template=TEMPLATE,
    )
    house(
        "airline",
        "provider",
        "add_consumers",
        cleanroom_name="room",
        consumer_names=["agency"],
        privacy_settings=SETTINGS,
    )
    house("agency", "consumer", "install_cleanroom", cleanroom_name="room")
    quote = house("agency", "consumer", "quote_analysis", **RUN)
    release = house("agency", "consumer", "run_analysis", run_id="example-run", **RUN)
    return linked, quote, release


def exact():
    """The exact answer, worked out a second way: no part of the product is asked."""
    rows = [r for r in FLIGHTS.to_pylist() if r["dest"] == "BOS"]
    answer = {}
    for carrier in POLICY["domains"]["carrier"]:
        delays = [r["dep_delay"] for r in rows if r["carrier"] == carrier]
        planes = {r["tailnum"] for r in rows if r["carrier"] == carrier}
        answer[carrier] = (len(planes), fmean(delays) if delays else None)
    return answer


def bounded_counts(rows_per_group, *, max_groups, max_rows, mechanism):
    """What one entity with these rows per group adds to each group's COUNT(*), read from the real exact query."""
    groups = list(rows_per_group)
    planes = [("N1AA", g) for g, n in rows_per_group.items() for _ in range(n)]
    flights = pa.table({"tailnum": [p for p, _ in planes], "carrier": [g for _, g in planes]})
    house = House()
    house.objects.put_table(owner="airline", name="flights", table=flights)
    house("airline", "provider", "cleanroom_init", cleanroom_name="room")
    policy = {"max_groups": max_groups, "max_rows": max_rows, "domains": {"carrier": groups}}
    house("airline", "provider", "link_datasets", cleanroom_name="room", tables=["flights"],
          policies={"flights": policy}, entity_columns={"flights": {"pin": {"tailnum": "plane"}}})  # fmt: skip
    text = "SELECT p.carrier, COUNT(*) AS n FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY p.carrier"
    house("airline", "provider", "add_custom_sql_template", cleanroom_name="room", template_name="n", template=text)
    settings = {**SETTINGS, "noise_mechanism": mechanism}
    house("airline", "provider", "add_consumers", cleanroom_name="room", consumer_names=["agency"],
          privacy_settings=settings)  # fmt: skip
    house("agency", "consumer", "install_cleanroom", cleanroom_name="room")
    seen = {}
    execute = house.runs.engine.execute

    def watched(plan, **named):
        tables = execute(plan, **named)
        for measurement in plan.measurements:
            exact_table = pa.ipc.open_stream(tables[measurement.name]).read_all()
            (column,) = measurement.columns
            unit = float(column.unit)
            keys, steps = exact_table.column(measurement.keys[0]), exact_table.column(column.name)
            seen.update(dict(zip(keys.to_pylist(), [s * unit for s in steps.to_pylist()], strict=True)))
        return tables

    house.runs.engine.execute = watched
    house("agency", "consumer", "run_analysis", cleanroom_name="room", template_name="n", provider_tables=["flights"])
    return seen


def _json(value):
    return "```json\n" + json.dumps(value, indent=2, ensure_ascii=False) + "\n```"


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _link():
    linked, _, _ = story()
    return _json({"entity_columns": linked["linked"][0]["entity_columns"], "policy": linked["linked"][0]["policy"]})


def _template():
    return f"```sql\n{TEMPLATE}\n```"


def _quote():
    _, quote, _ = story()
    lines = [[p["what"], f"{p['epsilon']:g}"] for p in quote["parts"]]
    errors = [
        [c["measures"], c["noise"]["distribution"], c["noise"]["scale"], f"± {c['plus_or_minus_95']:,.2f}"]
        for c in quote["measurements"][0]["columns"]
    ]
    return (
        _table(["paid for", "epsilon"], [*lines, ["**all**", f"**{quote['epsilon']:g}**"]])
        + f"\n\n`runs_left`: {quote['runs_left']}, by the limit `{quote['runs_left_limit']['limit']}`.\n\n"
        + _table(["measured per carrier", "noise", "its scale, in steps", "95 % of the noise"], errors)
    )


def _release():
    _, _, release = story()
    rows = []
    for number, (carrier, planes, mean) in enumerate(release["rows"]):
        low, high = release["intervals"]["planes"][number]
        ends = release["intervals"]["mean_delay"][number]
        exact_planes, exact_mean = exact()[carrier]
        rows.append(
            [
                carrier,
                f"{planes}",
                f"{low:.2f} to {high:.2f}",
                "NULL" if mean is None else f"{mean:.2f}",
                "–" if mean is None or ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}",
                f"{exact_planes}",
                "none" if exact_mean is None else f"{exact_mean:.2f}",
            ]
        )
    head = ["carrier", "planes", "95 % interval", "mean_delay", "95 % interval", "*exact planes*", "*exact mean*"]
    return _table(head, rows)


def _receipt():
    _, _, release = story()
    # Digests change with the text of generated SQL and with the library that wrote the file.
    digests = {
        "template_digest": "(SHA-256 of the template)",
        "plan_digest": "(SHA-256 of the plan)",
        "request_digest": "(SHA-256 of the request)",
        "released_digest": "(SHA-256 of all of the release but receipt and signature)",
        "key": {"id": "(ARN)", "fingerprint": "(SHA-256 of the public key)", "algorithm": "ECDSA_SHA_256"},
        "table_versions": {"airline.flights": "(SHA-256 of the objects' names, versions and sizes)"},
    }
    return _json(release["receipt"] | digests)


def _bounding():
    cases = [
        ({"AA": 2, "DL": 3}, "Laplace"),
        ({"AA": 8, "DL": 0}, "Laplace"),
        ({"AA": 6, "DL": 3, "UA": 3}, "Laplace"),
        ({"AA": 6, "DL": 3, "UA": 3}, "Gaussian"),
    ]
    rows = []
    for rows_per_group, mechanism in cases:
        kept = bounded_counts(rows_per_group, max_groups=2, max_rows=3, mechanism=mechanism)
        counts = [kept[g] for g in rows_per_group]
        norm = sum(abs(c) for c in counts) if mechanism == "Laplace" else sum(c * c for c in counts) ** 0.5
        rows.append(
            [
                mechanism,
                ", ".join(f"{g} {n}" for g, n in rows_per_group.items()),
                ", ".join(f"{g} {c:.4g}" for g, c in zip(rows_per_group, counts, strict=True)),
                f"{norm:.4g}",
            ]
        )
    return _table(["noise", "the entity's rows per group", "what it adds to COUNT(*)", "norm of that"], rows)


PARTS = {
    "link": _link,
    "template": _template,
    "quote": _quote,
    "release": _release,
    "receipt": _receipt,
    "bounding": _bounding,
}
