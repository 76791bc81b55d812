"""Run ids are a party's own: inside, each is scoped by its party, so that no party can meet, or probe, another's."""

from __future__ import annotations


def scoped_run_id(party: str, run_id: str) -> str:
    """Return the id under which the ledger and the stores keep a party's run; no party's name holds a dot."""
    return f"{party}.{run_id}"


def public_run_id(scoped: str) -> str:
    """Return the id as its party knows it."""
    return scoped.partition(".")[2]
