"""The named arguments of every procedure, parsed once; the same names over HTTP, in docs and in the audit log."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import msgspec

from cleanroom.errors import InvalidRequestError
from cleanroom.use_cases.unfit_arguments import sentence_of

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=100)]
_RUN_ID = r"^[A-Za-z0-9_-]{8,64}$"
RunId = Annotated[str, msgspec.Meta(pattern=_RUN_ID)]
TemplateText = Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]

_PATTERNS = {_RUN_ID: "8 to 64 of the letters a to z and A to Z, digits, _ and -"}


class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all argument lists; unknown names are refused."""


class NoArguments(Arguments, frozen=True, kw_only=True):
    """The procedure takes none."""


class CleanRoomArguments(Arguments, frozen=True, kw_only=True):
    """A procedure on one room."""

    cleanroom_name: Name


class PinnedEntities(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the owner decides about entity columns, over what was detected (B-05)."""

    pin: dict[str, Name] = {}
    unpin: tuple[str, ...] = ()


class LinkDatasets(CleanRoomArguments, frozen=True, kw_only=True):
    """Link tables by name: the objects under `<party>/<name>/` of the tables bucket.

    policies: per table `max_rows`, `max_groups`, `bounds`, `domains`, `min_entities`.
    entity_columns: per table `{"pin": {column: kind}, "unpin": [column]}`.
    """

    tables: Names
    policies: dict[str, dict[str, Any]] = {}
    entity_columns: dict[str, PinnedEntities] = {}


class ViewStatements(CleanRoomArguments, frozen=True, kw_only=True):
    """Statements of windows after one; -1 begins with the first."""

    after_window: Annotated[int, msgspec.Meta(ge=-1, le=10**9)] = -1
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 31


class ViewAuditLog(Arguments, frozen=True, kw_only=True):
    """A history: the account's, a room's, or one party's charges in it; `after` is `next` of the page before."""

    cleanroom_name: Name | None = None
    party_name: Annotated[str, msgspec.Meta(min_length=1, max_length=127)] | None = None
    after: Annotated[str, msgspec.Meta(max_length=64)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class ViewOwnAuditLog(CleanRoomArguments, frozen=True, kw_only=True):
    """The caller's part of a room's history; `after` is `next` of the page before."""

    of: Literal["changes", "runs", "provider_runs"] = "changes"
    after: Annotated[str, msgspec.Meta(max_length=64)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class SuggestBounds(CleanRoomArguments, frozen=True, kw_only=True):
    """Propose bounds for a linked table of the caller's own.

    group_columns: by which templates are meant to group. columns: whose ranges are asked for; empty for all that can
    have one.
    """

    table: Name
    group_columns: Annotated[tuple[Name, ...], msgspec.Meta(max_length=8)] = ()
    columns: Annotated[tuple[Name, ...], msgspec.Meta(max_length=30)] = ()


class UnlinkDatasets(CleanRoomArguments, frozen=True, kw_only=True):
    """Unlink tables by name."""

    tables: Names


class SetColumns(CleanRoomArguments, frozen=True, kw_only=True):
    """Columns that a policy allows, each as `table:column`; they replace the earlier list of the tables named."""

    table_and_col_names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1000)]


class AddCustomSqlTemplate(CleanRoomArguments, frozen=True, kw_only=True):
    """Add or overwrite a template."""

    template_name: Name
    template: TemplateText
    sensitivity: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1.0
    dialect: Name = "snowflake"


class TemplateArguments(CleanRoomArguments, frozen=True, kw_only=True):
    """A procedure on one template."""

    template_name: Name


class AddConsumers(CleanRoomArguments, frozen=True, kw_only=True):
    """Add consumers, all with the same settings; None leaves a consumer's settings as they are (new ones: DP off)."""

    consumer_names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=100)]
    privacy_settings: dict[str, Any] | None = None


class RemoveConsumers(CleanRoomArguments, frozen=True, kw_only=True):
    """Remove consumers; what they spent stays spent."""

    consumer_names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=100)]


class SetPrivacySettings(CleanRoomArguments, frozen=True, kw_only=True):
    """Overwrite the whole settings record of a party (B-17).

    party_name: whose runs the settings rule. template_name: None for all custom templates.
    """

    party_name: Name
    template_name: Name | None = None
    privacy_settings: dict[str, Any]


class SetRoomBudget(CleanRoomArguments, frozen=True, kw_only=True):
    """Limit what all parties of a room may spend together; None, or left out, is no limit.

    room_budget: epsilon per budget window. lifetime_room_budget: epsilon over all windows, never renewed.
    """

    room_budget: Annotated[int, msgspec.Meta(ge=0, le=10**9)] | None = None
    lifetime_room_budget: Annotated[int, msgspec.Meta(ge=0, le=10**9)] | None = None


class EnableTemplatesForProviderRun(CleanRoomArguments, frozen=True, kw_only=True):
    """Let the provider run these templates on the consumer's tables, with DP on or off (B-72)."""

    template_names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=100)]
    differential: Literal[0, 1] = 1


class RunArguments(CleanRoomArguments, frozen=True, kw_only=True):
    """What a run, a quote and a rendering share.

    provider_tables, consumer_tables: become `source_table[]` and `my_table[]`, in order.
    arguments: the template's own variables.
    clipping_estimate: measure also how much the bounds cut off, for this share of what the aggregates cost, on top of
    it; where the owners of all protected tables agreed. Left out, nothing of it is measured, or paid.
    post_processing: what to do with the noisy numbers, for nothing: `nonnegative_counts` shows counts below 0 as 0;
    `consistent_totals` makes the totals of ROLLUP, CUBE and GROUPING SETS agree with their parts.
    """

    template_name: Name
    consumer_tables: Names = ()
    provider_tables: Names = ()
    arguments: dict[str, Any] = {}
    clipping_estimate: Annotated[float, msgspec.Meta(ge=0.001, le=1)] | None = None
    post_processing: tuple[Literal["nonnegative_counts", "consistent_totals"], ...] = ()


class ProviderRunArguments(RunArguments, frozen=True, kw_only=True):
    """A quote or an explanation of a provider's run over a consumer's tables."""

    consumer_name: Name


class RunAnalysis(RunArguments, frozen=True, kw_only=True):
    """Run a template.

    run_id: the caller's idempotency key; the same id never charges twice. mode: `async` answers at once and is polled.
    replay: what happens where the same question over the same data was paid for before: `allow` gives its stored
    release again, for nothing; `never` runs it with fresh noise, at its price; `only` refuses where there is none.
    """

    run_id: RunId | None = None
    mode: Literal["sync", "async"] = "sync"
    replay: Literal["allow", "never", "only"] = "allow"


class SubmitAnalysisRequest(RunAnalysis, frozen=True, kw_only=True):
    """The provider runs a template over a consumer's tables."""

    consumer_name: Name


class AddNoise(CleanRoomArguments, frozen=True, kw_only=True):
    """Noise for numbers that a pipeline computed itself, charged to the caller's budget.

    values: the numbers. sensitivity: how far, in the norm of the mechanism (L1, or L2 with `gaussian`), one entity can
    move the whole list; the caller answers for it. In the ranges taken every noise can be drawn exactly: nothing is
    charged for noise that cannot be had.
    """

    values: Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    sensitivity: Annotated[float, msgspec.Meta(ge=1e-100, le=1e100)]
    epsilon: Annotated[float, msgspec.Meta(ge=1e-6, le=1e6)]
    gaussian: bool = False
    delta: Annotated[float, msgspec.Meta(ge=1e-30, le=1e-3)] = 1e-6
    run_id: RunId | None = None


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


def parse_arguments(kind: type[ArgumentsT], body: bytes) -> ArgumentsT:
    """Read a JSON body as the arguments of one procedure.

    Raises:
        InvalidRequestError: not JSON, or an argument is missing, unknown, of a wrong type or out of range. The
            sentence names the argument, never its value.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(
            f"the arguments do not fit: {sentence_of(kind, str(error), patterns=_PATTERNS)}"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("the body is not valid JSON") from error
