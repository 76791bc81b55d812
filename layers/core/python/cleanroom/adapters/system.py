"""What comes from the machine itself: time, identifiers and random bits. Adapters of `Clock`, `Ids` and `Entropy`."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import builtins


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time now, aware, in UTC."""
        return datetime.now(UTC)


class SystemIds:
    """Identifiers from the operating system's randomness, drawn at the call."""

    def run_id(self) -> str:
        """Return 32 hexadecimal digits: 128 random bits."""
        return secrets.token_hex(16)

    def run_key(self) -> int:
        """Return a fresh secret key, 0 <= key < 2**63."""
        return secrets.randbits(63)


class SystemEntropy:
    """The operating system's random bits. It holds no state: nothing to repeat after a restored snapshot."""

    def bytes(self, count: int) -> builtins.bytes:
        """Return exactly `count` fresh random bytes; `count` >= 0."""
        return os.urandom(count)
