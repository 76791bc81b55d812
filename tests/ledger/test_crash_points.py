"""A run fails at each of its calls, in three ways, and is tried again in two: no free answer, no second charge.

docs/crash_points.md has the outcome of each; it is compared here, line by line.
"""

import pytest

from cleanroom.adapters.memory import MemoryReleaseStore
from tests.ledger import planted
from tests.ledger.crash_points import (
    BLOCK,
    DOCS,
    LOCAL,
    POINTS,
    Deployment,
    crash,
    crash_again,
    faults_at,
    line_of,
    replay_points,
)


@pytest.fixture(scope="module")
def deployment():
    return Deployment()


@pytest.fixture(scope="module")
def documented():
    """Give the lines of the table in the document, without its head."""
    return BLOCK.search(DOCS.read_text(encoding="utf-8"))[0].splitlines()[2:]


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_costs_one_charge_and_gives_one_answer(deployment, documented, point):
    """B-52, rules 2 and 3: killed, timed out, or done with a lost reply; tried again with the same id and a new one."""
    lines = [line_of(crash(deployment, point, fault)) for fault in faults_at(point)]
    assert lines == [line for line in documented if line.startswith(f"| {point} |")]


def test_every_call_that_a_run_makes_to_the_outside_is_a_point(deployment):
    """What is called later on, and is not here, is not tested; the document names nothing else either."""
    deployment.new_window()
    deployment.wire.called.clear()
    assert deployment.ask(deployment.new_id())[0] == "the release"
    called = {name for name in deployment.wire.called if not any(local in name for local in LOCAL)}
    assert called == set(POINTS)
    documented = BLOCK.search(DOCS.read_text(encoding="utf-8"))[0].splitlines()[2:]
    assert len(documented) == sum(len(faults_at(point)) for point in POINTS)


def test_a_crash_of_a_run_that_a_stored_release_answers_costs_nothing_and_draws_nothing(deployment):
    """B-50: the second answer is the first one's, and free, wherever its run fails and is tried again."""
    paid, points = replay_points(deployment)
    assert {"run: ledger.answer", "run: noise.replay", "noise: ledger.replay", "noise: signer.sign"} <= set(points)
    for point in points:
        for fault in faults_at(point):
            crash_again(deployment, paid, point, fault)


class ForgetsNoise(MemoryReleaseStore):
    """A store that draws again: noisy integers are not kept before the release is made of them."""

    def get_drawn(self, *, party, run_id):
        return None

    def put_drawn_if_absent(self, *, party, run_id, drawn):
        self.drawn[party, run_id] = drawn
        return drawn


def test_a_second_charge_and_other_noise_would_be_noticed():
    faulty = Deployment()
    faulty.house.ledger.__class__ = planted.ChargeOnRetry
    with pytest.raises(AssertionError, match="charged twice"):
        crash(faulty, "run: exact.put", "time-out")
    faulty = Deployment()
    faulty.house.releases.__class__ = ForgetsNoise
    with pytest.raises(AssertionError, match="other noise"):
        crash(faulty, "noise: engine.query", "killed")
