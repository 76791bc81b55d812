"""The public keys that receipts are verified with: no secret, and the same for every party."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cleanroom.ports import NoiseServices
    from cleanroom.use_cases.arguments import NoArguments


def view_receipt_key(_arguments: NoArguments, _party: str, services: NoiseServices) -> dict[str, object]:
    """Return the public key that receipts are signed with now, and those of earlier keys, in PEM.

    Keep them outside this account: a key that is trusted only because it stands beside the release proves nothing.
    """
    key = services.signer.key()
    earlier = [pem for pem in services.releases.receipt_keys() if pem != key.pem]
    return {**key.named(), "pem": key.pem, "earlier": earlier}
