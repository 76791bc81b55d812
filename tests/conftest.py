"""Fixtures for tests that need AWS on this machine: the emulator alone, and the deployed stack."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from local.emulator import Emulator, start_emulator


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
