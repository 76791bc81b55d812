"""Copies of the ledger in memory, each with one fault planted: what the model must notice."""

from dataclasses import replace

from cleanroom.adapters.memory import MemoryReleaseStore
from cleanroom.adapters.memory_ledger import MemoryLedger
from cleanroom.errors import BudgetExhaustedError, CleanRoomError
from cleanroom.privacy.accounting import ZERO_PRICE, Price
from cleanroom.rooms.ledger import RunState
from cleanroom.rooms.ledger_chain import ChainHead, chain_of
from cleanroom.rooms.ledger_rules import check_limits, check_still_true, run_of, same_run


class NoCondition(MemoryLedger):
    """No condition on any limit."""

    def charge(self, charge):
        generous = replace(
            charge,
            limit_micro_epsilon=(10**18,) * len(charge.budgets),
            lifetime_limit_micro_epsilon=(None,) * len(charge.budgets),
        )
        return super().charge(generous)


class OneUnitTooMany(MemoryLedger):
    """`<` was written where `<=` is meant, the other way round: one micro-epsilon more than the limit."""

    def charge(self, charge):
        return super().charge(replace(charge, limit_micro_epsilon=tuple(x + 1 for x in charge.limit_micro_epsilon)))


class ChargeOnRetry(MemoryLedger):
    """A run id is not looked up before it is charged."""

    def charge(self, charge):
        stored = self._runs.pop(charge.run_id, None)
        try:
            run = super().charge(charge)
        except CleanRoomError:
            run = stored
            if stored is None:
                raise
        if stored is not None:
            self._runs[charge.run_id] = run = stored
        return run


class AnyRequestOfTheId(MemoryLedger):
    """Another request under the same run id is given the run."""

    def charge(self, charge):
        stored = self._runs.get(charge.run_id)
        return super().charge(charge) if stored is None else stored


class LostLink(MemoryLedger):
    """The end of a chain is not moved: two lines follow the same one."""

    def _write(self, history, line):
        head = self._heads[history][line.chain]
        super()._write(history, line)
        if head.count == 2:
            self._heads[history][line.chain] = head


class LostLine(MemoryLedger):
    """A charge of the second payer writes no line."""

    def _append_charge(self, charge, *, number):
        if number == 0:
            super()._append_charge(charge, number=number)


class ChangedLine(MemoryLedger):
    """A line is changed after it was written, and its hash is not."""

    def advance(self, run_id, *, to, at, **given):
        for chains in self._lines.values():
            for lines in chains.values():
                lines[:] = [replace(line, party="nobody") if line.run_id == run_id else line for line in lines]
        return super().advance(run_id, to=to, at=at, **given)


class DoubleRelease(MemoryLedger):
    """Releasing a run again makes room for another unfinished run again."""

    def advance(self, run_id, *, to, at, **given):
        run = self._runs.get(run_id)
        if run is not None and run.state is to is RunState.RELEASED:
            self._runs[run_id] = replace(run, state=RunState.EXECUTED)
        return super().advance(run_id, to=to, at=at, **given)


class Backwards(MemoryLedger):
    """A failed run can be executed again."""

    def advance(self, run_id, *, to, at, **given):
        run = self._runs.get(run_id)
        if run is not None and run.state is RunState.FAILED:
            self._runs[run_id] = replace(run, state=RunState.CHARGED)
        return super().advance(run_id, to=to, at=at, **given)


class Refund(MemoryLedger):
    """A run that failed gets its price back."""

    def advance(self, run_id, *, to, at, **given):
        run = super().advance(run_id, to=to, at=at, **given)
        if to is RunState.FAILED:
            for key, price in zip(run.budgets, run.prices, strict=True):
                ever = self._lifetime_spent[key]
                self._lifetime_spent[key] = Price(
                    micro_epsilon=max(0, ever.micro_epsilon - price.micro_epsilon), delta_steps=ever.delta_steps
                )
        return run


class HalfOfATwoPartyCharge(MemoryLedger):
    """The first budget is charged before the second is looked at."""

    def charge(self, charge):
        if len(charge.budgets) > 1 and charge.run_id not in self._runs:
            try:
                check_limits(charge, spent=[self.spending(k, window=charge.window) for k in charge.budgets], room=None)
            except BudgetExhaustedError:
                first = charge.budgets[0]
                self._lifetime_spent[first] = self._lifetime_spent.get(first, ZERO_PRICE) + charge.prices[0]
                raise
        return super().charge(charge)


class StaleTerms(MemoryLedger):
    """What a run was priced under is not checked again."""

    def charge(self, charge):
        if charge.run_id in self._runs:
            return same_run(self._runs[charge.run_id], charge)
        versions = tuple(self.settings(key).version for key in charge.budgets)
        return super().charge(replace(charge, settings_versions=versions))


class ClosedWindow(MemoryLedger):
    """A run that was priced in an earlier window is charged there."""

    def charge(self, charge):
        task = self._task
        self._task = replace(task, window=min(task.window, charge.window))
        try:
            return super().charge(charge)
        finally:
            self._task = task


class DoubledWindow(MemoryLedger):
    """The same scheduled time opens a window each time that it is delivered."""

    def open_window(self, *, scheduled_for, at):
        if scheduled_for == self._task.window_opened_for:
            self._task = replace(self._task, window_opened_for=None)
        return super().open_window(scheduled_for=scheduled_for, at=at)


class EarlyWindow(MemoryLedger):
    """Budgets can be renewed in advance."""

    def open_window(self, *, scheduled_for, at):
        return super().open_window(scheduled_for=scheduled_for, at=max(at, scheduled_for))


class LifetimeRenewed(MemoryLedger):
    """A new window clears lifetime totals too."""

    def open_window(self, *, scheduled_for, at):
        window = self._task.window
        task = super().open_window(scheduled_for=scheduled_for, at=at)
        if task.window != window:
            self._lifetime_spent.clear()
        return task


class UnmeteredIsFree(MemoryLedger):
    """While the task is suspended nothing is counted, not even in lifetime totals."""

    def charge(self, charge):
        known = charge.run_id in self._runs
        before = {key: self._lifetime_spent.get(key) for key in charge.budgets}
        run = super().charge(charge)
        if charge.unmetered and not known:
            self._lifetime_spent |= {key: spent for key, spent in before.items() if spent is not None}
        return run


class SuspendedForEver(MemoryLedger):
    """A run that was priced as unmetered is charged so after everything is enforced again."""

    def charge(self, charge):
        if charge.unmetered and charge.run_id not in self._runs:
            task = self._task
            self._task = replace(task, status=type(task.status).SUSPENDED)
            try:
                return super().charge(charge)
            finally:
                self._task = task
        return super().charge(charge)


class ForgetfulRoom(MemoryLedger):
    """The room's limit is compared with what this party has spent, and not with what all have."""

    def charge(self, charge):
        if charge.run_id not in self._runs:
            versions = [self.settings(key).version for key in charge.budgets]
            record = self._room_budgets.get(charge.room)
            check_still_true(charge, task=self._task, versions=versions, room=record)
            none = type(charge.room_budget)(version=charge.room_budget.version)
            if record is not None:
                self._room_budgets[charge.room] = none
            try:
                return super().charge(replace(charge, room_budget=none))
            finally:
                if record is not None:
                    self._room_budgets[charge.room] = record
        return super().charge(charge)


class NoEndOfFailures(MemoryLedger):
    """Runs without a release are not limited."""

    def charge(self, charge):
        for key in charge.budgets:
            self._unfinished[key, charge.window] -= 1000
        try:
            return super().charge(charge)
        finally:
            for key in charge.budgets:
                self._unfinished[key, charge.window] += 1000


class ChainOfAnother(MemoryLedger):
    """A chain begins anew: its opening is written a second time."""

    def charge(self, charge):
        first = charge.budgets[0]
        history = (False, charge.room)
        head = self._heads[history].get(chain_of(first))
        if head is not None and head.count == 3 and charge.run_id not in self._runs:
            self._heads[history][chain_of(first)] = ChainHead()
        return super().charge(charge)


class NoiseTwice(MemoryReleaseStore):
    """Not the ledger: a store of answers that overwrites, so that one charge buys two answers."""

    def put_if_absent(self, *, party, run_id, release):
        self.files[party, run_id, "release.json"] = release
        return release

    def get(self, *, party, run_id):
        return None


class ForgottenRun(MemoryLedger):
    """A run that was charged is not kept: the next attempt is charged again, and what it read has no run."""

    def charge(self, charge):
        super().charge(charge)
        run = run_of(charge)
        del self._runs[charge.run_id]
        return run


LEDGERS = (
    NoCondition,
    OneUnitTooMany,
    ChargeOnRetry,
    AnyRequestOfTheId,
    LostLink,
    LostLine,
    ChangedLine,
    DoubleRelease,
    Backwards,
    Refund,
    HalfOfATwoPartyCharge,
    StaleTerms,
    ClosedWindow,
    DoubledWindow,
    EarlyWindow,
    LifetimeRenewed,
    UnmeteredIsFree,
    SuspendedForEver,
    ForgetfulRoom,
    NoEndOfFailures,
    ChainOfAnother,
    ForgottenRun,
)
