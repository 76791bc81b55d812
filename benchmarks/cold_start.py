"""benchmarks: CPU seconds of importing each function as built, with and without the layers' bytecode.

Each import is a fresh process. This is the part of a cold start that our packaging decides; the service's own part
is not on this machine.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.data import ROOT
from benchmarks.measure import Spread, Timed, interleaved, paired_ratio
from layers.sizes import CONTENTS

ARCHITECTURE = "arm64" if platform.machine() == "aarch64" else "x86_64"
BUILD = ROOT / ".aws-sam" / f"build-{ARCHITECTURE}"

_PROBE = """
import sys, time
folders, compiled = {folders!r}, {compiled!r}
if not compiled:
    import importlib.machinery as machinery
    class Uncompiled(machinery.SourceFileLoader):
        def get_code(self, fullname):
            return self.source_to_code(self.get_data(self.path), self.path)
    def hook(path):
        if not any(path == f or path.startswith(f + '/') for f in folders):
            raise ImportError
        extensions = (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES)
        return machinery.FileFinder(path, extensions, (Uncompiled, machinery.SOURCE_SUFFIXES))
    sys.path_hooks.insert(0, hook)
sys.path[1:1] = folders
wall, cpu = time.perf_counter(), time.process_time()
import app
print([time.perf_counter() - wall, time.process_time() - cpu])
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """CPU seconds of `import app`: as built, and with the layers' bytecode left aside."""

    function: str
    built_cpu_seconds: Spread
    uncompiled_cpu_seconds: Spread
    ratio: Spread


def missing() -> str:
    """Return why it cannot be measured here; empty where it can."""
    if sys.version_info[:2] != (3, 13):
        return f"not measured: the layers hold bytecode of Python 3.13, and this is {platform.python_version()}"
    parts = sorted({*CONTENTS, *(layer for layers in CONTENTS.values() for layer in layers)})
    absent = [name for name in parts if not (BUILD / name).is_dir()]
    return f"not built: `make build` makes {', '.join(absent)}" if absent else ""


def compare(*, rounds: int) -> list[Started]:
    """Import every function of the build, both ways."""
    found = []
    for function, layers in CONTENTS.items():
        folders = [str(BUILD / function), *(str(BUILD / layer / "python") for layer in layers)]
        taken = interleaved(
            {
                "built": partial(_import, folders, compiled=True),
                "uncompiled": partial(_import, folders, compiled=False),
            },
            rounds=rounds,
        )
        built = [t.cpu_seconds for t in taken["built"]]
        uncompiled = [t.cpu_seconds for t in taken["uncompiled"]]
        found.append(
            Started(
                function=function,
                built_cpu_seconds=Spread.of(built),
                uncompiled_cpu_seconds=Spread.of(uncompiled),
                ratio=paired_ratio(built, uncompiled),
            )
        )
    return found


def _import(folders: list[str], *, compiled: bool) -> Timed:
    # -I and -S: nothing of this environment; -B: no bytecode is written.
    environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1", "POWERTOOLS_TRACE_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", _PROBE.format(folders=folders, compiled=compiled)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(folders[0]),
    )
    if done.returncode:
        raise RuntimeError(f"{Path(folders[0]).name} does not import as built:\n{done.stderr}")
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return Timed(wall_seconds=wall, cpu_seconds=cpu)
