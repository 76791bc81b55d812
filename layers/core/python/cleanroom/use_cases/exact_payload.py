"""What passes from run_template to add_noise, encrypted: the plan and its exact tables."""

from __future__ import annotations

import msgspec


class ExactPayload(msgspec.Struct, frozen=True, kw_only=True):
    """One run's hand-over.

    Attributes:
        plan_json: the plan; its SHA-256 is what was charged.
        template_digest: of the template that it came from.
        exact_tables: measurement name -> Arrow IPC stream of exact integers.
    """

    plan_json: bytes
    template_digest: str
    exact_tables: dict[str, bytes]

    def encode(self) -> bytes:
        """Return it as MessagePack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> ExactPayload:
        """Read it back."""
        return msgspec.msgpack.decode(payload, type=cls)
