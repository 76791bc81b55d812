"""benchmarks: runs one peer on one workload inside the peer's own environment; prints one JSON line.

`python worker.py PEER WORKLOAD SF REPS BUDGET_SECONDS`, with the paths of the tables as JSON in PEER_FILES.
Times are seconds since this process started (the parent adds interpreter start-up).
"""

import time

T0 = time.perf_counter()
import importlib
import json
import os
import statistics
import sys
import warnings

warnings.filterwarnings("ignore")


def plain(v):
    return (
        v.item() if hasattr(v, "item") else (float(v) if not isinstance(v, (int, float, str)) and v is not None else v)
    )


def main():
    peer, name, sf, reps, budget = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import workloads

    w = workloads.build(name, sf)
    out = {"peer": peer, "workload": name, "sf": sf}
    adapter = importlib.import_module("adapters." + peer)
    out["import_s"] = time.perf_counter() - T0
    why = adapter.supports(w)
    if why:
        out["skip"] = why
        print("@@" + json.dumps(out))
        return
    state = adapter.open(w)
    out["open_s"] = time.perf_counter() - T0 - out["import_s"]
    times, cpus, answers = [], [], []
    start = time.perf_counter()
    for r in range(reps):
        t, c = time.perf_counter(), time.process_time()
        rows = adapter.answer(w, state)
        times.append(time.perf_counter() - t)
        cpus.append(time.process_time() - c)
        if r == 0:
            out["first_s"] = time.perf_counter() - T0
        answers.append([[plain(v) for v in row] for row in rows])
        if time.perf_counter() - start > budget:
            break
    out.update(times=times, cpus=cpus, warm_s=statistics.median(times[1:] or times), answers=answers)
    close = getattr(adapter, "close", None)
    if close:
        close(state)
    print("@@" + json.dumps(out))


if __name__ == "__main__":
    main()
