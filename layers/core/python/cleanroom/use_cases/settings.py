"""Privacy settings and budgets: setting them for the other party, and viewing them (B-10 to B-22, B-54, B-62)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.errors import ForbiddenError, InvalidRequestError
from cleanroom.privacy.accounting import WINDOW_DELTA_STEPS, limit_micro_epsilon
from cleanroom.privacy.rho import RHO_STEPS
from cleanroom.rooms.ledger import ALL_CUSTOM_TEMPLATES, BudgetKey, RoomBudget, SettingsRecord, TaskStatus
from cleanroom.rooms.settings import Accounting, PrivacySettings, as_record, rho_limit_of, settings_from_record
from cleanroom.use_cases.access import room_of_consumer, room_of_member, room_of_provider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cleanroom.ports import Clock, Renewal, RoomServices
    from cleanroom.rooms.ledger import RoomStanding, Spending, Standing
    from cleanroom.use_cases.arguments import CleanRoomArguments, SetPrivacySettings, SetRoomBudget
    from cleanroom.use_cases.charge import Payer

_WINDOW_LIMIT = "privacy_budget"
"""What refusals call a limit of the window: of epsilon, of rho, or of delta."""


def provider_run_key(room: str, *, provider: str, consumer: str) -> BudgetKey:
    """Return whose budget a provider-run spends: the provider's, over that consumer's data; no name holds an `@`."""
    return BudgetKey(room=room, party=f"{provider}@{consumer}")


def settings_view(record: SettingsRecord) -> dict[str, object]:
    """Return the whole record as it now stands (B-17); `version` 0 means that nothing was set and the defaults hold."""
    return {**as_record(record.settings), "version": record.version}


def store_settings(key: BudgetKey, settings: PrivacySettings, *, by: str, services: RoomServices) -> SettingsRecord:
    """Store a record; turning DP on while the DP task is suspended resumes the task for the account (B-62)."""
    now = services.clock.now()
    if settings.differential and services.ledger.task().status is TaskStatus.SUSPENDED:
        services.schedule.set_enabled(True)
        services.ledger.set_task(TaskStatus.RUNNING, by=by, at=now)
    return services.ledger.put_settings(key, settings, by=by, at=now)


def set_consumer_settings(arguments: SetPrivacySettings, party: str, services: RoomServices) -> object:
    """Overwrite the settings of a consumer's runs: what is left out goes back to its default (B-17, B-21)."""
    snapshot = room_of_provider(services.catalogue, arguments.cleanroom_name, party)
    if arguments.party_name == party:
        raise ForbiddenError("nobody sets the privacy settings of their own runs")
    if snapshot.consumer(arguments.party_name) is None:
        raise InvalidRequestError(f"{arguments.party_name} is not a consumer of this clean room")
    key = BudgetKey(room=snapshot.room.name, party=arguments.party_name)
    return _overwrite(arguments, key, party, services)


def set_provider_run_settings(arguments: SetPrivacySettings, party: str, services: RoomServices) -> object:
    """Overwrite the settings of the provider's runs over the caller's tables (B-21)."""
    snapshot, _ = room_of_consumer(services.catalogue, arguments.cleanroom_name, party)
    if arguments.party_name != snapshot.room.provider:
        raise ForbiddenError(
            "a consumer sets the privacy settings of the provider's runs over the consumer's tables, and no others"
        )
    key = provider_run_key(snapshot.room.name, provider=snapshot.room.provider, consumer=party)
    return _overwrite(arguments, key, party, services)


def _overwrite(arguments: SetPrivacySettings, key: BudgetKey, party: str, services: RoomServices) -> object:
    if arguments.template_name is not None:
        raise InvalidRequestError(
            "all custom templates of a clean room share one settings record: leave template_name out"
        )
    record = store_settings(key, settings_from_record(arguments.privacy_settings), by=party, services=services)
    return {"party_name": arguments.party_name, "template_name": None, "privacy_settings": settings_view(record)}


def is_dp_enabled(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Say whether DP is on for the caller's runs in this room."""
    snapshot, _ = room_of_consumer(services.catalogue, arguments.cleanroom_name, party, installed=False)
    record = services.ledger.settings(BudgetKey(room=snapshot.room.name, party=party))
    return {"cleanroom_name": snapshot.room.name, "differential": int(record.settings.differential)}


def view_remaining_privacy_budget(arguments: CleanRoomArguments, party: str, services: RoomServices) -> object:
    """Show budgets: a consumer its own, and what the provider spends on its data; the provider every party's (B-54)."""
    snapshot = room_of_member(services.catalogue, arguments.cleanroom_name, party)
    room, provider = snapshot.room.name, snapshot.room.provider
    consumers = snapshot.consumers if party == provider else tuple(c for c in snapshot.consumers if c.party == party)
    keys = [BudgetKey(room=room, party=c.party) for c in consumers]
    keys += [provider_run_key(room, provider=provider, consumer=c.party) for c in consumers if c.provider_run_templates]
    standing = services.ledger.standing(room, keys)
    return {
        "cleanroom_name": room,
        "budgets": budget_views(standing, renewal=services.schedule, clock=services.clock),
        "room_budget": room_budget_view(standing.room) if party == provider else None,
    }


def set_room_budget(arguments: SetRoomBudget, party: str, services: RoomServices) -> object:
    """Limit what all parties of a room may spend together: they may pool what they learn. Overwrites both limits.

    What was spent before counts. None is no limit.
    """
    room = room_of_provider(services.catalogue, arguments.cleanroom_name, party).room.name
    budget = RoomBudget(per_window=arguments.room_budget, lifetime=arguments.lifetime_room_budget)
    services.ledger.put_room_budget(room, budget, by=party, at=services.clock.now())
    return {"cleanroom_name": room, "room_budget": room_budget_view(services.ledger.standing(room, ()).room)}


def room_budget_view(room: RoomStanding | None) -> dict[str, object] | None:
    """Return what all parties of a room have spent together, and of what; None where the room never had a budget."""
    if room is None:
        return None
    return {
        "room_budget": room.record.budget.per_window,
        "spent": room.window.micro_epsilon / 1e6,
        "lifetime_room_budget": room.record.budget.lifetime,
        "lifetime_epsilon": room.lifetime.micro_epsilon / 1e6,
        "lifetime_delta": room.lifetime.delta_steps / 1e12,
        "version": room.record.version,
    }


def budget_views(standing: Standing, *, renewal: Renewal, clock: Clock) -> list[dict[str, object]]:
    """Return budgets of one room: limit, spent and remaining epsilon of a window, and lifetime totals.

    `remaining` is the epsilon that a run could still cost: the least of what window, lifetime and room have left, and
    `remaining_limit` says which of them that is. Where rho is what counts in a window, `remaining_rho` is left of
    `rho_limit` there; `remaining` is that of the others, and None without them.
    """
    suspended = standing.task.status is TaskStatus.SUSPENDED
    is_over = standing.window != standing.task.window
    window_ends = None if suspended or is_over else renewal.next_renewal(clock.now()).isoformat()
    views: list[dict[str, object]] = []
    for key, spending in standing.spending.items():
        settings = standing.records[key].settings
        limit = limit_micro_epsilon(settings.privacy_budget)
        left = [*_left_of_epsilon(settings, spending), *_left_in_room(standing.room)]
        binding, remaining = min(left, key=lambda one: one[1], default=(None, None))
        rho_limit, spent_rho = rho_limit_of(settings), spending.window_rho.rho_steps
        views.append(
            {
                "party_name": key.party,
                "template_name": None if key.template == ALL_CUSTOM_TEMPLATES else key.template,
                "differential": int(settings.differential),
                "privacy_budget": limit / 1e6,
                "spent": spending.window.micro_epsilon / 1e6,
                "remaining": None if remaining is None else max(0, remaining) / 1e6,
                "remaining_limit": binding,
                "accounting": settings.accounting.value,
                "spent_rho": spent_rho / RHO_STEPS,
                "rho_limit": None if rho_limit is None else rho_limit.rho_steps / RHO_STEPS,
                "remaining_rho": None if rho_limit is None else max(0, rho_limit.rho_steps - spent_rho) / RHO_STEPS,
                "lifetime_budget": settings.lifetime_budget,
                "lifetime_epsilon": spending.lifetime.micro_epsilon / 1e6,
                "lifetime_delta": spending.lifetime.delta_steps / 1e12,
                "enforced": not suspended,
                "window": standing.window,
                "window_ends": window_ends,
            }
        )
    return views


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsLeft:
    """How many runs one limit still holds.

    Attributes:
        runs: >= 0.
        limit: its name, as in the refusal `budget_exhausted`.
        counts: what it limits: `epsilon`, `delta` or `rho`.
        party_name: whose budget it is; None for a room's.
    """

    runs: int
    limit: str
    counts: str
    party_name: str | None

    def as_json(self) -> dict[str, object]:
        """Return which limit it is."""
        return {"limit": self.limit, "counts": self.counts, "party_name": self.party_name}


def runs_left(payers: Sequence[Payer], standing: Standing) -> RunsLeft | None:
    """Return what the limit that binds first holds of runs that cost what these budgets pay for one.

    None where nothing limits them: a free run. Runs without a release, which are limited too, are not looked at.
    """
    found: list[RunsLeft] = []

    def limited(limit: str, left: int, price: int, *, counts: str, party: str | None) -> None:
        if price:
            found.append(RunsLeft(runs=max(0, left) // price, limit=limit, counts=counts, party_name=party))

    for payer in payers:
        settings, spending = standing.records[payer.budget].settings, standing.spending[payer.budget]
        rho_limit, price, rho, party = rho_limit_of(settings), payer.price, payer.rho_price, payer.budget.party
        for name, left in _left_of_epsilon(settings, spending):
            limited(name, left, price.micro_epsilon, counts="epsilon", party=party)
        if rho_limit is None:
            left = WINDOW_DELTA_STEPS - spending.window.delta_steps
            limited(_WINDOW_LIMIT, left, price.delta_steps, counts="delta", party=party)
        else:
            left = rho_limit.rho_steps - spending.window_rho.rho_steps
            limited(_WINDOW_LIMIT, left, rho.rho_steps, counts="rho", party=party)
            left = rho_limit.delta_steps - spending.window_rho.delta_steps
            limited(_WINDOW_LIMIT, left, rho.delta_steps, counts="delta", party=party)
    together = sum(payer.price.micro_epsilon for payer in payers)
    for name, left in _left_in_room(standing.room):
        limited(name, left, together, counts="epsilon", party=None)
    return min(found, key=lambda one: one.runs, default=None)


def _left_of_epsilon(settings: PrivacySettings, spending: Spending) -> list[tuple[str, int]]:
    """Return what each limit of a budget that counts epsilon has left, in micro-epsilon, by its name."""
    left = []
    if settings.accounting is Accounting.EPSILON:
        left.append((_WINDOW_LIMIT, limit_micro_epsilon(settings.privacy_budget) - spending.window.micro_epsilon))
    if settings.lifetime_budget is not None:
        spent = spending.lifetime.micro_epsilon
        left.append(("lifetime_budget", limit_micro_epsilon(settings.lifetime_budget) - spent))
    return left


def _left_in_room(room: RoomStanding | None) -> list[tuple[str, int]]:
    """Return what each limit of a room has left, in micro-epsilon, by its name."""
    if room is None:
        return []
    budget = room.record.budget
    limits = (
        ("room_budget", budget.per_window, room.window),
        ("lifetime_room_budget", budget.lifetime, room.lifetime),
    )
    return [(n, limit_micro_epsilon(limit) - spent.micro_epsilon) for n, limit, spent in limits if limit is not None]
