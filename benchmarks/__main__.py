"""benchmarks: `make bench`: measure everything in one run, print one table, keep it under `.bench`.

`python -m benchmarks [section ...] [--rounds N] [--scale-factor N]`; sections: exact accuracy samplers cold warm
charges.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "layers" / "core" / "python"))

from typing import TYPE_CHECKING

from benchmarks import accuracy, charges, cold_start, exact, samplers, warm_request
from benchmarks.data import WORK
from benchmarks.measure import Accuracy, Spread, interleaved, paired_ratio
from benchmarks.report import Row, as_json, as_markdown, as_text, figures, seconds
from benchmarks.workloads import questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def exact_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Time each exact query beside the plain one."""
    section = f"exact query / plain query in DuckDB, both on local Parquet, {exact.LIMITS.threads} threads"
    for question in questions(scale_factor=options.scale_factor):
        plan = exact.compiled(question)
        taken = interleaved(
            {
                "ours": partial(exact.time_exact, question, plan),
                "plain": partial(exact.time_plain, question),
            },
            rounds=options.rounds,
        )
        for name, kind in (("wall", "wall_seconds"), ("CPU", "cpu_seconds")):
            ours = [getattr(t, kind) for t in taken["ours"]]
            plain = [getattr(t, kind) for t in taken["plain"]]
            yield Row(
                section=section,
                what=f"{question.name}, {name}",
                ours=seconds(Spread.of(ours)),
                beside=seconds(Spread.of(plain)),
                ratio=paired_ratio(ours, plain),
                note=question.about if name == "wall" else "goal: at most 1.5" if question.name == "W1" else "",
            )


def accuracy_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Compare the errors of releases."""
    section = "mean relative error of a release / of a float baseline without defences, both at epsilon 1, delta 1e-6"
    for question in questions(scale_factor=options.scale_factor):
        found = accuracy.compare(question, exact.compiled(question), repetitions=options.repetitions)
        yield Row(
            section=section,
            what=question.name,
            ours=_error(found.ours),
            beside=_error(found.beside),
            ratio=found.ratio,
            note=f"{options.repetitions} releases; an unreleased group counts as 100 %",
        )


def _error(found: Accuracy) -> str:
    appear = "" if found.groups == found.of else f", {found.groups:.1f} of {found.of} groups"
    return f"{found.all_groups:.2%}{appear}"


def sampler_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Time the samplers."""
    for drawn in samplers.compare(rounds=options.rounds):
        yield Row(
            section="CPU of one draw / of OpenDP's",
            what=f"{drawn.distribution}, scale {drawn.scale:,}",
            ours=f"{figures(drawn.ours_microseconds.median)} µs",
            beside=f"{figures(drawn.beside_microseconds.median)} µs",
            ratio=drawn.ratio,
        )


def cold_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Time the imports of each function as built."""
    section = f"CPU of importing a function as built ({cold_start.ARCHITECTURE}) / without the layers' bytecode"
    why_not = cold_start.missing()
    if why_not:
        yield Row(section=section, what="all functions", ours=why_not)
        return
    for started in cold_start.compare(rounds=options.rounds):
        yield Row(
            section=section,
            what=started.function,
            ours=seconds(started.built_cpu_seconds),
            beside=seconds(started.uncompiled_cpu_seconds),
            ratio=started.ratio,
        )


def warm_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Time a whole request."""
    found = warm_request.compare(rounds=options.rounds)
    section = "one warm run over HTTP on the local stack (flights, mean delay by carrier)"
    run = seconds(found.run_seconds)
    yield Row(
        section=section,
        what="run / view_cleanrooms",
        ours=run,
        beside=seconds(found.trivial_seconds),
        ratio=found.over_trivial,
        note="the emulator's own time is in both",
    )
    yield Row(
        section=section,
        what="run / plain query",
        ours=run,
        beside=seconds(found.plain_seconds),
        ratio=found.over_plain,
        note="the plain query alone, in this process, from a local file",
    )


def charge_rows(options: argparse.Namespace) -> Iterator[Row]:
    """Time charges."""
    section = "a charge / a bare conditional update of one item, on the emulated DynamoDB"
    for found in charges.compare(rounds=options.rounds):
        yield Row(
            section=section,
            what=f"{found.how}, calls per second",
            ours=figures(found.ours_rate.median),
            beside=figures(found.bare_rate.median),
            ratio=found.rate_ratio,
            note="the emulator's own time is in both",
        )
        for name, ours, bare, ratio in (
            ("p50", found.ours_p50, found.bare_p50, found.p50_ratio),
            ("p99", found.ours_p99, found.bare_p99, found.p99_ratio),
        ):
            yield Row(
                section=section, what=f"{found.how}, {name}", ours=seconds(ours), beside=seconds(bare), ratio=ratio
            )


SECTIONS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "exact": exact_rows,
    "accuracy": accuracy_rows,
    "samplers": sampler_rows,
    "cold": cold_rows,
    "warm": warm_rows,
    "charges": charge_rows,
}


def machine() -> str:
    """Say when and on what it ran, without naming the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB memory, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start"
    )


def main() -> None:
    """Run the sections asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds of each comparison (7)")
    parser.add_argument("--repetitions", type=int, default=20, help="releases whose errors are averaged (20)")
    parser.add_argument("--scale-factor", type=int, default=1, help="of TPC-H (1)")
    options = parser.parse_args()
    about = f"{machine()}; TPC-H at scale factor {options.scale_factor}, {options.rounds} rounds"
    rows: list[Row] = []
    for name in options.sections or SECTIONS:
        for row in SECTIONS[name](options):
            rows.append(row)
            print("  ".join(cell for cell in row.cells if cell), file=sys.stderr, flush=True)
    WORK.mkdir(exist_ok=True)
    (WORK / "result.json").write_text(json.dumps(as_json(rows, about=about), indent=2, ensure_ascii=False) + "\n")
    (WORK / "result.md").write_text(as_markdown(rows, about=about))
    print(as_text(rows, about=about))
    for name in ("result.json", "result.md"):
        print(f"also in {WORK.name}/{name}")


if __name__ == "__main__":
    main()
