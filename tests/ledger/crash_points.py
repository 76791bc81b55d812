"""Every call that a whole run makes to the outside fails once, in three ways; then the caller tries again, in two.

`python -m tests.ledger.crash_points` writes the table of docs/crash_points.md anew; a test makes the same table and
compares. The deployment is the one in memory: real use cases and engine, every port wrapped. Only the exact integers of
a plan are remembered once the engine has computed them, to save time.
"""

import re
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path

from cleanroom.adapters.system import SystemEntropy
from cleanroom.errors import BusyError, RunFailedError
from cleanroom.rooms.ledger import BudgetKey
from cleanroom.rooms.ledger_chain import first_broken_chain
from tests.house import furnished
from tests.ledger.faults import Killed
from tests.ledger.rush import TOTAL, quietly

DOCS = Path(__file__).parents[2] / "docs" / "crash_points.md"
AGENCY = BudgetKey(room="room", party="agency")
PRICE = 100
"""In micro-epsilon; so little that two draws are equal once in a million: noise of scale 240,000."""
FAULTS = ("killed", "time-out", "lost reply")

POINTS = {
    "run: ledger.run": "looks whether the run id is known",
    "run: catalogue.snapshot": "reads room, tables, template",
    "run: ledger.terms": "reads settings, task, room budget",
    "run: tables.resolve": "pins versions of the tables",
    "run: ledger.charge": "**charges**",
    "run: signals.charged": "counts for the alarms",
    "run: engine.execute": "computes the exact integers",
    "run: exact.put": "stores them, encrypted",
    "run: ledger.advance": "executed",
    "run: noise.release": "calls add_noise",
    "noise: ledger.run": "reads the run",
    "noise: releases.get": "looks for a release",
    "noise: releases.get_drawn": "looks for noise that was drawn",
    "noise: exact.get": "decrypts the exact integers",
    "noise: entropy.bytes": "draws **noise**",
    "noise: releases.put_drawn_if_absent": "stores noisy integers, once",
    "noise: engine.query": "makes the table of them",
    "noise: ledger.standing": "reads what was spent, for receipt and release",
    "noise: signer.key": "asks for the public key",
    "noise: releases.keep_receipt_key": "keeps the public key",
    "noise: signer.sign": "signs the receipt",
    "noise: releases.put_if_absent": "stores the **release**, once",
    "noise: releases.put_derived": "stores its CSV",
    "noise: ledger.advance": "released, and kept as the answer to its question",
    "noise: exact.delete": "removes the exact integers",
    "run: pace.hold": "answers the caller",
}
"""Each point, in the order of a run, and what happens there."""
READS = tuple(point for point in POINTS if re.search(r"run$|snapshot|terms|resolve|get|standing|key$", point))
"""Calls that change nothing: a lost reply of theirs is a time-out."""
IN_PROCESS = ("run: engine.execute", "noise: engine.query", "noise: entropy.bytes", "run: pace.hold")
"""No reply can be lost there: what is called is in the same process."""
LOCAL = ("ids.", "clock.", "telemetry.", "renewal.", "releases.location")
"""Calls that leave the process for nothing and change nothing."""


class Tripwire:
    """Counts calls of ports by name, and makes the next call of one of them fail."""

    def __init__(self):
        self.called, self.point, self.fault = [], None, None

    def wrap(self, side, services):
        """Return the services with every port of theirs wrapped."""
        named = {f.name: getattr(services, f.name) for f in fields(services) if f.name != "thresholds"}
        return replace(services, **{name: _Wrapped(self, f"{side}: {name}", port) for name, port in named.items()})

    def call(self, name, really):
        self.called.append(name)
        if name != self.point:
            return really()
        self.point = None
        if self.fault == "killed":
            raise Killed
        if self.fault == "time-out":
            # The engines have a limit of their own, and say that they failed; everything else may be tried again.
            raise RunFailedError("time") if ".execute" in name or ".query" in name else BusyError("no answer")
        really()
        raise BusyError("the answer was lost")


class _Wrapped:
    def __init__(self, wire, name, port):
        self._wire, self._name, self._port = wire, name, port

    def __getattr__(self, method):
        found = getattr(self._port, method)
        if not callable(found):
            return found
        return lambda *given, **named: self._wire.call(f"{self._name}.{method}", lambda: found(*given, **named))


class RememberingEngine:
    """The real engine, asked once for each query."""

    def __init__(self, engine):
        self._engine, self._tables = engine, {}

    def execute(self, plan, *, versions, run_key):
        """Return the exact tables."""
        if plan.sql not in self._tables:
            self._tables[plan.sql] = self._engine.execute(plan, versions=versions, run_key=run_key)
        return self._tables[plan.sql]


class Deployment:
    """A house whose ports can fail, and one caller."""

    def __init__(self):
        settings = {"differential": 1, "epsilon": PRICE / 1_000_000, "privacy_budget": 10}
        self.house, self.wire = furnished(entropy=SystemEntropy(), settings=settings), Tripwire()
        engine = RememberingEngine(self.house.runs.engine)
        self.house.runs = self.wire.wrap("run", replace(self.house.runs, engine=engine))
        self.house.noises = self.wire.wrap("noise", self.house.noises)
        invoke = self.house.runs.noise._port._invoke

        def invoked(event):
            try:
                return invoke(event)
            except Killed:
                # What Lambda's client is told when the other function has died.
                raise RuntimeError("add_noise failed unexpectedly") from None

        self.house.runs.noise._port._invoke = invoked
        self.number = 0

    def new_window(self):
        """Begin afresh: the number of runs without a release is limited in each window."""
        self.house.clock.advance(seconds=86_400)
        now = self.house.clock.now()
        self.house.ledger.open_window(scheduled_for=now - timedelta(minutes=1), at=now)

    def new_id(self):
        self.number += 1
        return f"crash-{self.number:06}"

    def ask(self, run_id, **asked):
        """Return what the caller hears, and the answer: the status's code, `nothing` from a dead process."""
        try:
            status, answer = self.house.ask("agency", "consumer", "run_analysis", **TOTAL, run_id=run_id, **asked)
        except Killed:
            return "nothing", None
        return ("the release", answer) if status == 200 else (answer["error"]["code"], None)

    def spent(self):
        return self.house.ledger.spending(AGENCY, window=0).lifetime.micro_epsilon

    def state(self, run_id):
        run = self.house.ledger.run(f"agency.{run_id}")
        return "not there" if run is None else run.state.value

    def drawn(self, run_id):
        return self.house.releases.drawn.get(("agency", run_id))

    def charges(self):
        return sum(line.kind == "charge" for line in self.house.ledger.entries("room"))

    def answers(self):
        """How many different noises there are: of every answer that was stored, or could still be made."""
        return len(set(self.house.releases.drawn.values()))


@dataclass
class Outcome:
    """One line of the table."""

    point: str
    fault: str
    heard: str
    state: str
    same_id: str
    same_noise: str
    new_id: str

    @property
    def cells(self):
        tried = (self.same_id, self.same_noise, self.new_id)
        return (self.point, POINTS[self.point], self.fault, self.heard, self.state, *tried)


def crash(deployment, point, fault):
    """Let a run crash at a point, twice, and try again with the same id and with a new one.

    Raises:
        AssertionError: something was charged twice, answered for nothing, or given other noise.
    """
    heard, state, same_id, same_noise = _same_id(deployment, point, fault)
    again_heard, again_state, new_id = _new_id(deployment, point, fault)
    assert (again_heard, again_state) == (heard, state)
    assert first_broken_chain(deployment.house.ledger.history("room")) is None
    assert deployment.answers() <= deployment.charges()
    return Outcome(point, fault, heard, state, same_id, same_noise, new_id)


def _crashed(deployment, point, fault):
    deployment.new_window()
    run_id, before = deployment.new_id(), deployment.spent()
    deployment.wire.point, deployment.wire.fault = point, fault
    heard, first = deployment.ask(run_id)
    assert deployment.wire.point is None, f"{point} was not reached"
    state, spent = deployment.state(run_id), deployment.spent() - before
    assert spent == (0 if state == "not there" else PRICE)
    assert first is None or state == "released"
    return run_id, before, heard, first, state


def _same_id(deployment, point, fault):
    run_id, before, heard, first, state = _crashed(deployment, point, fault)
    drawn = deployment.drawn(run_id)
    again, second = deployment.ask(run_id)
    assert deployment.spent() - before == PRICE, "charged twice"
    third_heard, third = deployment.ask(run_id)
    assert (third_heard, third) == (again, second)
    assert deployment.spent() - before == PRICE, "charged twice"
    assert first is None or first == second
    assert drawn is None or drawn == deployment.drawn(run_id), "other noise"
    if second is not None:
        # The same question under another id is answered by the same noise, for nothing (B-50).
        assert deployment.state(run_id) == "released"
        _, replayed = deployment.ask(deployment.new_id(), replay="only")
        assert replayed["rows"] == second["rows"]
        assert deployment.spent() - before == PRICE
    noise = "none" if second is None else "drawn now" if drawn is None else "the same"
    return heard, state, f"{again}, charged once", noise


def _new_id(deployment, point, fault):
    run_id, before, heard, _, state = _crashed(deployment, point, fault)
    other = deployment.new_id()
    other_heard, _ = deployment.ask(other)
    assert other_heard == "the release"
    was_charged = state != "not there"
    assert deployment.spent() - before == PRICE * (1 + was_charged), "a free answer, or a charge too many"
    assert deployment.drawn(other) != deployment.drawn(run_id)
    charges = "a second charge" if was_charged else "the only charge"
    return heard, state, f"{other_heard}, {charges}"


def replay_points(deployment):
    """Return a release that was paid for, and every call that a run makes which it answers, in order."""
    deployment.new_window()
    _, paid = deployment.ask(deployment.new_id())
    deployment.wire.called.clear()
    assert deployment.ask(deployment.new_id(), replay="only")[0] == "the release"
    called = dict.fromkeys(deployment.wire.called)
    return paid, [name for name in called if not any(local in name for local in LOCAL)]


def crash_again(deployment, paid, point, fault):
    """Let a run crash that a stored release answers, and try again: nothing is charged, and no noise is drawn.

    Raises:
        AssertionError: something was, or the answer is another.
    """
    spent, answers, run_id = deployment.spent(), deployment.answers(), deployment.new_id()
    deployment.wire.point, deployment.wire.fault = point, fault
    _, crashed = deployment.ask(run_id, replay="only")
    assert deployment.wire.point is None, f"{point} was not reached"
    assert crashed is None or crashed["rows"] == paid["rows"]
    heard, second = deployment.ask(run_id, replay="only")
    assert heard == "the release"
    assert second["rows"] == paid["rows"], "other noise"
    assert second["price"]["epsilon"] == 0
    assert deployment.ask(run_id, replay="only") == (heard, second)
    assert (deployment.spent(), deployment.answers()) == (spent, answers), "a charge, or noise"
    assert first_broken_chain(deployment.house.ledger.history("room")) is None


def faults_at(point):
    """Return the faults that can happen at a point."""
    if point in IN_PROCESS:
        return FAULTS[:2] if "engine" in point else FAULTS[:1]
    return FAULTS[:2] if point in READS else FAULTS


def as_markdown(outcomes):
    """Return the table."""
    head = ("point", "what happens there", "fault", "caller hears", "run is then", "same id again", "noise", "new id")
    return "\n".join([_line(head), _line(("---",) * len(head)), *(_line(outcome.cells) for outcome in outcomes)])


def line_of(outcome):
    """Return the line of the table that an outcome is."""
    return _line(outcome.cells)


def _line(cells):
    return "| " + " | ".join(cells) + " |"


BLOCK = re.compile(r"(?<=<!-- counted: crash points -->\n).*?(?=\n<!-- end: crash points -->)", re.DOTALL)


def main():
    """Write the table into the document."""
    quietly()
    deployment = Deployment()
    table = as_markdown([crash(deployment, point, fault) for point in POINTS for fault in faults_at(point)])
    DOCS.write_text(BLOCK.sub(lambda _: table, DOCS.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
