"""Which columns of a table are entity columns, by their names and sampled values, with the evidence (B-03). Pure.

A name is cut into words and read from its end: `billing_customer_id` is a customer's, `customer_order_id` an order's.
Then the values must agree. Values alone decide only where they have a form, or check digits, that nothing else has.

Not entities, by choice: ids of one row or one visit (order, invoice, transaction, event, session, ticket), of things
and places (product, store, flight), names of persons, and a column called just `id`. Behind each stands an entity
column of its own, or the owner pins one (B-05).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cleanroom.rooms.entity_names import (
    BARE_HOLDERS,
    DIGEST_WORDS,
    HOLDERS,
    ID_WORDS,
    NAMES,
    WEAK_ID_WORDS,
    WHOLE_NAMES,
    called,
    name_words,
)
from cleanroom.rooms.entity_values import VALUE_KINDS, digest_algorithm, is_phone
from cleanroom.rooms.tables import Column, ColumnType, EntityColumn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Kinds whose names are common words too: half of the values must agree. Registrations of other countries look
# otherwise, so that `tail number` is believed and only the bare words must agree.
_MUST_AGREE = frozenset(("email", "phone", "ip_address", "mac_address", "iban", "vin"))
_WORDS_MUST_AGREE = frozenset(("aircraft", "plane"))
_ALONE = 0.8  # share of the values from which they decide without the name
_ALONE_DISTINCT = 10  # different values among them
_NEUTRAL_WORDS = DIGEST_WORDS | {"id", "key", "identifier", "person"}
_FEW = 20  # a code of no more values is a category
_TYPES = (ColumnType.TEXT, ColumnType.INTEGER, ColumnType.DECIMAL)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Values:
    """The non-null sampled values of one column: how many, how many different, and what share looks like each kind."""

    count: int
    distinct: int
    shares: Mapping[str, float]
    digests: tuple[str, float] | None  # algorithm, share
    phones: float  # share that could be phone numbers in any writing
    compact: float  # share without blanks and not long: an id is one word
    coded: float  # share of those with a digit

    @staticmethod
    def of(samples: Sequence[str | None], *, distinct: int | None) -> _Values:
        values = [text for value in samples if value is not None and (text := value.strip())]
        count = len(values)
        digests = Counter(algorithm for value in values if (algorithm := digest_algorithm(value)) is not None)
        digest = digests.most_common(1)
        return _Values(
            count=count,
            distinct=len(set(values)) if distinct is None else distinct,
            shares={
                kind: sum(map(value_kind.matches, values)) / max(count, 1) for kind, value_kind in VALUE_KINDS.items()
            },
            digests=(digest[0][0], digest[0][1] / count) if digest else None,
            phones=sum(map(is_phone, values)) / max(count, 1),
            compact=sum(_compact(value) for value in values) / max(count, 1),
            coded=sum(_compact(value) and any(map(str.isdigit, value)) for value in values) / max(count, 1),
        )


def detect_entity_columns(
    columns: Sequence[Column],
    samples: Mapping[str, Sequence[str | None]],
    distinct: Mapping[str, int] | None = None,
) -> tuple[EntityColumn, ...]:
    """Return the entity columns of a table, in the order of its columns.

    Args:
        columns: the schema.
        samples: column -> up to 1,000 values as text, None for NULL; a column without is judged by its name.
        distinct: column -> number of different values in the table, where known; else counted in the samples.

    Returns:
        Columns with a stable kind and evidence. Two columns can be joined where their kinds agree. Evidence quotes no
        value, no exact share and no number of rows: it is shown to the room, and those are facts about rows.
    """
    found = []
    for column in columns:
        if column.type not in _TYPES:
            continue
        known = None if distinct is None else distinct.get(column.name)
        entity = _detect(column, _Values.of(samples.get(column.name, ()), distinct=known))
        if entity is not None:
            found.append(entity)
    return tuple(found)


def _detect(column: Column, values: _Values) -> EntityColumn | None:
    words = name_words(column.name)
    named = _kind_by_name(words, values)
    says = () if named is None else (f"the name says {called(named)}",)
    kind, share = max(
        ((kind, share) for kind, share in values.shares.items() if VALUE_KINDS[kind].alone), key=lambda item: item[1]
    )
    if share >= _ALONE and (named == kind or values.distinct >= _ALONE_DISTINCT):
        evidence = (_share(share, VALUE_KINDS[kind].called), *says)
        return EntityColumn(column=column.name, kind=kind, evidence=evidence)
    if named is None and set(words) & DIGEST_WORDS and set(words) <= _NEUTRAL_WORDS:
        named, says = "id", ("the name says hashed id",)
        if values.digests is None or values.digests[1] < _ALONE:
            return None
    if named is None:
        return None
    if values.digests is not None and values.digests[1] >= 0.5:
        algorithm, share = values.digests
        evidence = (_share(share, f"{algorithm.upper()} digests"), *says)
        return EntityColumn(column=column.name, kind=f"hashed_{named}_{algorithm}", evidence=evidence)
    return _by_name(column, named, words, values, says)


def _by_name(
    column: Column, kind: str, words: tuple[str, ...], values: _Values, says: tuple[str, ...]
) -> EntityColumn | None:
    """Return the entity column that the name speaks of, or None where the values contradict the name."""
    if values.count == 0:
        hashed = bool(set(words) & DIGEST_WORDS) or "hem" in words
        evidence = (*says, "there was no value to look at")
        return EntityColumn(column=column.name, kind=f"hashed_{kind}" if hashed else kind, evidence=evidence)
    share = values.phones if kind == "phone" else values.shares.get(kind, 0.0)
    if share < 0.5 and (kind in _MUST_AGREE or words[-1] in _WORDS_MUST_AGREE):
        return None
    if values.compact < 0.5 and kind.endswith("_id"):
        return None
    looks = (_share(share, VALUE_KINDS[kind].called),) if kind in VALUE_KINDS and share >= 0.5 else ()
    return EntityColumn(column=column.name, kind=kind, evidence=(*looks, *says))


def _kind_by_name(words: tuple[str, ...], values: _Values) -> str | None:
    bare = [word for word in words if word not in DIGEST_WORDS and not word.isdigit()]
    if not bare:
        return None
    if " ".join(bare) in WHOLE_NAMES:
        return WHOLE_NAMES[" ".join(bare)]
    for length in range(min(4, len(bare)), 0, -1):
        kind = NAMES.get(" ".join(bare[-length:]))
        if kind is not None:
            return kind
    if len(bare) > 1 and bare[-1] in WEAK_ID_WORDS:
        return HOLDERS.get(bare[-2]) if values.count == 0 or values.distinct > _FEW else None
    holder = list(bare)
    while len(holder) > 1 and holder[-1] in ID_WORDS:
        holder.pop()
    if len(holder) < len(bare) or len(bare) < len(words):
        return HOLDERS.get(holder[-1])
    if len(bare) == 1 and bare[0] in BARE_HOLDERS and values.distinct > _FEW and values.coded >= _ALONE:
        return HOLDERS[bare[0]]
    return None


def _compact(value: str) -> bool:
    return " " not in value and len(value) <= 128


def _share(share: float, looks_like: str) -> str:
    floor = next(floor for floor in (95, 80, 50) if share * 100 >= floor)
    return f"at least {floor} % of up to 1,000 sampled values look like {looks_like}"
