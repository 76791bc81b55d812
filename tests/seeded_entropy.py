"""Repeatable bits for tests: what the operating system gives in production. Never imported by the package."""

from __future__ import annotations

from hashlib import shake_256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import builtins


class SeededEntropy:
    """An endless stream of bits from a seed: SHAKE-256 of the seed and a counter, one call one block."""

    def __init__(self, seed: int | str) -> None:
        self._seed = str(seed).encode()
        self._calls = 0

    def bytes(self, count: int) -> builtins.bytes:
        """Return the next `count` bytes of the stream."""
        self._calls += 1
        return shake_256(self._seed + b"/" + str(self._calls).encode()).digest(count)


class ScriptedEntropy:
    """Gives the bytes of a script first, then those of another source: to steer a sampler onto a boundary."""

    def __init__(self, script: builtins.bytes, then: SeededEntropy) -> None:
        self._script, self._then = script, then

    def bytes(self, count: int) -> builtins.bytes:
        """Return what is left of the script, up to `count` bytes, and fill up from the other source."""
        head, self._script = self._script[:count], self._script[count:]
        return head + self._then.bytes(count - len(head))
