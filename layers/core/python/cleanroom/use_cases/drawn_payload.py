"""A run's noisy tables as they are kept: drawn once, before anything is computed from them."""

from __future__ import annotations

import msgspec


class DrawnPayload(msgspec.Struct, frozen=True, kw_only=True):
    """What the release of one run is made of, whatever fails on the way; nothing in it is exact but with DP off.

    Attributes:
        plan_json: the plan that was charged.
        template_digest: of the template that it came from.
        noisy_tables: measurement name -> Arrow IPC stream of what is not measured, then the noisy integers.
    """

    plan_json: bytes
    template_digest: str
    noisy_tables: dict[str, bytes]

    def encode(self) -> bytes:
        """Return it as MessagePack."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> DrawnPayload:
        """Read it back."""
        return msgspec.msgpack.decode(payload, type=cls)
