"""The privacy settings of one clean room, party and template (B-10 to B-18): defaults, checks, record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from fractions import Fraction

from cleanroom.errors import InvalidRequestError
from cleanroom.privacy.accounting import exact_fraction
from cleanroom.privacy.rho import RhoLimit, rho_limit
from cleanroom.rooms.names import shown_name


class NoiseMechanism(StrEnum):
    """The two mechanisms a settings record may name."""

    LAPLACE = "Laplace"
    GAUSSIAN = "Gaussian"


class Accounting(StrEnum):
    """What a budget adds up over the runs of a window."""

    EPSILON = "epsilon"
    ZCDP = "zcdp"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivacySettings:
    """One settings record; what is left out has its default (B-10 to B-17).

    Attributes:
        differential: DP on or off.
        epsilon: noise of each released aggregate; > 0.
        noise_mechanism: Laplace or Gaussian.
        privacy_budget: epsilon per window, whole number >= 0.
        threshold: whether `threshold_value` is enforced in stock templates.
        threshold_value: smallest group, in entities.
        delta: for Gaussian noise and private group keys; in (0, 1e-3].
        lifetime_budget: epsilon over all windows together, whole number >= 0, never renewed; None for no such limit.
        accounting: what the runs of a window add up to: `epsilon`, or `zcdp` for rho, which holds many more runs.
    """

    differential: bool = False
    epsilon: Fraction = Fraction(1, 10)
    noise_mechanism: NoiseMechanism = NoiseMechanism.LAPLACE
    privacy_budget: int = 10
    threshold: bool = False
    threshold_value: int = 0
    delta: Fraction = Fraction(1, 1_000_000)
    lifetime_budget: int | None = None
    accounting: Accounting = Accounting.EPSILON


def strictest(settings: Mapping[str, PrivacySettings]) -> PrivacySettings:
    """Return the settings of a run over the tables of several parties: each party's are kept, whatever the others' are.

    With DP on for one of them it is on: least epsilon and delta of those who have it on, and their mechanism. Least
    budgets, and the largest smallest group that is enforced, of all of them.

    Args:
        settings: party -> the settings that it gave the one that runs; at least one.

    Raises:
        InvalidRequestError: they name different mechanisms: a column has one noise.
    """
    everyone = list(settings.values())
    on = {party: s for party, s in settings.items() if s.differential} or dict(settings)
    mechanisms = {s.noise_mechanism for s in on.values()}
    if len(mechanisms) > 1:
        named = ", ".join(f"{s.noise_mechanism.value} of {party}" for party, s in sorted(on.items()))
        raise InvalidRequestError(
            f"the owners of the tables set different mechanisms ({named}): one of them would set the other's",
            setting="noise_mechanism",
        )
    lifetimes = [s.lifetime_budget for s in everyone if s.lifetime_budget is not None]
    enforced = [s for s in everyone if s.threshold] or everyone
    return PrivacySettings(
        differential=any(s.differential for s in everyone),
        epsilon=min(s.epsilon for s in on.values()),
        noise_mechanism=mechanisms.pop(),
        privacy_budget=min(s.privacy_budget for s in everyone),
        threshold=any(s.threshold for s in everyone),
        threshold_value=max(s.threshold_value for s in enforced),
        delta=min(s.delta for s in on.values()),
        lifetime_budget=min(lifetimes, default=None),
        # Each party's own budget counts as that party set it; of a run's settings nothing reads this.
        accounting=Accounting.EPSILON,
    )


def rho_limit_of(settings: PrivacySettings) -> RhoLimit | None:
    """Return what a window may spend where rho is what counts: `privacy_budget` and `delta`, converted; else None."""
    if settings.accounting is Accounting.EPSILON:
        return None
    return rho_limit(epsilon=settings.privacy_budget, delta=settings.delta)


_MECHANISMS = {
    "laplace": NoiseMechanism.LAPLACE,
    "gaussian": NoiseMechanism.GAUSSIAN,
    "gauss": NoiseMechanism.GAUSSIAN,  # what `Gauß` becomes when case is folded
}
_LARGEST_WHOLE = 10**9  # of privacy_budget and threshold_value; their micro-units fit 64 bits with room to add
# A micro-epsilon is the least that the ledger charges; the other end keeps scales within what the samplers are for.
_EPSILON = (Fraction(1, 10**6), Fraction(10**6))
_DELTA = (Fraction(1, 10**30), Fraction(1, 1000))  # B-16; below 1e-30 it is written as zero in a template


def settings_from_record(record: Mapping[str, object]) -> PrivacySettings:
    """Return the settings that a record asks for; what is left out has its default (B-17).

    Args:
        record: keys of B-10 to B-16, and `lifetime_budget`, with JSON values. A float means its shortest decimal text:
            0.1 is one tenth.

    Raises:
        InvalidRequestError: an unknown key, a wrong type (true is no integer, "10" is no number), NaN, an infinity or a
            number out of range (B-18). It names the key and what is possible, and quotes no value.
    """
    if not isinstance(record, Mapping):
        raise InvalidRequestError("privacy_settings is an object: setting -> value", possible=list(_KEYS))
    unknown = [key for key in record if key not in _KEYS]
    if unknown:
        raise InvalidRequestError(
            f"privacy_settings has a key that is no setting, {shown_name(unknown[0])}; "
            f"the settings are {', '.join(_KEYS)}",
            possible=list(_KEYS),
        )
    default = PrivacySettings()
    return PrivacySettings(
        differential=bool(_whole(record, "differential", int(default.differential), largest=1)),
        epsilon=_number(record, "epsilon", default.epsilon, _EPSILON, "a number > 0, from 0.000001 to 1000000"),
        noise_mechanism=_mechanism(record, default.noise_mechanism),
        privacy_budget=_whole(record, "privacy_budget", default.privacy_budget, largest=_LARGEST_WHOLE),
        threshold=bool(_whole(record, "threshold", int(default.threshold), largest=1)),
        threshold_value=_whole(record, "threshold_value", default.threshold_value, largest=_LARGEST_WHOLE),
        delta=_number(record, "delta", default.delta, _DELTA, "a number in (0, 0.001]"),
        lifetime_budget=_whole_or_none(record, "lifetime_budget"),
        accounting=_accounting(record, default.accounting),
    )


def as_record(settings: PrivacySettings) -> dict[str, str | int | float | None]:
    """Return the whole record as JSON values; `settings_from_record` gives the same settings back."""
    return {
        "differential": int(settings.differential),
        "epsilon": float(settings.epsilon),
        "noise_mechanism": settings.noise_mechanism.value,
        "privacy_budget": settings.privacy_budget,
        "threshold": int(settings.threshold),
        "threshold_value": settings.threshold_value,
        "delta": float(settings.delta),
        "lifetime_budget": settings.lifetime_budget,
        "accounting": settings.accounting.value,
    }


_KEYS = tuple(field.name for field in fields(PrivacySettings))


def _whole(record: Mapping[str, object], key: str, default: int, *, largest: int) -> int:
    value = record.get(key, default)
    if type(value) is not int or not 0 <= value <= largest:
        possible = "0 or 1" if largest == 1 else f"a whole number from 0 to {largest}"
        raise _not_possible(key, possible)
    return value


def _whole_or_none(record: Mapping[str, object], key: str) -> int | None:
    return None if record.get(key) is None else _whole(record, key, 0, largest=_LARGEST_WHOLE)


def _number(
    record: Mapping[str, object], key: str, default: Fraction, bounds: tuple[Fraction, Fraction], possible: str
) -> Fraction:
    value = record.get(key, default)
    if value is default:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _not_possible(key, possible)
    try:
        number = exact_fraction(value)
    except ValueError:  # NaN and the infinities
        raise _not_possible(key, possible) from None
    if not bounds[0] <= number <= bounds[1]:
        raise _not_possible(key, possible)
    return number


def _mechanism(record: Mapping[str, object], default: NoiseMechanism) -> NoiseMechanism:
    value = record.get("noise_mechanism", default.value)
    mechanism = _MECHANISMS.get(value.casefold()) if isinstance(value, str) else None
    if mechanism is None:
        raise _not_possible("noise_mechanism", "Laplace or Gaussian")
    return mechanism


def _accounting(record: Mapping[str, object], default: Accounting) -> Accounting:
    value = record.get("accounting", default.value)
    for accounting in Accounting:
        if isinstance(value, str) and value == accounting.value:
            return accounting
    raise _not_possible("accounting", "epsilon or zcdp")


def _not_possible(key: str, possible: str) -> InvalidRequestError:
    return InvalidRequestError(f"{key} must be {possible}", setting=key, possible=possible)
