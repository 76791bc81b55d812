"""benchmarks: the table of the peers, from what was measured."""

import json


def _number(value, places=2):
    return "" if value is None else f"{value:.{places}f}"


def _percent(value):
    return "" if value is None else f"{100 * value:.2f} %"


def markdown(lines, order):
    """Return the table of the newest record of each cell.

    Args:
        lines: records as JSON, oldest first.
        order: the peers.
    """
    cells = {}
    for line in lines:
        record = json.loads(line)
        cells[record["sf"], record["workload"], record["peer"]] = record
    names = (
        "scale", "workload", "system", "first answer s", "warm answer s (least)", "CPU s of one answer",
        "CPU / same query without privacy", "peak MB", "error, mean", "error, median", "error, all groups", "groups",
        "answers",
    )  # fmt: skip
    out = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    keys = sorted(cells, key=lambda k: (k[0], k[1], order.index(k[2]) if k[2] in order else len(order)))
    out += ["| " + " | ".join(_row(key, cells)) + " |" for key in keys]
    return "\n".join(out)


def _row(key, cells):
    record = cells[key]
    if record.get("skip") or record.get("error"):
        why = f"skipped: {record['skip']}" if record.get("skip") else f"failed: {record['error']}"
        return [*key, why, "", "", "", _number(record.get("peak_mb"), 0), "", "", "", "", ""]
    plain = cells.get((*key[:2], "duckdb_view"), {}).get("cpu_s")
    return [
        *key,
        _number(record["first_s"]),
        f"{_number(record.get('warm_s'), 3)} ({_number(record.get('warm_min'), 3)})",
        _number(record["cpu_s"]),
        _number(record["cpu_s"] / plain, 1) if plain else "",
        _number(record["peak_mb"], 0),
        _percent(record["err"]),
        _percent(record["err_med"]),
        _percent(record["err_all"]),
        f"{_number(record['groups'], 1)} of {record['of']}",
        str(record["n"]),
    ]
