"""Cleanroom itself: the compiler, the engine's own code in its sandbox, and the samplers, over the peers' files."""

from benchmarks.peer_adapter import answer, open, supports

__all__ = ["answer", "open", "supports"]
