"""FLATTEN, UNNEST and the like in FROM: a row becomes one row for each element of an array of its own. Pure.

The rows that come of a row are its owner's, and depend on it alone. How many they are is bounded after, as with joins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from sqlglot import exp

from cleanroom.rooms.tables import ColumnType
from cleanroom.templates.expressions import translate
from cleanroom.templates.public_values import with_null
from cleanroom.templates.refusals import only, refuse
from cleanroom.templates.relations import Item, Output, Relation, RowScope, World, instantiate, made_optional
from cleanroom.templates.scalars import MOST_ELEMENTS, Drawn, Scalar, Span
from cleanroom.templates.trees import aliased, column, fragment, named
from cleanroom.templates.written import one_query

_FLATTENED = 6  # SEQ, KEY, PATH, INDEX, VALUE, THIS


@dataclass(frozen=True, kw_only=True, slots=True)
class Flattened:
    """One FLATTEN or UNNEST as it was written.

    Attributes:
        array: what is made rows of.
        name: of the item, or empty.
        value: name of the column of elements.
        index: name of the column of places, or empty.
        first: number of the first place.
        outer: a row without elements stays, with NULL.
        node: for refusals.
    """

    array: exp.Expr
    name: str
    value: str
    index: str
    first: int
    outer: bool
    node: exp.Expr


def flattened(node: exp.Expr) -> Flattened | None:
    """Return what a source of FROM is, if it makes rows of an array; None for other sources.

    Raises:
        TemplateRefusedError: rule `unsupported_source`: a form without a meaning here.
    """
    if isinstance(node, exp.Unnest):
        return _unnested(node)
    if not isinstance(node, exp.Lateral | exp.TableFromRows):
        return None
    call = node.this
    given = node.args.get("alias")
    alias = given if isinstance(given, exp.TableAlias) else exp.TableAlias()
    names = [c.name for c in alias.args.get("columns") or []]
    only(node, {"this", "alias", "view", "outer", "ordinality"} if isinstance(node, exp.Lateral) else {"this", "alias"})
    if isinstance(call, exp.SplitToTable):
        only(call, {"this", "expression"})
        if names:
            _refuse("name the columns where they are used: s.value, s.index", at=node)
        split = exp.Split(this=call.this, expression=call.expression)
        return Flattened(array=split, name=alias.name, value="value", index="index", first=1, outer=False, node=node)
    if type(call) is not exp.Explode:
        return None
    only(call, {"this", "expressions"})
    array, outer = call.this, bool(node.args.get("outer"))
    arguments = [array, *call.expressions]
    if node.args.get("view"):
        if len(arguments) != 1 or len(names) != 1:
            _refuse("write LATERAL VIEW EXPLODE(array) t AS x", at=node)
        return Flattened(array=array, name=alias.name, value=names[0], index="", first=0, outer=outer, node=node)
    if isinstance(array, exp.Kwarg):
        inputs = [a.expression for a in arguments if isinstance(a, exp.Kwarg) and a.this.name.lower() == "input"]
        rest = [a for a in arguments if not (isinstance(a, exp.Kwarg) and a.this.name.lower() == "input")]
        outer = _outer(rest, at=node)
        if len(inputs) != 1:
            _refuse("write FLATTEN(input => array), also with outer => TRUE", at=node)
        array = inputs[0]
    elif len(arguments) != 1:
        _refuse("write FLATTEN(input => array), also with outer => TRUE", at=node)
    if len(names) not in (0, _FLATTENED):
        _refuse("write FLATTEN(…) f, and f.value and f.index where they are used", at=node)
    index, value = (names[3], names[4]) if names else ("index", "value")
    return Flattened(array=array, name=alias.name, value=value, index=index, first=0, outer=outer, node=node)


def _outer(arguments: list[exp.Expr], *, at: exp.Expr) -> bool:
    """Return what `outer => …` says; `recursive => FALSE` and `mode => 'ARRAY'` say what is so anyway."""
    outer = False
    for argument in arguments:
        name = argument.this.name.lower() if isinstance(argument, exp.Kwarg) else ""
        value = argument.expression if isinstance(argument, exp.Kwarg) else None
        if name == "outer" and isinstance(value, exp.Boolean):
            outer = bool(value.this)
        elif not (
            (name == "recursive" and isinstance(value, exp.Boolean) and not value.this)
            or (name == "mode" and isinstance(value, exp.Literal) and str(value.this).upper() == "ARRAY")
        ):
            _refuse("write FLATTEN(input => array), also with outer => TRUE", at=at)
    return outer


def _unnested(node: exp.Unnest) -> Flattened:
    only(node, {"expressions", "alias", "offset"})
    given = node.args.get("alias")
    alias = given if isinstance(given, exp.TableAlias) else exp.TableAlias()
    names = [c.name for c in alias.args.get("columns") or []]
    if len(node.expressions) != 1 or len(names) > 1:
        _refuse("write UNNEST(array) AS u(x), one for each array", at=node)
    offset = node.args.get("offset")
    index = offset.name if isinstance(offset, exp.Identifier) else "offset" if offset else ""
    value = names[0] if names else alias.name or "value"
    return Flattened(
        array=node.expressions[0], name=alias.name, value=value, index=index, first=0, outer=False, node=node
    )


def _refuse(cure: str, *, at: exp.Expr) -> None:
    refuse("rows are made of an array in this form only: FLATTEN, UNNEST", rule="unsupported_source", cure=cure, at=at)


def written_elements(source: Flattened) -> exp.Query | None:
    """Return an array of literals as rows that the query brings along, or None for any other array.

    They are public rows then, whose columns give public keys; not so where rows without elements stay.
    """
    array = source.array.unnest()
    if not isinstance(array, exp.Array) or not array.expressions or array.find(exp.Column) or source.outer:
        return None
    if len(array.expressions) > MOST_ELEMENTS:
        return None
    rows = []
    for place, entry in enumerate(array.expressions):
        number = [(source.index, exp.Literal.number(place + source.first))] if source.index else []
        rows.append([(source.value, entry), *number])
    return one_query(rows)


def flattened_item(
    source: Flattened, scope: RowScope, *, world: World, alias: str, optional: bool
) -> tuple[Item, exp.Lateral]:
    """Return the elements as an item of FROM, and its tree.

    Args:
        source: what is made rows of what.
        scope: of the items on its left.
        world: of the rows so far.
        alias: for the item, a fresh one.
        optional: a row without elements stays.

    Raises:
        TemplateRefusedError: the array's own, or rule `type_mismatch`: it is none.
    """
    array = translate(source.array, scope, arrays=True)
    if array.type is not ColumnType.ARRAY or array.element is None:
        kind = "NULL" if array.type is None else array.type.value
        refuse(
            f"only arrays are made rows of, and this is {kind}",
            rule="type_mismatch",
            cure="name a column that holds arrays, or SPLIT a text",
            at=source.node,
        )
    places = Span(lo=Fraction(source.first), hi=Fraction(source.first + MOST_ELEMENTS - 1))
    value = Scalar(
        sql=column("value", alias),
        type=array.element,
        size=1 + array.size,
        span=array.span,
        values=with_null(array.values),
        declared=array.values is not None,
        noisy=array.noisy,
    )
    index = Scalar(
        sql=column("index", alias), type=ColumnType.INTEGER, nullable=False, size=1 + array.size, span=places
    )
    outputs = [Output(name=source.value, inner="value", scalar=value)]
    if source.index:
        outputs.append(Output(name=source.index, inner="index", scalar=index))
    tree = _elements(array.sql, first=source.first)
    relation = Relation(
        world=world,
        tree=tree,
        outputs=tuple(outputs),
        identity=() if world is World.OWNED else ("index",),
    )
    item = instantiate(relation, name=source.name or alias, alias=alias)
    item = _drawn(item, array, first=source.first)
    lateral = exp.Lateral(
        this=exp.Subquery(this=tree.copy()), alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True))
    )
    return (made_optional(item) if optional else item), lateral


def _elements(array: exp.Expr, *, first: int) -> exp.Select:
    places = fragment("UNNEST(RANGE(LEN(:a)))", a=array)
    if first:
        places = fragment(f"UNNEST(RANGE({first}, LEN(:a) + {first}))", a=array)
    return exp.select(named(fragment("UNNEST(:a)", a=array), "value"), named(places, "index"))


def _drawn(item: Item, array: Scalar, *, first: int) -> Item:
    """Return the item with what its columns hang on: a row of a public relation, if the array does, else nothing."""
    drawn = None
    if array.drawn is not None:
        rows = _elements(array.drawn.expression, first=first).from_(array.drawn.item)
        drawn = Drawn(
            tag=(item.alias, *array.drawn.tag),
            item=aliased(rows, item.alias),
            expression=exp.null(),
            outer=array.drawn.outer,
        )
    columns = {
        name: None
        if known is None
        else replace(known, drawn=None if drawn is None else replace(drawn, expression=known.sql.copy()))
        for name, known in item.columns.items()
    }
    return replace(item, columns=columns)
