"""A ledger and its model side by side: every command goes to both, and afterwards both must say the same."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cleanroom.adapters.memory import MemoryReleaseStore
from cleanroom.errors import BusyError, CleanRoomError
from cleanroom.privacy.accounting import Price
from cleanroom.rooms.ledger import BudgetKey, Charge, RoomBudget, RoomBudgetRecord, RunState, TaskStatus
from cleanroom.rooms.ledger_chain import chain_of, first_broken_chain
from cleanroom.rooms.settings import PrivacySettings
from tests.ledger.faults import Chaos, Killed
from tests.ledger.model import CHARGED, EXECUTED, FAILED, MAY_COME_FROM, RELEASED, Model

MORNING = datetime(2026, 1, 5, 8, tzinfo=UTC)
A_DAY = timedelta(days=1)
ROOMS = ("flights", "trains")
BUDGETS = (
    ("flights", "agency", "*"),
    ("flights", "broker", "*"),
    ("trains", "agency", "*"),
    ("trains", "broker", "*"),
    ("flights", "agency", "reach"),
)
# Who pays: one budget, or two where the data of both are protected.
PAYERS = (
    *((budget,) for budget in BUDGETS),
    (BUDGETS[0], BUDGETS[1]),
    (BUDGETS[1], BUDGETS[4]),
    (BUDGETS[2], BUDGETS[3]),
)
PRICES = (
    (100_000, 0),
    (1, 7),
    (999_999, 1),
    (400_000, 250_000_000),
    (2_000_000, 0),
    (0, 0),
    (5_000_001, 1_000_000_001),
)
NO_FAULTS = Chaos(0)
STATES = {state.value: state for state in RunState}

COMMANDS = {
    "charge": {
        "number": range(16),
        "payers": PAYERS,
        "price": PRICES,
        "other_price": PRICES,
        "another_request": (False,) * 7 + (True,),
        "chaos": range(500),
    },
    "charge_overtaken": {
        "number": range(16),
        "payers": PAYERS,
        "price": PRICES,
        "by": ("settings", "room budget", "suspend", "resume", "window"),
    },
    "charge_many": {"payers": PAYERS, "count": range(1, 13)},
    "execute": {"pick": range(24), "chaos": range(500)},
    "release": {"pick": range(24), "dies": ("no", "no", "no", "before", "after", "overtaken"), "chaos": range(500)},
    "finish": {"pick": range(24), "dies": ("no",), "chaos": range(500)},
    "fail": {"pick": range(24), "chaos": range(500)},
    "deliver_again": {},
    "renew": {"how": ("on time", "on time", "doubled", "late", "missed", "early"), "chaos": range(500)},
    "jump": {"minutes": (1, -1, 25, -180, 60 * 24, 60 * 24 * 9)},
    "put_settings": {
        "budget": BUDGETS,
        "privacy_budget": (10, 3, 1, 0, 1000),
        "lifetime_budget": (None, None, 2, 0, 40),
        "dp": (True, False),
        "chaos": range(500),
    },
    "put_room_budget": {
        "room": ROOMS,
        "per_window": (None, 4, 1, 0),
        "lifetime": (None, None, 9, 2),
        "chaos": range(500),
    },
    "set_task": {"suspended": (True, False, False), "chaos": range(500)},
}
"""Each command with what its arguments may be, the plainest first; hypothesis and the long run choose from here."""


def key_of(budget):
    return BudgetKey(room=budget[0], party=budget[1], template=budget[2])


class World:
    """One account: a ledger, its model, a clock, and a store of answers.

    Args:
        ledger: the one under test, as its callers have it.
        line: what of it fails on demand: has `chaos`, and counts the faults that were `met`.
        stored: the same ledger without faults, for looking.
        releases: where answers are kept; noise is a fresh number here.
    """

    def __init__(self, ledger, line, stored, releases=None):
        self.ledger, self.line, self.stored = ledger, line, stored
        self.releases = releases or MemoryReleaseStore()
        self.model = Model()
        self.now, self.due = MORNING, MORNING - timedelta(hours=8)
        self.drawn = 0  # noise drawn so far; each draw is another number
        self.answers = {}  # run id -> every answer that anybody was given
        self.states = {}  # run id -> state when last seen
        self.last = None
        self.commands = self.unknown = 0

    # --- commands ---

    def run(self, name, arguments):
        """Run one command on both, and compare."""
        self.commands += 1
        getattr(self, name)(**arguments)
        if name != "deliver_again":
            self.last = (name, arguments)
        self.check()

    def charge(self, *, number, payers, price, other_price, another_request, chaos):
        run_id = f"{payers[0][0]}-{payers[0][1]}-{number}"
        prices = (price, other_price)[: len(payers)]
        self._charge(run_id, payers, prices, self._priced(payers), chaos, another=another_request)

    def charge_overtaken(self, *, number, payers, price, by):
        """Something changes between pricing a run and charging it."""
        priced = self._priced(payers)
        if by == "settings":
            self.put_settings(budget=payers[-1], privacy_budget=20, lifetime_budget=None, dp=True, chaos=0)
        elif by == "room budget":
            self.put_room_budget(room=payers[0][0], per_window=20, lifetime=None, chaos=0)
        elif by == "window":
            self.renew(how="on time", chaos=0)
        else:
            self.set_task(suspended=by == "suspend", chaos=0)
        run_id = f"{payers[0][0]}-{payers[0][1]}-{number}"
        self._charge(run_id, payers, (price,) * len(payers), priced, 0)

    def charge_many(self, *, payers, count):
        """A burst of cheap runs, none of which is finished."""
        for _ in range(count):
            run_id = f"burst-{len(self.model.runs)}"
            self._charge(run_id, payers, ((1, 0),) * len(payers), self._priced(payers), 0)

    def execute(self, *, pick, chaos):
        self._advance(self._picked(pick), EXECUTED, chaos)

    def fail(self, *, pick, chaos):
        self._advance(self._picked(pick), FAILED, chaos)

    def release(self, *, pick, dies, chaos):
        """What add_noise does: give the stored answer, or draw noise once, store it if absent, and move the run."""
        run_id = self._picked(pick)
        run = self.ledger.run(run_id)
        if run is None:
            return
        answer = self.releases.get(party=run.party, run_id=run_id)
        if answer is None:
            if run.state in {RunState.CHARGED, RunState.FAILED} or dies == "before":
                return
            if dies == "overtaken":
                self._draw_and_store(run)
            answer = self._draw_and_store(run)
            if dies == "after":
                return
        if self._advance(run_id, RELEASED, chaos) != RELEASED:
            return
        self.answers.setdefault(run_id, set()).add(answer)

    def finish(self, *, pick, dies, chaos):
        """Both steps of a run, as when nothing goes wrong between them."""
        self.execute(pick=pick, chaos=chaos)
        self.release(pick=pick, dies=dies, chaos=chaos)

    def deliver_again(self):
        """A queue, a schedule or an impatient caller sends the same once more."""
        if self.last is not None:
            getattr(self, self.last[0])(**self.last[1])

    def renew(self, *, how, chaos):
        due = self.due + {"doubled": 0, "late": -1, "missed": 3}.get(how, 1) * A_DAY
        if how == "early":
            due = max(due, self.now + timedelta(minutes=6))
        else:
            self.now, self.due = max(self.now, due + timedelta(seconds=2)), max(self.due, due)
        now = self.now
        self._both(
            lambda ledger: f"window {ledger.open_window(scheduled_for=due, at=now).window}",
            lambda model: model.open_window(due, now),
            chaos,
        )

    def jump(self, *, minutes):
        self.now += timedelta(minutes=minutes)

    def put_settings(self, *, budget, privacy_budget, lifetime_budget, dp, chaos):
        settings = PrivacySettings(privacy_budget=privacy_budget, lifetime_budget=lifetime_budget, differential=dp)
        put = {"by": "airline", "at": self.now}
        self._both(
            lambda ledger: f"version {ledger.put_settings(key_of(budget), settings, **put).version}",
            lambda model: model.put_settings(budget, privacy_budget, lifetime_budget, dp),
            chaos,
        )

    def put_room_budget(self, *, room, per_window, lifetime, chaos):
        budget, at = RoomBudget(per_window=per_window, lifetime=lifetime), self.now
        self._both(
            lambda ledger: f"version {ledger.put_room_budget(room, budget, by='airline', at=at).version}",
            lambda model: model.put_room_budget(room, per_window, lifetime),
            chaos,
        )

    def set_task(self, *, suspended, chaos):
        status = TaskStatus.SUSPENDED if suspended else TaskStatus.RUNNING
        self._both(
            lambda ledger: f"window {ledger.set_task(status, by='airline', at=self.now).window}",
            lambda model: model.set_task(suspended),
            chaos,
        )

    # --- both sides ---

    def _both(self, really, modelled, chaos):
        """Do the same on both sides, and compare what is said; where nobody knows, look at what happened.

        Returns what was said; None where nobody knows.
        """
        before = self.model.copy()
        expected = modelled(self.model)
        self.line.chaos = Chaos(chaos)
        try:
            said = really(self.ledger)
        except (BusyError, Killed):
            said = None
        except CleanRoomError as refusal:
            said = getattr(refusal, "limit_name", refusal.code)
        finally:
            self.line.chaos = NO_FAULTS
        if said is not None:
            assert said == expected, f"the ledger says {said!r}, the model {expected!r}"
            return said
        # All or nothing: the ledger is as it was, or as it should be now, and never between.
        self.unknown += 1
        if self.seen()[0] != self.expected():
            self.model = before
            seen, expected = self.seen()[0], self.expected()
            assert seen == expected, _difference(seen, expected)
        return None

    def _charge(self, run_id, payers, prices, priced, chaos, *, another=False):
        suspended, window, (versions, room_version), limits, room_limits = priced
        request = "another request" if another else f"request of {run_id}: {payers} {prices}"
        room = payers[0][0]
        charge = Charge(
            run_id=run_id,
            request_digest=request,
            plan_digest="plan",
            budgets=tuple(map(key_of, payers)),
            prices=tuple(Price(micro_epsilon=epsilon, delta_steps=delta) for epsilon, delta in prices),
            limit_micro_epsilon=tuple(budget * 10**6 for budget, _ in limits),
            lifetime_limit_micro_epsilon=tuple(None if life is None else life * 10**6 for _, life in limits),
            settings_versions=versions,
            room_budget=RoomBudgetRecord(
                budget=RoomBudget(per_window=room_limits[0], lifetime=room_limits[1]), version=room_version
            ),
            window=window,
            unmetered=suspended,
            room=room,
            party=payers[0][1],
            template="count_planes",
            table_versions=(),
            at=self.now,
        )
        self._both(
            lambda ledger: ledger.charge(charge).state.value,
            lambda model: model.charge(run_id, request, room, payers, prices, priced),
            chaos,
        )
        if run_id not in self.states:
            self._within_limits(run_id)

    def _within_limits(self, run_id):
        """Spent <= limit for every party, window and room, as the ledger itself has it, once a run was charged."""
        run = self.stored.run(run_id)
        if run is None or run.unmetered or not any((p.micro_epsilon, p.delta_steps) != (0, 0) for p in run.prices):
            return
        room = self.stored.standing(run.room, run.budgets).room
        if room is not None and room.record.budget.per_window is not None:
            assert room.window.micro_epsilon <= room.record.budget.per_window * 10**6
        if room is not None and room.record.budget.lifetime is not None:
            assert room.lifetime.micro_epsilon <= room.record.budget.lifetime * 10**6
        limits = zip(run.budgets, run.limit_micro_epsilon, run.lifetime_limit_micro_epsilon, strict=True)
        for key, limit, lifetime_limit in limits:
            spent = self.stored.spending(key, window=run.window)
            assert spent.window.micro_epsilon <= limit
            assert spent.window.delta_steps <= 10**9
            assert lifetime_limit is None or spent.lifetime.micro_epsilon <= lifetime_limit

    def _advance(self, run_id, to, chaos):
        return self._both(
            lambda ledger: ledger.advance(run_id, to=STATES[to], at=self.now).state.value,
            lambda model: model.advance(run_id, to),
            chaos,
        )

    def _draw_and_store(self, run):
        self.drawn += 1
        return self.releases.put_if_absent(party=run.party, run_id=run.run_id, release=b"%d" % self.drawn)

    def _picked(self, pick):
        runs = list(self.model.runs)
        return runs[-1 - pick % len(runs)] if runs and pick != 23 else "no such run"

    def _priced(self, payers):
        """What the caller reads and computes before it charges."""
        terms = self.ledger.terms(payers[0][0], [key_of(payer) for payer in payers])
        records = [terms.records[key_of(payer)] for payer in payers]
        limits = tuple((r.settings.privacy_budget, r.settings.lifetime_budget) for r in records)
        versions = (tuple(record.version for record in records), terms.room.version)
        room = (terms.room.budget.per_window, terms.room.budget.lifetime)
        for payer, limit, version in zip(payers, limits, versions[0], strict=True):
            assert self.model.settings.get(payer, (0, 10, None))[:3] == (version, *limit)
        assert self.model.room_budgets.get(payers[0][0], (0, None, None)) == (versions[1], *room)
        return (terms.task.status is TaskStatus.SUSPENDED, terms.task.window, versions, limits, room)

    # --- what is there ---

    def seen(self):
        """What the ledger says, in the words of the model; and the lines of its histories."""
        entries = {}
        task = self.stored.task()
        found = {
            "task": (task.status is TaskStatus.SUSPENDED, task.window, task.window_opened_for),
            "account": tuple(line.kind for line in self.stored.account_entries()),
        }
        for room in ROOMS:
            keys = [key_of(budget) for budget in BUDGETS if budget[0] == room]
            standing = self.stored.standing(room, keys)
            for key in keys:
                spent, record = standing.spending[key], standing.records[key]
                found[room, key.party, key.template] = (
                    (spent.window.micro_epsilon, spent.window.delta_steps),
                    (spent.lifetime.micro_epsilon, spent.lifetime.delta_steps),
                    spent.unfinished,
                    (record.version, record.settings.privacy_budget, record.settings.lifetime_budget),
                )
            if standing.room is not None:
                budget = standing.room.record.budget
                found["room", room] = (
                    (standing.room.record.version, budget.per_window, budget.lifetime),
                    (standing.room.window.micro_epsilon, standing.room.lifetime.micro_epsilon),
                )
            lines = {}
            entries[room] = self.stored.entries(room)
            for line in entries[room]:
                lines.setdefault(line.chain, []).append((line.kind, line.run_id))
            found["lines", room] = lines
        states = self.states_of(list(self.model.runs))
        found |= {("run", run_id): states.get(run_id) for run_id in self.model.runs}
        return found, entries

    def states_of(self, run_ids):
        """Return run id -> state, of the runs that there are."""
        runs = {run_id: self.stored.run(run_id) for run_id in run_ids}
        return {run_id: run.state.value for run_id, run in runs.items() if run is not None}

    def expected(self):
        """What the model says, in the same words."""
        model, window = self.model, self.model.window
        found = {"task": (model.suspended, window, model.opened_for), "account": model.account}
        for budget in BUDGETS:
            found[budget] = (
                model.spent.get((budget, window), (0, 0)),
                model.ever.get(budget, (0, 0)),
                model.unfinished.get((budget, window), 0),
                model.settings.get(budget, (0, 10, None))[:3],
            )
        for room in ROOMS:
            if room in model.room_budgets:
                sums = (model.spent_in_room(room, window), model.ever_in_room(room))
                found["room", room] = (model.room_budgets[room], sums)
            found["lines", room] = {
                "" if chain is None else chain_of(key_of(chain)): list(lines)
                for (of, chain), lines in model.lines.items()
                if of == room
            }
        for run_id, run in model.runs.items():
            found["run", run_id] = run[0]
        return found

    def check(self):
        """Everything that must hold after every command, whatever happened in it."""
        (seen, lines), expected = self.seen(), self.expected()
        assert seen == expected, _difference(seen, expected)
        for run_id in self.model.runs:
            state, before = seen["run", run_id], self.states.get(run_id)
            assert before in {None, state} or before in _earlier(state), f"{run_id} went from {before} to {state}"
            self.states[run_id] = state
        charged = self._sums_of_lines(lines, seen)
        for run_id, answers in self.answers.items():
            assert len(answers) == 1, f"{run_id} has {len(answers)} answers"
            assert run_id in charged, f"{run_id} was answered and never charged"
        assert len(set().union(*self.answers.values())) <= len(charged)

    def _sums_of_lines(self, lines, seen):
        """Check that what is spent is what the lines say, and that each has the hash of the one before."""
        charged = set()
        for room in ROOMS:
            ends, in_window, ever = {}, {}, {}
            for line in lines[room]:
                assert line.previous_hash == ends.get(line.chain, "0" * 64), "the chain is broken"
                assert line.hash == _hash(line), "a line was changed"
                ends[line.chain] = line.hash
                if line.kind != "charge":
                    continue
                budget, price, window = _charged(line)
                assert (budget, line.run_id) not in charged, f"{line.run_id} was charged twice"
                charged.add((budget, line.run_id))
                ever[budget] = _plus(ever.get(budget, (0, 0)), price)
                if window == self.model.window:
                    in_window[budget] = _plus(in_window.get(budget, (0, 0)), price)
            for budget in BUDGETS:
                if budget[0] == room:
                    sums = (in_window.get(budget, (0, 0)), ever.get(budget, (0, 0)))
                    assert seen[budget][:2] == sums, f"{budget} has spent {seen[budget][:2]}, its lines say {sums}"
        return {run_id for _, run_id in charged}

    def conclude(self):
        """What is checked once at the end: the product's own verification, and runs that nobody works on."""
        for room in ROOMS:
            assert first_broken_chain(self.stored.history(room)) is None
        later = self.now + timedelta(days=30)
        stuck = {run.run_id for run in self.stored.stuck_runs(at=later)}
        assert stuck == {run_id for run_id, run in self.model.runs.items() if run[0] in {CHARGED, EXECUTED}}


def _earlier(state):
    direct = MAY_COME_FROM.get(state, ())
    return {*direct, *(before for one in direct for before in MAY_COME_FROM.get(one, ()))}


def _plus(one, other):
    return (one[0] + other[0], one[1] + other[1])


@lru_cache(maxsize=10_000)
def _charged(line):
    """Return whose budget a line charged, how much, and in which window; no window for what is not metered."""
    body = json.loads(line.body)
    price = (body["price"]["micro_epsilon"], body["price"]["delta_steps"])
    return (line.room, *json.loads(line.chain)), price, None if body["unmetered"] else body["window"]


@lru_cache(maxsize=10_000)
def _hash(line):
    parts = [line.previous_hash, line.room, line.at.isoformat(timespec="microseconds"), line.kind, line.run_id]
    parts += [line.party, line.body, *([line.chain] if line.chain else [])]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _difference(seen, expected):
    names = [name for name in {*seen, *expected} if seen.get(name) != expected.get(name)]
    return {name: {"ledger": seen.get(name), "model": expected.get(name)} for name in names}
