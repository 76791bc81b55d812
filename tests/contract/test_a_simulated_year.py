"""A year of budget windows: schedules missed, doubled, late and across daylight saving; suspensions; changed settings.

What is compared with is a model of a page, written plainly here: whole numbers in dictionaries, and local days.
"""

import json
import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from cleanroom.adapters.dynamodb_audit import DynamoDbAuditTrail
from cleanroom.adapters.dynamodb_signals import DynamoDbSignals
from cleanroom.adapters.memory import FixedClock, ListTelemetry, MemorySchedule
from cleanroom.adapters.memory_audit import MemoryAuditExport, MemoryAuditTrail, MemorySignals, MemoryStatementStore
from cleanroom.adapters.memory_ledger import MemoryLedger
from cleanroom.adapters.renewal import DeployedRenewal
from cleanroom.errors import BudgetExhaustedError
from cleanroom.ports import TaskServices
from cleanroom.privacy.accounting import price_of
from cleanroom.rooms.anomalies import Thresholds
from cleanroom.rooms.ledger import BudgetKey, RunState
from cleanroom.rooms.settings import settings_from_record
from cleanroom.use_cases.arguments import NoArguments
from cleanroom.use_cases.charge import Payer, charge_run
from cleanroom.use_cases.dp_task import handle_schedule, resume_account_dp_task, suspend_account_dp_task
from cleanroom.use_cases.settings import store_settings
from cleanroom.use_cases.signals import refusals_counted
from cleanroom.use_cases.verify_ledger import verify_room

BERLIN = ZoneInfo("Europe/Berlin")
DAILY = "cron(0 2 * * ? *)"
PARTIES = ("agency", "broker")
ROOM = "a room"


class Model:
    """What must come out: prices are whole tenths of epsilon."""

    def __init__(self):
        self.window, self.opened_for, self.suspended = 0, None, False
        self.limit = dict.fromkeys(PARTIES, 10)
        self.spent, self.ever = defaultdict(int), defaultdict(int)
        self.unmetered, self.runs, self.refusals = defaultdict(int), defaultdict(int), defaultdict(int)
        self.statements = {}

    def scheduled(self, at):
        """One delivery of the schedule, whenever it comes."""
        if self.opened_for is not None and at <= self.opened_for:
            return
        rows = {
            party: (
                self.spent[self.window, party],
                self.unmetered[self.window, party],
                self.runs[self.window, party],
                self.refusals[self.window, party],
                self.ever[party],
            )
            for party in PARTIES
            if self.runs[self.window, party] or self.refusals[self.window, party]
        }
        if rows:
            self.statements[self.window] = rows
        self.window, self.opened_for = self.window + 1, at

    def charged(self, party, tenths):
        """Return whether a run of that price is granted, and count it."""
        where = self.window, party
        if not self.suspended and self.spent[where] + tenths > 10 * self.limit[party]:
            self.refusals[where] += 1
            return False
        self.runs[where] += 1
        self.ever[party] += tenths
        if self.suspended:
            self.unmetered[where] += tenths
        else:
            self.spent[where] += tenths
        return True


def local_twos(first, days):
    """Return 02:00 in Berlin of each local day, in UTC; a day whose 02:00 the clocks skip has none."""
    found = []
    for number in range(days):
        day = first + timedelta(days=number)
        at = datetime(day.year, day.month, day.day, 2, tzinfo=BERLIN)
        # In spring 02:00 does not exist: going to UTC and back gives another time of day.
        if at.astimezone(UTC).astimezone(BERLIN).hour == 2:
            found.append(at.astimezone(UTC))
    return found


class Deployment:
    """The real thing, over a ledger."""

    def __init__(self, ledger, start):
        self.ledger, self.clock, self.telemetry = ledger, FixedClock(start), ListTelemetry()
        self.schedule = MemorySchedule(expression=DAILY, zone=BERLIN)
        self.statements, self.exports = MemoryStatementStore(), MemoryAuditExport()
        if isinstance(ledger, MemoryLedger):
            self.signals = MemorySignals()
            audit = MemoryAuditTrail(ledger, self.signals)
        else:
            self.signals, audit = DynamoDbSignals(ledger._table), DynamoDbAuditTrail(ledger._table)
        self.thresholds = Thresholds()
        self.tasks = TaskServices(
            ledger=ledger,
            audit=audit,
            statements=self.statements,
            export=self.exports,
            schedule=self.schedule,
            clock=self.clock,
            telemetry=self.telemetry,
            provider_parties=frozenset({"airline"}),
        )

    def go_to(self, at):
        self.clock.advance(seconds=(at - self.clock.now()).total_seconds())

    def scheduled(self, at):
        handle_schedule({"task": "open_window", "scheduled_time": at.isoformat()}, self.tasks)

    def charged(self, party, tenths, run_id):
        budget = BudgetKey(room=ROOM, party=party)
        terms = self.ledger.terms(ROOM, [budget])
        price = price_of(epsilon=Fraction(tenths, 10))
        try:
            with refusals_counted(ROOM, party, self):
                run = charge_run(
                    run_id=run_id,
                    request_digest=run_id,
                    plan_digest=run_id,
                    payers=(Payer(budget=budget, record=terms.records[budget], price=price),),
                    task=terms.task,
                    room_budget=terms.room,
                    template="by_carrier",
                    reader=party,
                    table_versions=(),
                    ledger=self.ledger,
                    renewal=DeployedRenewal(expression=DAILY, time_zone="Europe/Berlin"),
                    clock=self.clock,
                    telemetry=self.telemetry,
                )
        except BudgetExhaustedError:
            return False
        for state in (RunState.EXECUTED, RunState.RELEASED):
            self.ledger.advance(run.run_id, to=state, at=self.clock.now())
        return True

    def set_budget(self, party, limit, *, differential):
        settings = settings_from_record({"differential": differential, "privacy_budget": limit})
        store_settings(
            BudgetKey(room=ROOM, party=party),
            settings,
            by="airline",
            services=SimpleNamespace(ledger=self.ledger, schedule=self.schedule, clock=self.clock),
        )


def a_year(ledger, *, first, days, seed):
    """Live through the days with both; return the model and the deployment."""
    chance = random.Random(seed)
    times = local_twos(first, days)
    model, real = Model(), Deployment(ledger, times[0] - timedelta(hours=6))
    assert next_times(real, times) == times
    number = 0
    for index, at in enumerate(times):
        between = (at - real.clock.now()).total_seconds()
        for moment in sorted(chance.uniform(0, between - 2) for _ in range(chance.randint(0, 6))):
            real.go_to(at - timedelta(seconds=between - moment))
            party, number = chance.choice(PARTIES), number + 1
            tenths = chance.choice((1, 5, 20, 40))
            assert real.charged(party, tenths, f"run-{number}") is model.charged(party, tenths), (index, party)
        change_something(chance, model, real)
        real.go_to(at)
        # EventBridge calls nothing while the schedule is disabled.
        assert real.schedule.is_enabled() is not model.suspended
        if model.suspended or chance.random() < 0.04:
            continue
        for _ in range(2 if chance.random() < 0.1 else 1):
            real.scheduled(at)
            model.scheduled(at)
        if index and chance.random() < 0.1:  # an old delivery comes after a newer one
            real.scheduled(times[index - 1])
            model.scheduled(times[index - 1])
    if model.suspended:
        resume_account_dp_task(NoArguments(), "airline", real.tasks)
        model.suspended = False
    real.go_to(times[-1] + timedelta(days=1))
    real.scheduled(real.clock.now())
    model.scheduled(real.clock.now())
    return model, real


def next_times(real, times):
    """Return when the schedule says that windows open, one after the other, as many as `times`."""
    renewal, found, now = DeployedRenewal(expression=DAILY, time_zone="Europe/Berlin"), [], real.clock.now()
    for _ in times:
        now = renewal.next_renewal(now)
        found.append(now)
    return found


def change_something(chance, model, real):
    """Now and then change a party's budget, suspend, or resume, which turning DP on does too (B-62)."""
    if chance.random() < 0.05:
        party, limit, on = chance.choice(PARTIES), chance.choice((0, 2, 10, 100)), chance.random() < 0.5
        real.set_budget(party, limit, differential=int(on))
        model.limit[party] = limit
        model.suspended = model.suspended and not on
    if not model.suspended and chance.random() < 0.03:
        suspend_account_dp_task(NoArguments(), "airline", real.tasks)
        model.suspended = True
    elif model.suspended and chance.random() < 0.3:
        resume_account_dp_task(NoArguments(), "airline", real.tasks)
        model.suspended = False


def compare(model, real):
    assert real.ledger.task().window == model.window
    stated = {
        window: {
            row["party_name"]: (
                row["spent"]["micro_epsilon"] // 100_000,
                row["unmetered"]["micro_epsilon"] // 100_000,
                row["runs"],
                row["refusals"],
                row["lifetime"]["micro_epsilon"] // 100_000,
            )
            for row in json.loads(content)["budgets"]
        }
        for (_, window), content in real.statements.statements.items()
    }
    assert stated == model.statements
    assert all(json.loads(content)["verified"] for content in real.statements.statements.values())
    for party in PARTIES:
        lifetime = real.ledger.spending(BudgetKey(room=ROOM, party=party), window=model.window).lifetime
        assert lifetime.micro_epsilon == model.ever[party] * 100_000
    assert verify_room(ROOM, ledger=real.ledger, now=real.clock.now()) == ()
    assert "LedgerDifferences" not in real.telemetry.counts


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_year_of_windows_agrees_with_a_model_of_a_page(seed):
    """B-53, B-60 to B-62, B-66: 365 local days, one of which has no 02:00 and one of which has two."""
    model, real = a_year(MemoryLedger(), first=date(2026, 1, 1), days=365, seed=seed)
    compare(model, real)
    assert 250 < model.window < 365
    assert len(model.statements) > 200
    assert sum(model.refusals.values()) > 20
    assert sum(model.unmetered.values()) > 0


def test_a_week_with_a_change_of_the_clocks_agrees_on_the_emulated_table(ledger):
    """The same on both ledgers, from two days before the clocks change in spring."""
    model, real = a_year(ledger, first=date(2026, 3, 27), days=7, seed=5)
    compare(model, real)


def test_the_day_without_a_two_o_clock_has_no_window_and_that_with_two_has_one():
    spring, autumn = local_twos(date(2026, 3, 28), 3), local_twos(date(2026, 10, 24), 3)
    assert [at.day for at in spring] == [28, 30]
    assert [at.isoformat() for at in autumn] == [
        "2026-10-24T00:00:00+00:00",
        "2026-10-25T00:00:00+00:00",
        "2026-10-26T01:00:00+00:00",
    ]
