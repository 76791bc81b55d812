"""Where noise gets its bits from: a port of the noise code, in `privacy/`; the operating system's is an adapter.

No implementation lives here: production draws from the operating system at the moment of use (a generator held
across a restored snapshot would repeat its noise), and a repeatable one exists only under `tests/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import builtins


class Entropy(Protocol):
    """A source of independent, uniform bits; two calls never give the same bits again by design."""

    def bytes(self, count: int) -> builtins.bytes:
        """Return exactly `count` fresh random bytes; `count` >= 0."""
        ...
