"""local: print a JWT of one party of the running stack: `python -m local.token airline`."""

import json
import sys
import urllib.request
from typing import Any

from local.stack import PARTIES, STACK_FILE


def get_token(described: dict[str, Any], party: str) -> str:
    """Ask the stack's user pool for a JWT of `party`, with nothing but HTTP."""
    how = described["parties"][party]["token"]
    request = urllib.request.Request(how["endpoint"], data=json.dumps(how["body"]).encode(), headers=how["headers"])
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(json.load(response)["AuthenticationResult"]["IdToken"])


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PARTIES:
        raise SystemExit(f"python -m local.token {{{'|'.join(PARTIES)}}}")
    if not STACK_FILE.exists():
        raise SystemExit("no stack runs here: make up starts one")
    print(get_token(json.loads(STACK_FILE.read_text(encoding="utf-8")), sys.argv[1]))
