"""Attack: a release query that fails on the noisy number, sent again until enough fresh noise was seen."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from cleanroom.errors import RunFailedError
from cleanroom.use_cases.drawn_payload import DrawnPayload
from tests.house import BY_CARRIER, FLIGHTS, furnished

REQUEST = {**BY_CARRIER, "run_id": "again-and-again"}


class FailingEngine:
    """A release engine that fails on its first queries, as a caller's query can make it do on a noisy number."""

    def __init__(self, engine, *, failures: float) -> None:
        self.engine, self.failures = engine, failures
        self.seen: list[pa.Table] = []

    def query(self, sql, tables):
        self.seen.append(tables["m0"])
        if len(self.seen) <= self.failures:
            raise RunFailedError("the release could not be computed from its noisy tables")
        return self.engine.query(sql, tables)


def failing(*, failures: float):
    house = furnished()
    engine = FailingEngine(house.noises.engine, failures=failures)
    house.noises = replace(house.noises, engine=engine)
    return house, engine


def test_a_release_that_failed_is_tried_again_on_the_same_noise():
    """Ledger rule 3. Before: each attempt, and each GET of the run, drew fresh noise, for the price of one run."""
    house, engine = failing(failures=3)
    assert house.ask("agency", "consumer", "run_analysis", **REQUEST)[0] == 409
    assert house.get_run("agency", "again-and-again")[0] == 409
    assert house.ask("agency", "consumer", "run_analysis", **REQUEST)[0] == 409
    assert house("agency", "consumer", "run_analysis", **REQUEST)["state"] == "released"
    assert len(engine.seen) > 3
    assert all(table.equals(engine.seen[0]) for table in engine.seen[1:4])
    budgets = house("agency", "consumer", "view_remaining_privacy_budget", cleanroom_name="room")["budgets"]
    assert budgets[0]["spent"] == 2.0


def test_two_runs_of_the_same_question_have_noise_of_their_own():
    """So that the test above could fail: another run id draws again, at full price."""
    house, engine = failing(failures=2)
    for run_id in ("first-of-two", "second-of-two"):
        assert house.ask("agency", "consumer", "run_analysis", **{**REQUEST, "run_id": run_id})[0] == 409
    assert not engine.seen[0].equals(engine.seen[1])


def test_what_is_kept_of_a_failed_release_has_no_exact_number():
    """The noisy tables are all that is kept outside the exact bucket."""
    house, engine = failing(failures=1)
    house.ask("agency", "consumer", "run_analysis", **REQUEST)
    assert house.releases.files == {}
    assert list(house.releases.drawn) == [("agency", "again-and-again")]
    exact = FLIGHTS.group_by("carrier").aggregate([([], "count_all")]).sort_by("carrier")["count_all"].to_pylist()
    shown = engine.seen[0]["c0"].to_pylist()
    assert shown != exact
    assert all(abs(noisy - count) < 1000 for noisy, count in zip(shown, exact, strict=True))
    for table in DrawnPayload.decode(house.releases.drawn["agency", "again-and-again"]).noisy_tables.values():
        kept = pa.ipc.open_stream(table).read_all()["c0"].to_pylist()
        assert [round(steps / 1024) for steps in kept] == shown


@pytest.mark.parametrize("failures", [0, 1])
def test_the_exact_part_is_gone_once_there_is_a_release(failures):
    house, _ = failing(failures=failures)
    for _ in range(failures + 1):
        house.ask("agency", "consumer", "run_analysis", **REQUEST)
    assert house.exact.get("agency.again-and-again") is None
