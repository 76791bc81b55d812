"""Hostile texts and arguments: a plan or a coded refusal, within 256 MiB; what is compiled runs in the engine.

`python -m tests.fuzz texts --cases 10000` tries more than these tests have time for.
"""

from __future__ import annotations

import random

import pytest

from tests.soundness.hostile import MUTATIONS, TEMPLATES, complaints, random_request

CASES = 250
HANGING = 15
"""Seconds of a processor: on a busy machine one second says little. How much is done is counted elsewhere."""


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_asked_is_compiled_or_refused_with_a_code(seed):
    """B-37. Any other exception fails the test; it shows the request."""
    counted, found = complaints(seed=seed, cases=CASES, most_seconds=HANGING)
    assert [(c.what, c.request.text[:2000], c.request.arguments) for c in found] == []
    # Some of it is nearly right, and what is refused is refused for many reasons.
    assert counted["compiled"] >= CASES / 20
    assert counted["rendered"] >= CASES / 4
    assert sum(key.startswith("refused") for key in counted) >= 15


def test_every_mutation_changes_a_text():
    rng = random.Random(5)
    for mutation in set(MUTATIONS):
        assert any(mutation(rng, text) != text for text in TEMPLATES for _ in range(5)), mutation


def test_the_requests_are_odd_in_size_depth_and_letters():
    rng = random.Random(6)
    texts = [random_request(rng).text for _ in range(900)]
    assert any(len(text) > 20_000 for text in texts)
    assert any("(" * 25 in text for text in texts)
    assert any(not text.isascii() for text in texts)
    assert any("\x00" in text or "\u202e" in text for text in texts)
