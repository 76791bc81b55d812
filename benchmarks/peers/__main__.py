"""benchmarks: side by side with other systems: same data, bounds and budget, each in processes of its own.

    python -m benchmarks.peers                                   # every peer, every workload, scale factor 1
    python -m benchmarks.peers --peers ref,cleanroom --workloads W1 --sf sf10 --cold 1 --reps 3
    python -m benchmarks.peers --table                           # print the table of what was measured before

Each (peer, workload) cell: `--cold` fresh processes that answer once (time to the first answer, peak memory, CPU), then
one process that answers up to `--reps` times within `--budget` seconds (warm time, error against the true answer).
Cells are appended to `.bench/peers/results.jsonl`; the newest of a cell wins.
"""

import argparse
import json
import os
import statistics
import time

from benchmarks.data import ROOT
from benchmarks.peers.data import files
from benchmarks.peers.environments import HOME, OURS, python_of
from benchmarks.peers.processes import run
from benchmarks.peers.scores import quality
from benchmarks.peers.table import markdown

OUT = HOME / "results.jsonl"

# peer -> environment; `duckdb_view` is the same query without privacy over the same join as the private forms
PEERS = {
    "duckdb_raw": "base",
    "duckdb_view": "base",
    "polars_raw": "base",
    "spark_raw": "spark",
    "ref": "base",
    "cleanroom": OURS,
    "qrlew": "qrlew",
    "smartnoise": "smartnoise",
    "opendp_polars": "opendp",
    "tumult": "tumult",
    "pipelinedp": "pipelinedp",
    "pydp_lib": "pydp",
    "diffprivlib_lib": "diffprivlib",
}
NAMES = ("W1", "W2", "W3", "W3F", "W3R", "W3Z", "W4")


def cell(options, peer, name):
    """Return what was measured of one peer on one workload."""
    limits = {"budget": options.budget, "timeout": options.timeout, "cap_mb": options.cap}
    python = python_of(PEERS[peer])
    record = {"peer": peer, "workload": name, "sf": options.sf, "at": time.time()}
    fresh = []
    for _ in range(options.cold):
        one = run(python, peer, name, options.sf, reps=1, **limits)
        if "skip" in one or "error" in one:
            record.update(skip=one.get("skip"), error=one.get("error"), peak_mb=one["peak_mb"], wall=one["wall"])
            return record
        fresh.append(one)
        if one["wall"] > options.slow:
            break
    for name_of, key in (("first_s", "first_s"), ("wall_s", "wall"), ("cpu_s", "cpu"), ("peak_mb", "peak_mb")):
        record[name_of] = statistics.median(one[key] for one in fresh)
    record["load"] = statistics.median(one["load"] for one in fresh)
    answers = [answer for one in fresh for answer in one["answers"]]
    if options.reps:
        warm = run(python, peer, name, options.sf, reps=options.reps, **limits)
        if "answers" in warm:
            answers += warm["answers"]
            record.update(warm_s=warm["warm_s"], warm_min=min(warm["times"]), warm_cpu=statistics.median(warm["cpus"]))
        else:
            record["warm_error"] = warm.get("error")
    record.update(quality(name, options.sf, answers))
    return record


def main():
    """Measure the cells that are asked for, and print the table of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--workloads", default=",".join(NAMES), help=f"of {', '.join(NAMES)}")
    parser.add_argument("--sf", default="sf1", help="scale of TPC-H: sf1, sf10, …")
    parser.add_argument("--cold", type=int, default=3, help="fresh processes")
    parser.add_argument("--reps", type=int, default=20, help="answers of one process")
    parser.add_argument("--budget", type=float, default=200, help="seconds of repeated answers in one process")
    parser.add_argument("--timeout", type=float, default=580, help="seconds of one process")
    parser.add_argument("--slow", type=float, default=30, help="a fresh run slower than this is not repeated")
    parser.add_argument("--cap", type=float, default=12000, help="kill a peer above this many MB")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    options = parser.parse_args()
    HOME.mkdir(parents=True, exist_ok=True)
    if not options.table:
        os.environ["PEER_FILES"] = json.dumps(files(scale_factor=int(options.sf.removeprefix("sf"))))
        os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "layers" / "core" / "python")))
        for name in options.workloads.split(","):
            for peer in options.peers.split(","):
                record = cell(options, peer, name)
                with OUT.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(record) + "\n")
                print(
                    json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in record.items()}), flush=True
                )
    print(markdown(OUT.read_text(encoding="utf-8").splitlines(), tuple(PEERS)))


if __name__ == "__main__":
    main()
