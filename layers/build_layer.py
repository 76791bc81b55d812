"""layers: build one layer into a folder: locked wheels of the target, slimmed by deletion only, compiled.

Called by each layer's Makefile, which `sam build` calls. Standard library only.
"""

import argparse
import compileall
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

LAYERS = Path(__file__).resolve().parent
RUNTIME = (3, 13)
PLATFORMS = {"x86_64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}

# Nothing that runs reads these: sources and headers for those who compile against a package, its own tests,
# types for checkers, and the scripts of wheels.
UNREAD = (
    *("**/tests", "**/__pycache__", "**/*.pyi", "**/*.pxd", "**/*.pxi", "**/*.pyx", "**/*.h", "**/*.hpp", "**/*.a"),
    # Lists of what pip unpacked: nobody uninstalls from a layer. Licences stay.
    *("bin", "*.dist-info/RECORD"),
)

# What else no function reaches. libarrow_substrait, libparquet and libarrow_dataset stay: pyarrow links to them.
DELETED: dict[str, tuple[str, ...]] = {
    "core": (),
    "engine": (
        # Remote calls, and file systems of other kinds than ours: tables come through our own one.
        *(
            "pyarrow/*flight*",
            "pyarrow/libarrow_s3*",
            "pyarrow/_s3fs*",
            "pyarrow/_gcsfs*",
            "pyarrow/_azurefs*",
            "pyarrow/_hdfs*",
        ),
        # Parquet is read by DuckDB; Arrow is only memory here.
        *(
            "pyarrow/_dataset*",
            "pyarrow/_parquet*",
            "pyarrow/*parquet_encryption*",
            "pyarrow/_acero*",
            "pyarrow/_substrait*",
        ),
        *("pyarrow/*orc*", "pyarrow/*gandiva*", "pyarrow/*cuda*", "pyarrow/_feather*", "pyarrow/_pyarrow_cpp_tests*"),
        # Headers and sources, for those who compile against Arrow.
        *("pyarrow/include", "pyarrow/src"),
        # Wheels have no links: the loader asks for libarrow_python.so.<major>, the others are copies of it.
        *("pyarrow/libarrow_python.so", "pyarrow/libarrow_python.so.*.*.*"),
        *("duckdb/experimental", "_duckdb-stubs", "adbc_driver_duckdb"),
        # Only the interface of fsspec is used: nothing is mounted, cached or fetched through it.
        *("fsspec/implementations/[!_lm]*", "fsspec/implementations/libarchive*", "fsspec/gui.py", "fsspec/fuse.py"),
    ),
    "noise": (
        # numpy.random is not for secrets: noise is drawn from the operating system.
        "numpy/random",
        *(
            "numpy/f2py",
            "numpy/fft",
            "numpy/polynomial",
            "numpy/_core/include",
            "numpy/_core/lib",
            "numpy/_core/_simd.*",
        ),
    ),
    "runtime": (
        *("aws_lambda_powertools/event_handler/openapi/swagger_ui/*.js", "aws_lambda_powertools/utilities/kafka"),
        *("aws_lambda_powertools/event_handler/openapi/swagger_ui/*.css", "aws_lambda_powertools/utilities/parser"),
        # Doors use its logger, metrics, tracer, routing, event types and batches.
        *(f"aws_lambda_powertools/utilities/{unused}" for unused in ("data_masking", "feature_flags", "idempotency")),
        *(f"aws_lambda_powertools/utilities/{unused}" for unused in ("parameters", "streaming", "validation")),
        # Tracing of web frameworks and databases; cffi's compiler; botocore's documentation writer.
        *(
            "aws_xray_sdk/ext/django",
            "aws_xray_sdk/ext/flask*",
            "aws_xray_sdk/ext/aiohttp",
            "aws_xray_sdk/ext/sqlalchemy*",
        ),
        *("pycparser", "cffi", "wrapt-stubs"),
    ),
}

# Descriptions of AWS services, without which botocore cannot call them. All of them are 28 MiB.
SERVICES = {"dynamodb", "kms", "lambda", "s3", "scheduler", "sqs", "sts", "xray"}
BOTOCORE_FILES = {"endpoints.json", "partitions.json", "_retry.json", "sdk-default-configuration.json"}


def build(layer: str, *, architecture: str, artifacts: Path) -> None:
    """Build `layer` into `artifacts/python`.

    Raises:
        SystemExit: this is not Python 3.13, whose bytecode the functions load.
        CalledProcessError: a locked wheel is missing for the target, or its hash is another.
    """
    if sys.version_info[:2] != RUNTIME:
        raise SystemExit("layers ship bytecode of Python 3.13: build them with Python 3.13 (make build finds one)")
    target = artifacts / "python"
    shutil.rmtree(target, ignore_errors=True)
    if layer == "core":
        shutil.copytree(LAYERS / "core" / "python" / "cleanroom", target / "cleanroom")
    else:
        install(LAYERS / layer / "requirements.txt", architecture=architecture, target=target)
    slim(layer, target)
    compile_ahead(target)


def install(requirements: Path, *, architecture: str, target: Path) -> None:
    """Unpack the locked wheels for `architecture`, which need not be this machine's, into `target`."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise SystemExit("uv is needed: make build brings it")
    subprocess.run(
        [
            *(uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
            *("--python", sys.executable, "--python-platform", PLATFORMS[architecture], "--python-version", "3.13"),
            *("--target", str(target), "--requirement", str(requirements)),
        ],
        check=True,
    )


def slim(layer: str, target: Path) -> None:
    """Delete what `UNREAD` and `DELETED` name, and descriptions of services that no function calls."""
    for pattern in (*UNREAD, *DELETED[layer]):
        for path in sorted(target.glob(pattern)):
            _delete(path)
    for described in (target / "botocore" / "data", target / "boto3" / "data"):
        if described.is_dir():
            for path in described.iterdir():
                if path.name not in SERVICES | BOTOCORE_FILES:
                    _delete(path)
    (target / ".lock").unlink(missing_ok=True)


def compile_ahead(target: Path) -> None:
    """Compile every module, trusted unchecked: files of a layer never change, and Lambda cannot write them."""
    compiled = compileall.compile_dir(
        target,
        quiet=2,
        workers=1,
        stripdir=str(target.parent),
        prependdir="/opt",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        raise SystemExit(f"not every module under {target.name} compiles")


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layer", choices=sorted(DELETED))
    parser.add_argument("--architecture", choices=sorted(PLATFORMS), required=True)
    parser.add_argument("--artifacts", type=Path, required=True)
    arguments = parser.parse_args()
    build(arguments.layer, architecture=arguments.architecture, artifacts=arguments.artifacts)
