"""layers: weigh what `sam build` made, function by function, and try it: too big or not working fails.

`python layers/sizes.py .aws-sam/build-arm64 [--try]`. Standard library only, so that `--try` sees nothing else.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LAYERS = Path(__file__).resolve().parent

LIMIT_BYTES = 250 * 1024 * 1024
"""Lambda's limit on a function and its layers, unzipped."""

CONTENTS = {
    "RoomsFunction": ("CoreLayer", "EngineLayer", "RuntimeLayer"),
    "RunTemplateFunction": ("CoreLayer", "EngineLayer", "RuntimeLayer"),
    "AddNoiseFunction": ("CoreLayer", "EngineLayer", "NoiseLayer", "RuntimeLayer"),
    "DpTaskFunction": ("CoreLayer", "RuntimeLayer"),
}
"""Layers of each function; tests/stack holds that template.yaml says the same."""

SERVICES = {
    "RoomsFunction": "room_services",
    "RunTemplateFunction": "run_services",
    "AddNoiseFunction": "noise_services",
    "DpTaskFunction": "task_services",
}
"""What each function makes at its first event: the adapters that are imported only then."""

SETTINGS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "POWERTOOLS_TRACE_DISABLED": "true",
    "ANSWER_STEP_SECONDS": "1",
    **{f"{name}_BUCKET": "some-bucket" for name in ("TABLES", "INBOX", "EXACT", "RESULTS", "ENTITIES", "AUDIT")},
    **{f"{name}_TABLE": "some-table" for name in ("LEDGER", "CATALOGUE")},
    **{
        f"{name}_KEY_ARN": "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
        for name in ("EXACT", "RECEIPT")
    },
    **{f"SIGNAL_{name}": "5" for name in ("REFUSALS_PER_HOUR", "SIMILAR_QUERIES")},
    "SIGNAL_HOURLY_SHARE": "0.5",
    "RUN_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/some-queue",
    "ADD_NOISE_FUNCTION": "some-function",
    "DP_TASK_SCHEDULE": "some-schedule",
    "DP_TASK_SCHEDULE_GROUP": "some-group",
    "DP_TASK_EXPRESSION": "cron(0 0 * * ? *)",
    "DP_TASK_TIME_ZONE": "Europe/Paris",
    "PROVIDER_PARTIES": "provider",
    "PARTY_CLAIM": "custom:party",
}

PROBES = {
    "CoreLayer": "import cleanroom.errors",
    "EngineLayer": (
        "import duckdb, fsspec, jinja2, pyarrow as pa, pyarrow.compute, pyarrow.csv, pyarrow.ipc, sqlglot\n"
        "from pyarrow import fs\n"
        "numbers = pa.table({'n': pa.array([1, 2, 2], pa.int64()), 's': ['a', 'b', None]})\n"
        "got = duckdb.connect().execute('SELECT n, count(*) c FROM numbers GROUP BY n ORDER BY n')\n"
        "assert got.to_arrow_table().to_pydict() == {'n': [1, 2], 'c': [1, 2]}\n"
        "duckdb.connect().execute(\"COPY (SELECT 7 AS x) TO 'probe.parquet'\")\n"
        "assert duckdb.connect().execute(\"SELECT x FROM 'probe.parquet'\").fetchall() == [(7,)]\n"
        "tree = sqlglot.parse_one('SELECT IFF(a, 1, 2) FROM t', read='snowflake')\n"
        "assert tree.sql(dialect='duckdb').startswith('SELECT CASE')\n"
    ),
    "NoiseLayer": "import numpy as np; assert (np.arange(4) @ np.arange(4)) == 14; np.linalg.norm([3.0, 4.0])",
    "RuntimeLayer": (
        "import aws_encryption_sdk, boto3, msgspec, aws_xray_sdk.core\n"
        "from aws_lambda_powertools import Logger, Metrics, Tracer\n"
        "from aws_lambda_powertools.event_handler import APIGatewayHttpResolver\n"
        "from aws_lambda_powertools.utilities.batch import BatchProcessor\n"
        "from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2, S3Event, SQSEvent\n"
        "for name in ('dynamodb', 'kms', 'lambda', 's3', 'scheduler', 'sqs', 'sts'):\n"
        "    boto3.client(name, region_name='us-east-1')\n"
        "boto3.resource('dynamodb', region_name='us-east-1')\n"
    ),
}


def size_bytes(folder: Path) -> int:
    """Return what the files under `folder` weigh."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def problems(build: Path, *, run: bool) -> Iterator[str]:
    """Print a line for each function and yield what is wrong with it."""
    for function, layers in CONTENTS.items():
        parts = {name: size_bytes(build / name) for name in (function, *layers)}
        total = sum(parts.values())
        said = ", ".join(f"{name.removesuffix('Layer').lower()} {parts[name] / 2**20:.0f}" for name in layers)
        print(f"{build.name}  {function:20} {total / 2**20:6.1f} of 250 MiB  ({said})")
        if not 0 < total < LIMIT_BYTES:
            yield f"{function} is {total / 2**20:.1f} MiB with its layers"
        # The built archives are put together as Lambda does: everything of ContentUri under /opt.
        if not (build / "CoreLayer" / "python" / "cleanroom" / "errors.py").is_file():
            yield "the core layer does not hold python/cleanroom: functions could not import it"
        if run:
            yield from _try(build, function, layers)


def _try(build: Path, function: str, layers: tuple[str, ...]) -> Iterator[str]:
    paths = [str((build / function).resolve()), *(str((build / layer / "python").resolve()) for layer in layers)]
    handler = build / function / "app.py"
    code = "\n".join([f"import sys; sys.path[1:1] = {paths!r}", *(PROBES[layer] for layer in layers)])
    if handler.is_file():
        code += "\nimport app; assert callable(app.handler)"
        code += f"\nfrom cleanroom.adapters.aws import {SERVICES[function]}; {SERVICES[function]}()"
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_TRACE_DISABLED": "true",
    } | SETTINGS
    # -S: without this interpreter's own packages; -B: the layers' bytecode, or none.
    probe = build / "probe"
    probe.mkdir(exist_ok=True)
    tried = subprocess.run(
        [sys.executable, "-S", "-B", "-c", code],
        cwd=probe,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode == 0 and "EngineLayer" in layers:
        tried = subprocess.run(
            [sys.executable, "-S", "-B", str(LAYERS / "probe.py"), function, *paths],
            cwd=probe,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if tried.returncode:
        yield f"{function} does not work with what its layers hold:\n{tried.stderr}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("--try", dest="run", action="store_true", help="import and use it; only on the same processor")
    arguments = parser.parse_args()
    if arguments.run and sys.version_info[:2] != (3, 13):
        raise SystemExit("only Python 3.13 can try it, not " + platform.python_version())
    found = list(problems(arguments.build, run=arguments.run))
    for problem in found:
        print(problem, file=sys.stderr)
    raise SystemExit(1 if found else 0)
