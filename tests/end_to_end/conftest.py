"""What end-to-end tests share: an HTTP client per party of the deployed stack."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import httpx
import pytest

from local.stack import Stack


@pytest.fixture(scope="session")
def caller(stack: Stack) -> Iterator[Callable[[str], httpx.Client]]:
    """Give `caller(party)`: a client of the API that sends the party's token; `caller("")` sends none."""
    clients: dict[str, httpx.Client] = {}
    with ExitStack() as closing:

        def of(party: str) -> httpx.Client:
            if party not in clients:
                headers = {"Authorization": f"Bearer {stack.token(party)}"} if party else {}
                client = httpx.Client(base_url=stack.api_url, headers=headers, timeout=60)
                clients[party] = closing.enter_context(client)
            return clients[party]

        yield of


@pytest.fixture
def room_name() -> str:
    """Give a clean room name that no other test uses."""
    return f"room_{uuid4().hex[:12]}"
