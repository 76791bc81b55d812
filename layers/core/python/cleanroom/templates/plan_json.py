"""A plan as JSON and back: what is charged by digest, and what passes to add_noise. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec

from cleanroom.privacy.bins import Bins
from cleanroom.privacy.noise import noise_from_json
from cleanroom.templates.plan import (
    Clipping,
    ClippingEstimate,
    MeasuredColumn,
    Measurement,
    PartitionSelection,
    Plan,
    PostProcessing,
    PricePart,
    Quantile,
    ReleaseQuery,
    TableUse,
)


def plan_as_json(plan: Plan) -> bytes:
    """Return the plan as JSON with sorted keys: equal plans give equal bytes. Fractions are text, `n/d`."""
    return msgspec.json.encode(_encodable(plan), enc_hook=_encode, order="deterministic")


def plan_from_json(text: bytes) -> Plan:
    """Read back what `plan_as_json` wrote.

    Raises:
        ValueError: it is not such a text.
    """
    fields = msgspec.json.decode(text)
    fields["measurements"] = tuple(_measurement(m) for m in fields["measurements"])
    fields["release"] = _convert(fields["release"], ReleaseQuery)
    fields["parts"] = tuple(_convert(p, PricePart) for p in fields["parts"])
    fields["post"] = _convert(fields.get("post", {}), PostProcessing)
    fields["tables"] = tuple(_convert(t, TableUse) for t in fields["tables"])
    for name in ("exact_columns", "notes", "protected_owners"):
        fields[name] = tuple(fields[name])
    return Plan(**fields)


def _encodable(plan: Plan) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(plan, enc_hook=_encode)
    for written, measurement in zip(fields["measurements"], plan.measurements, strict=True):
        for column_written, column in zip(written["columns"], measurement.columns, strict=True):
            column_written["noise"] = column.noise.as_json()
            if column.other_noise is None:  # left out, as before there were other rows: equal questions stay equal
                del column_written["other_noise"]
            else:
                column_written["other_noise"] = column.other_noise.as_json()
            if column.vector is None:
                del column_written["vector"]
        if measurement.other_row is None:
            del written["other_row"]
    return fields


def _measurement(fields: dict[str, Any]) -> Measurement:
    selection = fields["partition_selection"]
    fields["partition_selection"] = None if selection is None else _convert(selection, PartitionSelection)
    fields["columns"] = tuple(_column(c) for c in fields["columns"])
    fields["keys"] = tuple(fields["keys"])
    fields["quantiles"] = tuple(_convert(q, Quantile) for q in fields["quantiles"])
    for name, kind in (("clipping", Clipping), ("estimate", ClippingEstimate)):
        given = fields.get(name)
        fields[name] = None if given is None else _convert(given, kind)
    return Measurement(**fields)


def _column(fields: dict[str, Any]) -> MeasuredColumn:
    noise = noise_from_json(fields.pop("noise"))
    price = _convert({"what": "", "price": fields.pop("price")}, PricePart).price
    bins = fields.pop("bins", None)
    other_noise = fields.pop("other_noise", None)
    return MeasuredColumn(
        **{**fields, "unit": Fraction(fields["unit"])},
        noise=noise,
        price=price,
        bins=None if bins is None else _convert(bins, Bins),
        other_noise=None if other_noise is None else noise_from_json(other_noise),
    )


def _convert(fields: object, kind: type[Any]) -> Any:
    return msgspec.convert(fields, kind, dec_hook=_decode)


def _encode(value: object) -> object:
    if isinstance(value, Fraction):
        return str(value)
    raise NotImplementedError(f"a plan holds no {type(value).__name__}")


def _decode(kind: type[Any], value: Any) -> Any:
    if kind is Fraction:
        return Fraction(value)
    raise NotImplementedError(f"a plan holds no {kind.__name__}")
