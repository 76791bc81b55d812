"""Makes and signs receipts: what was released, from what, for what price. Whole numbers and text only."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from cleanroom.privacy.accounting import ZERO_PRICE
from cleanroom.rooms.ledger import ALL_CUSTOM_TEMPLATES
from cleanroom.rooms.ledger_chain import utc_text
from cleanroom.rooms.receipts import RECEIPT_KIND, digest_to_sign, released_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cleanroom.ports import NoiseServices
    from cleanroom.privacy.accounting import Price
    from cleanroom.privacy.rho import RhoLimit, RhoPrice
    from cleanroom.rooms.ledger import BudgetKey, RunRecord, Standing
    from cleanroom.templates.plan import Measurement, Plan, PricePart

CONFIDENCE_TEXT = "0.95"
EXACT_QUANTILE = "quantile of the noise"
"""The released number plus or minus the exact 95 % quantile of its noise; for counts half a unit more."""
SIMULATION = "simulation"
"""Quantiles of the release query over tables from which fresh noise of the same kind was taken away."""


def sealed(release: Mapping[str, object], receipt: Mapping[str, object], services: NoiseServices) -> bytes:
    """Return `release.json`: the release, its receipt, and the signature over it.

    The public key is kept beside the releases before anything is signed with it, so that it outlives the key itself.

    Args:
        release: all that leaves but receipt and signature.
        receipt: what `receipt_of` gave, with the caller's own members.
        services: signer and release store.

    Raises:
        BusyError: the key or the store would not answer; nothing is stored, and the same run may be released again.
    """
    key = services.signer.key()
    services.releases.keep_receipt_key(fingerprint=key.fingerprint, pem=key.pem)
    # Digests are over what a reader will read: NaN is null by then, dates and decimals are text.
    written = msgspec.json.decode(msgspec.json.encode(release, enc_hook=str))
    covered = {**receipt, "released_digest": released_digest(written), "key": key.named()}
    signature = base64.b64encode(services.signer.sign(digest_to_sign(covered))).decode("ascii")
    return msgspec.json.encode({**written, "receipt": covered, "signature": signature})


def receipt_of(
    run: RunRecord, *, run_id: str, parts: Iterable[PricePart], standing: Standing, services: NoiseServices
) -> dict[str, object]:
    """Return what every receipt has, whatever was released.

    Args:
        run: as charged.
        run_id: as its party knows it.
        parts: the price, line by line.
        standing: of the run's budgets in the run's window, at this moment.
        services: the clock.
    """
    versions = run.settings_versions
    return {
        "kind": RECEIPT_KIND,
        "run_id": run_id,
        "cleanroom_name": run.room,
        "party_name": run.party,
        "template_name": run.template,
        "request_digest": run.request_digest,
        "plan_digest": run.plan_digest,
        "charged_at": utc_text(run.charged_at),
        "released_at": utc_text(services.clock.now()),
        "window": run.window,
        "unmetered": run.unmetered,
        "price": price_as_json(run.price)
        | {"rho": _rho_json(run.rho_prices[0] if run.rho_prices else None)}
        | {"parts": [{"what": part.what, **price_as_json(part.price)} for part in parts]},
        "budgets": [
            {
                "settings_version": version,
                "limit_micro_epsilon": limit,
                "rho_limit": None if rho_limit is None else _rho_json(rho_limit),
                **_spending(key, price, run=run, standing=standing),
            }
            for key, price, limit, version, rho_limit in zip(
                run.budgets,
                run.prices,
                run.limit_micro_epsilon,
                versions,
                run.rho_limits or (None,) * len(run.budgets),
                strict=True,
            )
        ],
        "table_versions": dict(run.table_versions),
        "replayed_from": None,
    }


def price_as_json(price: Price) -> dict[str, int]:
    """Return a price in whole numbers: micro-epsilon and steps of 1e-12 of delta."""
    return {"micro_epsilon": price.micro_epsilon, "delta_steps": price.delta_steps}


def _rho_json(amount: RhoPrice | RhoLimit | None) -> dict[str, int] | None:
    """Return what is counted in rho in whole numbers: steps of 1e-12 of rho, and of the delta beside it."""
    return None if amount is None else {"rho_steps": amount.rho_steps, "delta_steps": amount.delta_steps}


def _spending(key: BudgetKey, price: Price, *, run: RunRecord, standing: Standing) -> dict[str, object]:
    """Return what the budget has spent in the run's window at this moment, and the same without this run.

    The charge itself tells no total, so this is read when the receipt is made. Other runs of the same budget that were
    charged in between are in both numbers.
    """
    spending = standing.spending[key]
    counted = ZERO_PRICE if run.unmetered else price
    return {
        "party_name": key.party,
        "template_name": None if key.template == ALL_CUSTOM_TEMPLATES else key.template,
        "spent_before": {
            "micro_epsilon": spending.window.micro_epsilon - counted.micro_epsilon,
            "delta_steps": spending.window.delta_steps - counted.delta_steps,
        },
        "spent_after": price_as_json(spending.window),
        "spent_after_rho": _rho_json(spending.window_rho),
        "lifetime_after": price_as_json(spending.lifetime),
    }


def plan_receipt(plan: Plan, *, template_digest: str, intervals: Iterable[str], replicates: int) -> dict[str, object]:
    """Return what a receipt says of a plan: the query, bounds, noise and thresholds, and how intervals were made.

    Args:
        plan: that was charged.
        template_digest: of the template that it came from.
        intervals: the released columns that have one.
        replicates: simulated releases behind each interval of a derived column.
    """
    having = set(intervals)
    return {
        "differential": plan.differential,
        "template_digest": template_digest,
        "entity": plan.entity,
        "query": plan.sql,
        "measurements": [_measurement(m) for m in plan.measurements],
        "post_processing": {
            "nonnegative_counts": list(plan.post.nonnegative),
            "consistent_totals": [list(totals.measurements) for totals in plan.post.consistent],
        },
        "intervals": {
            "confidence": CONFIDENCE_TEXT,
            "columns": {
                c.name: {"method": EXACT_QUANTILE}
                if c.role == "measured"
                else {"method": SIMULATION, "replicates": replicates}
                for c in plan.release.columns
                if c.name in having
            },
        },
    }


def _measurement(measurement: Measurement) -> dict[str, object]:
    selection = measurement.partition_selection
    return {
        "name": measurement.name,
        "keys": list(measurement.keys),
        "bounds": dict(measurement.bounds),
        "partition_selection": None
        if selection is None
        else {"column": selection.column, "tau": str(selection.tau), "delta": str(selection.delta)},
        "clipping_estimate_of": None if measurement.estimate is None else measurement.estimate.of,
        "columns": [
            {
                "name": c.name,
                "measures": c.meaning,
                "vector": c.vector,
                "unit": str(c.unit),
                "norm": c.norm,
                "sensitivity": str(c.sensitivity),
                "noise": c.noise.as_json(),
                **({} if c.other_noise is None else {"other_row_noise": c.other_noise.as_json()}),
                **price_as_json(c.price),
            }
            for c in measurement.columns
        ],
    }
