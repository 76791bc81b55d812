"""The ledger in memory against a model of ten lines, under random sequences of everything that can happen to it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cleanroom.adapters.memory_ledger import MemoryLedger
from cleanroom.errors import BudgetExhaustedError, RunConflictError, StaleChargeError
from cleanroom.privacy.accounting import Price
from cleanroom.rooms.ledger import RoomBudget, RoomBudgetRecord, TaskStatus
from cleanroom.rooms.ledger_chain import chain_of, first_broken_chain
from cleanroom.rooms.settings import PrivacySettings
from tests.contract.ledgers import KEY, NOON, OTHER_KEY, charge

LIMIT = 1_000_000
KEYS = {"one": (KEY,), "other": (OTHER_KEY,), "both": (KEY, OTHER_KEY)}


class LedgerAgainstModel(RuleBasedStateMachine):
    make_ledger = MemoryLedger

    def __init__(self):
        super().__init__()
        self.ledger = self.make_ledger()
        self.runs, self.window, self.suspended, self.days = {}, 0, False, 0
        self.versions = {KEY: 0, OTHER_KEY: 0}
        self.room = RoomBudgetRecord()

    def expected(self, given):
        """The model: what must become of a charge."""
        if given.run_id in self.runs:
            return None if self.runs[given.run_id].request_digest == given.request_digest else RunConflictError
        versions = tuple(self.versions[key] for key in given.budgets)
        present = (self.window, self.suspended, versions, self.room)
        if (given.window, given.unmetered, given.settings_versions, given.room_budget) != present:
            return StaleChargeError
        return None if self.suspended or self.fits(given) else BudgetExhaustedError

    def fits(self, given):
        """The model: whether every limit holds the price."""
        limits = []
        for number, key in enumerate(given.budgets):
            price = given.prices[number].micro_epsilon
            limits.append((self.spent(key) + price, LIMIT))
            limits.append((self.ever(key) + price, given.lifetime_limit_micro_epsilon[number]))
        price = sum(price.micro_epsilon for price in given.prices)
        whole = self.room.budget
        limits.append((self.spent(KEY) + self.spent(OTHER_KEY) + price, whole.per_window and whole.per_window * 10**6))
        limits.append((self.ever(KEY) + self.ever(OTHER_KEY) + price, whole.lifetime and whole.lifetime * 10**6))
        return all(limit is None or after <= limit for after, limit in limits)

    def paid(self, key, runs):
        return sum(run.prices[run.budgets.index(key)].micro_epsilon for run in runs if key in run.budgets)

    def spent(self, key):
        return self.paid(key, (r for r in self.runs.values() if r.window == self.window and not r.unmetered))

    def ever(self, key):
        return self.paid(key, self.runs.values())

    @rule(
        number=st.integers(0, 30),
        whose=st.sampled_from(sorted(KEYS)),
        price=st.integers(0, 600_000),
        other_price=st.integers(0, 600_000),
        lifetime=st.sampled_from([None, None, 900_000, 2_000_000]),
        request=st.sampled_from("aaaab"),
        old=st.sampled_from([0, 0, 0, 0, 1]),
        guess=st.sampled_from([False, False, False, True]),
    )
    def charge(self, number, whose, price, other_price, lifetime, request, old, guess):
        budgets = KEYS[whose]
        prices = tuple(Price(micro_epsilon=amount, delta_steps=1) for amount in (price, other_price))
        given = charge(
            f"run-{number}",
            request_digest=request,
            budgets=budgets,
            limit_micro_epsilon=tuple(LIMIT for _ in budgets),
            settings_versions=tuple(max(0, self.versions[key] - old) for key in budgets),
            prices=prices[: len(budgets)],
            lifetime_limit=lifetime,
            room_budget=replace(self.room, version=max(0, self.room.version - old)),
            window=max(0, self.window - old),
            unmetered=self.suspended is not guess,
        )
        expected = self.expected(given)
        if expected is None:
            run = self.ledger.charge(given)
            assert run == self.ledger.charge(given) == self.ledger.run(given.run_id)
            self.runs.setdefault(given.run_id, given)
            assert run.prices == self.runs[given.run_id].prices
        else:
            with pytest.raises(expected):
                self.ledger.charge(given)

    @rule(key=st.sampled_from([KEY, OTHER_KEY]))
    def change_settings(self, key):
        self.versions[key] += 1
        assert self.ledger.put_settings(key, PrivacySettings(), by="p", at=NOON).version == self.versions[key]

    @rule(per_window=st.sampled_from([None, 1, 2]), lifetime=st.sampled_from([None, 2, 5]))
    def change_room_budget(self, per_window, lifetime):
        budget = RoomBudget(per_window=per_window, lifetime=lifetime)
        self.room = RoomBudgetRecord(budget=budget, version=self.room.version + 1)
        assert self.ledger.put_room_budget("flights", budget, by="p", at=NOON) == self.room

    @rule(suspended=st.booleans())
    def suspend_or_resume(self, suspended):
        self.suspended = suspended
        self.ledger.set_task(TaskStatus.SUSPENDED if suspended else TaskStatus.RUNNING, by="p", at=NOON)

    @rule(step=st.integers(-2, 3))
    def schedule_fires(self, step):
        at = NOON + timedelta(days=self.days + step)
        if step > 0 or self.window == 0:
            self.days, self.window = self.days + step, self.window + 1
        assert self.ledger.open_window(scheduled_for=at, at=at).window == self.window

    @invariant()
    def spending_is_what_the_model_says(self):
        for key in (KEY, OTHER_KEY):
            spending = self.ledger.spending(key, window=self.window)
            assert spending.window.micro_epsilon == self.spent(key) <= LIMIT
            mine = [run for run in self.runs.values() if key in run.budgets]
            assert spending.lifetime.micro_epsilon == self.ever(key)
            assert spending.lifetime.delta_steps == len(mine)

    @invariant()
    def a_rooms_total_is_the_sum_of_its_budgets(self):
        room = self.ledger.standing("flights", []).room
        if self.room.version == 0:
            assert room is None
        else:
            assert room.record == self.room
            assert room.window.micro_epsilon == self.spent(KEY) + self.spent(OTHER_KEY)
            assert room.lifetime.micro_epsilon == self.ever(KEY) + self.ever(OTHER_KEY)

    @invariant()
    def history_has_every_charge_once_and_is_intact(self):
        entries = self.ledger.entries("flights")
        assert first_broken_chain(self.ledger.history("flights")) is None
        for key in (KEY, OTHER_KEY):
            lines = [e.run_id for e in entries if e.kind == "charge" and e.chain == chain_of(key)]
            assert sorted(lines) == sorted(run.run_id for run in self.runs.values() if key in run.budgets)


LedgerAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_the_ledger_in_memory_does_what_the_model_says = LedgerAgainstModel.TestCase


class ForgetfulLedger(MemoryLedger):
    """Loses what a window has spent."""

    def charge(self, charge):
        run = super().charge(charge)
        self._window_spent.clear()
        return run


class ForgetfulLedgerAgainstModel(LedgerAgainstModel):
    make_ledger = ForgetfulLedger


def test_the_model_notices_a_ledger_that_forgets_what_was_spent():
    """The property can fail."""
    quick = settings(max_examples=50, deadline=None, database=None)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(ForgetfulLedgerAgainstModel, settings=quick)
