"""benchmarks: runs one peer in a fresh process, and watches the memory and CPU of its process tree."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")


class Watch(threading.Thread):
    """Samples the process tree: peak of the summed PSS, CPU seconds, and a kill switch on memory."""

    def __init__(self, pid, cap_mb):
        super().__init__(daemon=True)
        self.pid, self.cap, self.peak, self.cpu, self.killed, self.done = pid, cap_mb, 0.0, {}, False, False

    def tree(self):
        kids = {}
        for p in os.listdir("/proc"):
            if p.isdigit():
                try:
                    f = pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
                    kids.setdefault(int(f[1]), []).append((int(p), (int(f[11]) + int(f[12])) / TICK))
                except OSError:
                    pass
        out, todo = [], [self.pid]
        while todo:
            for child in kids.get(todo.pop(), []):
                out.append(child)
                todo.append(child[0])
        try:
            f = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
            out.append((self.pid, (int(f[11]) + int(f[12])) / TICK))
        except OSError:
            pass
        return out

    def run(self):
        while not self.done:
            mem = 0
            for pid, cpu in self.tree():
                self.cpu[pid] = cpu
                try:
                    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                        if line.startswith("Pss:"):
                            mem += int(line.split()[1])
                            break
                except OSError:
                    pass
            self.peak = max(self.peak, mem / 1024)
            if self.peak > self.cap and not self.killed:
                self.killed = True
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.05)


def run(python, peer, name, sf, *, reps, budget, timeout, cap_mb):
    """Run one fresh process; return the worker's record plus wall, CPU and memory seen from outside."""
    cmd = [
        str(python),
        str(HERE / "worker.py"),
        peer,
        name,
        sf,
        str(reps),
        str(budget),
    ]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        t = time.perf_counter()
        p = subprocess.Popen(cmd, stdout=out, stderr=err, start_new_session=True, cwd=HERE)
        w = Watch(p.pid, cap_mb)
        w.start()
        try:
            p.wait(timeout)
            late = False
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
            late = True
        wall = time.perf_counter() - t
        w.done = True
        w.join()
        out.seek(0)
        err.seek(0)
        text = out.read()
        at = text.rfind("@@{")
        rec = json.loads(text[at + 2 :].splitlines()[0]) if at >= 0 else {}
        if not rec:
            tail = err.read().strip().splitlines()
            rec["error"] = (
                f"over {timeout} s"
                if late
                else f"over {cap_mb} MB"
                if w.killed
                else (tail[-1][:200] if tail else "no output")
            )
        rec.update(wall=wall, cpu=sum(w.cpu.values()), peak_mb=w.peak, load=os.getloadavg()[0])
        return rec
