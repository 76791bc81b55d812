"""What a ledger must do, written a second time and as plainly as possible: whole numbers in dictionaries.

It shares no line with the ledger; it was written from docs/ledger.md and docs/behaviour.md. Budgets are tuples of
room, party and template; prices are pairs of micro-epsilon and steps of delta.
"""

from dataclasses import dataclass, field
from datetime import timedelta

DELTA_OF_A_WINDOW = 10**9
"""0.001 in steps of 10^-12."""
MOST_UNFINISHED = 20

CHARGED, EXECUTED, RELEASED, FAILED = "charged", "executed", "released", "failed"
MAY_COME_FROM = {EXECUTED: (CHARGED,), RELEASED: (EXECUTED,), FAILED: (CHARGED, EXECUTED)}


@dataclass
class Model:
    """All that a ledger knows. Every command returns what the caller is told."""

    suspended: bool = False
    window: int = 0
    opened_for: object = None
    settings: dict = field(default_factory=dict)  # budget -> (version, privacy_budget, lifetime_budget, dp on)
    room_budgets: dict = field(default_factory=dict)  # room -> (version, per window, lifetime)
    spent: dict = field(default_factory=dict)  # (budget, window) -> price that counts
    ever: dict = field(default_factory=dict)  # budget -> price, unmetered included
    unfinished: dict = field(default_factory=dict)  # (budget, window) -> runs
    runs: dict = field(default_factory=dict)  # run id -> (state, request, room, payers, prices, window, unmetered)
    lines: dict = field(default_factory=dict)  # (room, budget or None) -> kinds and run ids, oldest first
    account: tuple = ()  # kinds of the account's history

    def copy(self):
        """A ledger as it is now; nothing in the values can change."""
        return Model(**{name: dict(v) if isinstance(v, dict) else v for name, v in vars(self).items()})

    # --- what is set ---

    def versions(self, room, payers):
        return tuple(self.settings.get(p, (0,))[0] for p in payers), self.room_budgets.get(room, (0,))[0]

    def put_settings(self, budget, privacy_budget, lifetime_budget, dp):
        version = self.settings.get(budget, (0,))[0] + 1
        self.settings[budget] = (version, privacy_budget, lifetime_budget, dp)
        self._write(budget[0], None, ("settings", None))
        return f"version {version}"

    def put_room_budget(self, room, per_window, lifetime):
        version = self.room_budgets.get(room, (0,))[0] + 1
        self.room_budgets[room] = (version, per_window, lifetime)
        self._write(room, None, ("room_budget", None))
        return f"version {version}"

    def set_task(self, suspended):
        if self.suspended != suspended:
            self.suspended = suspended
            self.account = (*self.account, "suspended" if suspended else "running")
        return f"window {self.window}"

    def open_window(self, due, now):
        if due - now > timedelta(minutes=5):
            return "conflict"
        if self.opened_for is None or due > self.opened_for:
            self.window, self.opened_for = self.window + 1, due
            self.account = (*self.account, "window")
        return f"window {self.window}"

    # --- runs ---

    def charge(self, run_id, request, room, payers, prices, priced):
        """`priced`: what it was priced under: suspended, window, versions, limits of each payer, limits of the room."""
        suspended, window, versions, limits, room_limits = priced
        if run_id in self.runs:
            return self.runs[run_id][0] if self.runs[run_id][1] == request else "run_id_reused"
        if (suspended, window, versions) != (self.suspended, self.window, self.versions(room, payers)):
            return "stale_charge"
        if not self.suspended:
            refusal = self._refusal(room, payers, prices, limits, room_limits)
            if refusal:
                return refusal
        for payer, (epsilon, delta) in zip(payers, prices, strict=True):
            before = self.spent.get((payer, window), (0, 0))
            counted = (0, 0) if suspended else (epsilon, delta)
            self.spent[payer, window] = (before[0] + counted[0], before[1] + counted[1])
            before = self.ever.get(payer, (0, 0))
            self.ever[payer] = (before[0] + epsilon, before[1] + delta)
            if _limited(suspended, prices):
                self.unfinished[payer, window] = self.unfinished.get((payer, window), 0) + 1
            if (room, payer) not in self.lines:
                self._write(room, None, ("chain", None))
            self._write(room, payer, ("charge", run_id))
        self.runs[run_id] = (CHARGED, request, room, payers, prices, window, suspended)
        return CHARGED

    def _refusal(self, room, payers, prices, limits, room_limits):
        if not any(part for price in prices for part in price):
            return None  # what costs nothing is held up by no limit, however low it was set
        for payer, (epsilon, delta), (of_window, of_life) in zip(payers, prices, limits, strict=True):
            spent = self.spent.get((payer, self.window), (0, 0))
            if spent[0] + epsilon > of_window * 10**6 or spent[1] + delta > DELTA_OF_A_WINDOW:
                return "privacy_budget"
            if of_life is not None and self.ever.get(payer, (0, 0))[0] + epsilon > of_life * 10**6:
                return "lifetime_budget"
            if _limited(False, prices) and self.unfinished.get((payer, self.window), 0) >= MOST_UNFINISHED:
                return "too_many_unfinished_runs"
        price = sum(epsilon for epsilon, _ in prices)
        of_window, of_life = room_limits
        if of_window is not None and self.spent_in_room(room, self.window) + price > of_window * 10**6:
            return "room_budget"
        if of_life is not None and self.ever_in_room(room) + price > of_life * 10**6:
            return "lifetime_room_budget"
        return None

    def advance(self, run_id, to):
        if run_id not in self.runs:
            return "run_not_found"
        state, request, room, payers, prices, window, unmetered = self.runs[run_id]
        if state == to:
            return to
        if state not in MAY_COME_FROM[to]:
            return "conflict"
        self.runs[run_id] = (to, request, room, payers, prices, window, unmetered)
        if to == RELEASED and _limited(unmetered, prices):
            for payer in payers:
                self.unfinished[payer, window] -= 1
        return to

    # --- what is asked ---

    def spent_in_room(self, room, window):
        return sum(price[0] for (payer, w), price in self.spent.items() if payer[0] == room and w == window)

    def ever_in_room(self, room):
        return sum(price[0] for payer, price in self.ever.items() if payer[0] == room)

    def _write(self, room, chain, line):
        self.lines[room, chain] = (*self.lines.get((room, chain), ()), line)


def _limited(unmetered, prices):
    """Whether a run counts among those without a release: it costs epsilon, and limits are enforced."""
    return not unmetered and any(epsilon > 0 for epsilon, _ in prices)
