"""Fixtures for tests that need AWS on this machine: the emulator alone, and the deployed stack."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from local.emulator import Emulator, start_emulator
from local.stack import Stack, start

# A busy machine is slow now and then: time is measured by `make bench`, not by properties.
settings.register_profile("cleanroom", deadline=None)
settings.load_profile("cleanroom")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the deployed stack, and keep it together, so that parallel workers start one stack only."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.xdist_group("stack"))


@pytest.fixture(scope="session")
def emulated_aws() -> Iterator[Emulator]:
    """Give an empty AWS account on 127.0.0.1 (no deploy), one per test process.

    For contract tests of adapters: `.client("dynamodb")` and `.resource("dynamodb")` are boto3's,
    `.endpoint_url` and `.environment` point an SDK at it. Region us-east-1. Tests share the account,
    so each makes its own tables, buckets and keys under names of its own. Its KMS does not authenticate:
    tests of tampered or foreign ciphertext use moto instead.
    """
    with tempfile.TemporaryDirectory(prefix="cleanroom-aws-") as folder, start_emulator(folder=Path(folder)) as aws:
        yield aws


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Give template.yaml deployed on 127.0.0.1, one for all tests: `.api_url`, `.token(party)`, `.client(service)`.

    Parties: airline provides; agency and broker consume; stranger is in no clean room. Tests share it, so
    each makes clean rooms under names of its own and leaves the DP task running. Each function is held to its role.
    """
    with tempfile.TemporaryDirectory(prefix="cleanroom-stack-") as folder, start(folder=Path(folder)) as deployed:
        yield deployed


@pytest.fixture(autouse=True, scope="session")
def _environment_of_functions() -> Iterator[None]:
    """Give the edge the claim that names the party, as template.yaml does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARTY_CLAIM", "custom:party")
        patch.setenv("POWERTOOLS_SERVICE_NAME", "cleanroom")
        patch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Cleanroom")
        patch.setenv("POWERTOOLS_TRACE_DISABLED", "true")
        yield
