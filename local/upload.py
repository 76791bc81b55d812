"""local: put a table into a party's prefix of the running stack: one of the demo's, or a Parquet file of your own.

`python -m local.upload airline flights`, `python -m local.upload agency fleet`: flights and loyalty are the provider's
tables in the demo, fleet the consumer's; any party may upload any of them.
`python -m local.upload airline orders orders.parquet`: a file of yours becomes the table orders.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import boto3

from local.data import write_tables
from local.stack import PARTIES, STACK_FILE

TABLES = ("flights", "fleet", "loyalty")


def main(party: str, table: str, file: Path | None = None) -> str:
    """Upload `table` for `party` into the running stack, from `file` or the demo's data, and return its address.

    An earlier upload of the table is replaced: the object's name is the table's.
    """
    described = json.loads(STACK_FILE.read_text(encoding="utf-8"))
    aws = described["aws"]
    s3 = boto3.client(
        "s3",
        endpoint_url=aws["AWS_ENDPOINT_URL"],
        region_name=aws["AWS_DEFAULT_REGION"],
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
    )
    path = file or write_tables(Path(__file__).resolve().parent.parent / ".local" / "data")[table]
    bucket, key = described["outputs"]["TablesBucketName"], f"{party}/{table}/{table}.parquet"
    s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    return f"s3://{bucket}/{key}"


USAGE = f"python -m local.upload {{{'|'.join(PARTIES)}}} {{{'|'.join(TABLES)}}}, or any name and a Parquet file"


if __name__ == "__main__":
    if not ((len(sys.argv) == 3 and sys.argv[2] in TABLES) or len(sys.argv) == 4) or sys.argv[1] not in PARTIES:
        raise SystemExit(USAGE)
    own = Path(sys.argv[3]) if len(sys.argv) == 4 else None
    if own is not None and not own.is_file():
        raise SystemExit(f"there is no file {own}")
    if not STACK_FILE.exists():
        raise SystemExit("no stack runs here: make up starts one")
    print(main(sys.argv[1], sys.argv[2], own))
