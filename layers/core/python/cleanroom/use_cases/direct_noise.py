"""Noise for numbers that a pipeline computed itself, charged to the caller's budget like a run."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from cleanroom.errors import InvalidRequestError, RunConflictError
from cleanroom.privacy.accounting import exact_fraction, price_of
from cleanroom.privacy.calibration import gaussian_noise, gaussian_rho, laplace_noise
from cleanroom.privacy.error_bars import CONFIDENCE, half_width
from cleanroom.privacy.mechanisms import add_noise
from cleanroom.privacy.rho import rho_price
from cleanroom.rooms.ledger import BudgetKey, RunState
from cleanroom.templates.plan import PricePart
from cleanroom.use_cases.access import room_of_consumer
from cleanroom.use_cases.charge import Payer, charge_run
from cleanroom.use_cases.plan_views import run_price_view
from cleanroom.use_cases.receipts import CONFIDENCE_TEXT, EXACT_QUANTILE, receipt_of, sealed
from cleanroom.use_cases.run_ids import public_run_id, scoped_run_id
from cleanroom.use_cases.signals import refusals_counted, watch_charge

if TYPE_CHECKING:
    from cleanroom.ports import NoiseServices
    from cleanroom.privacy.accounting import Price
    from cleanroom.privacy.noise import Noise
    from cleanroom.privacy.rho import RhoPrice
    from cleanroom.rooms.ledger import RunRecord
    from cleanroom.use_cases.arguments import AddNoise

GRID_STEPS = 2**20
"""The sensitivity is at least this many steps of the grid that values are rounded to."""
LARGEST_STEP = 2**53
"""Values beyond this many steps are refused: a float could not hold the noisy number exactly."""


def add_noise_to_values(arguments: AddNoise, party: str, services: NoiseServices) -> bytes:
    """Return the values with noise, and their 95 % interval; the same run id gives the same noise again.

    The caller answers for `sensitivity`: it is not derived here, and the answer says so.

    Raises:
        InvalidRequestError: a value is too large to be held on the sensitivity's grid.
        BudgetExhaustedError: nothing was charged.
    """
    with refusals_counted(arguments.cleanroom_name, party, services):
        return _add_noise(arguments, party, services)


def _add_noise(arguments: AddNoise, party: str, services: NoiseServices) -> bytes:
    snapshot, _ = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    run_id = scoped_run_id(party, arguments.run_id or services.ids.run_id())
    noise, unit, exact_steps, price, rho = _measured(arguments)
    asked = msgspec.to_builtins(arguments)
    del asked["run_id"]
    digest = hashlib.sha256(msgspec.json.encode(["add_noise", party, asked], order="deterministic")).hexdigest()
    budget = BudgetKey(room=snapshot.room.name, party=party)
    run = services.ledger.run(run_id)
    if run is None:
        terms = services.ledger.terms(budget.room, [budget])
        run = charge_run(
            run_id=run_id,
            request_digest=digest,
            plan_digest=digest,
            payers=(Payer(budget=budget, record=terms.records[budget], price=price, rho_price=rho),),
            task=terms.task,
            room_budget=terms.room,
            template="add_noise",
            reader=party,
            table_versions=(),
            ledger=services.ledger,
            renewal=services.renewal,
            clock=services.clock,
            telemetry=services.telemetry,
        )
        watch_charge(run, None, services)
    if run.request_digest != digest:
        raise RunConflictError("the run id belongs to another request")
    public_id = public_run_id(run_id)
    stored = services.releases.get(party=party, run_id=public_id)
    if stored is None:
        release = _make_release(arguments, run, noise, unit, exact_steps, services)
        stored = services.releases.put_if_absent(party=party, run_id=public_id, release=release)
    now = services.clock.now()
    if run.state is RunState.CHARGED:
        services.ledger.advance(run_id, to=RunState.EXECUTED, at=now)
    services.ledger.advance(run_id, to=RunState.RELEASED, at=now)
    return stored


def _make_release(
    arguments: AddNoise,
    run: RunRecord,
    noise: Noise,
    unit: Fraction,
    exact_steps: np.ndarray[tuple[int], np.dtype[np.int64]],
    services: NoiseServices,
) -> bytes:
    """Draw the noise once for what is then stored once; a failure before that shows nobody what was drawn."""
    public_id = public_run_id(run.run_id)
    noisy_steps = add_noise(exact_steps, noise=noise, entropy=services.entropy)
    width = float(half_width(noise, confidence=CONFIDENCE) * unit)
    values = [float(step * unit) for step in noisy_steps.tolist()]
    parts = (PricePart(what="values", price=run.price),)
    release = {
        "run_id": public_id,
        "state": "released",
        "cleanroom_name": run.room,
        "party_name": run.party,
        "unmetered": run.unmetered,
        "values": values,
        "confidence": float(CONFIDENCE),
        "intervals": [[v - width, v + width] for v in values],
        "noise": noise.as_json(),
        "unit": str(unit),
        "price": run_price_view(run),
        "notes": ["the sensitivity is the caller's own statement; it was not derived from data"],
        "location": services.releases.location(party=run.party, run_id=public_id),
    }
    standing = services.ledger.standing(run.room, run.budgets, window=run.window)
    receipt = receipt_of(run, run_id=public_id, parts=parts, standing=standing, services=services) | {
        "stated_sensitivity": str(exact_fraction(arguments.sensitivity)),
        "norm": "l2" if arguments.gaussian else "l1",
        "noise": noise.as_json(),
        "unit": str(unit),
        "intervals": {"confidence": CONFIDENCE_TEXT, "columns": {"values": {"method": EXACT_QUANTILE}}},
    }
    return sealed(release, receipt, services)


def _measured(
    arguments: AddNoise,
) -> tuple[Noise, Fraction, np.ndarray[tuple[int], np.dtype[np.int64]], Price, RhoPrice]:
    """Return the noise, what one step is worth, the exact values in steps (rounded toward zero), and both prices.

    Rounding moves each value by less than one step between neighbours, which the sensitivity in steps allows for.
    """
    sensitivity, epsilon = exact_fraction(arguments.sensitivity), exact_fraction(arguments.epsilon)
    delta = exact_fraction(arguments.delta) if arguments.gaussian else Fraction(0)
    unit = Fraction(2) ** math.floor(math.log2(sensitivity / GRID_STEPS))
    values = [exact_fraction(value) / unit for value in arguments.values]
    if any(abs(value) > LARGEST_STEP for value in values):
        raise InvalidRequestError("a value is more than 2^33 times the sensitivity: noise of that scale would be lost")
    steps = np.array([math.trunc(value) for value in values], dtype=np.int64)
    count = len(arguments.values)
    noise: Noise
    if arguments.gaussian:
        rho = gaussian_rho(epsilon=epsilon, delta=delta)
        moved = (math.ceil(sensitivity / unit) + math.isqrt(count) + 1) ** 2
        noise = gaussian_noise(l2_squared=moved, rho=rho)
    else:
        moved = math.ceil(sensitivity / unit) + count
        noise = laplace_noise(l1_sensitivity=moved, epsilon=epsilon)
    return noise, unit, steps, price_of(epsilon=epsilon, delta=delta), rho_price([(noise, moved)])
