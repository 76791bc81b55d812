"""The policy filters: what the owner has not listed cannot be named, however it is written (B-33, B-34)."""

import pytest

from cleanroom.errors import PolicyViolationError, TemplateRefusedError
from cleanroom.rooms.approved import Template
from cleanroom.rooms.settings import PrivacySettings
from cleanroom.rooms.tables import Column, ColumnType, LinkedTable, TablePolicy
from cleanroom.templates.render import render
from cleanroom.templates.template import CompileContext

FILTERS = ("join_policy", "column_policy", "join_and_column_policy", "activation_policy")


def table(owner: str, name: str, columns: tuple[str, ...], **policy) -> LinkedTable:
    return LinkedTable(
        owner=owner,
        name=name,
        columns=tuple(Column(name=c, type=ColumnType.TEXT, native_type="VARCHAR") for c in columns),
        policy=TablePolicy(**policy),
    )


FLIGHTS = table(
    "airline",
    "flights",
    ("tailnum", "dest", "Origin", "secret"),
    join_columns=("tailnum",),
    project_columns=("dest", "Origin"),
    activation_columns=("dest",),
)
PLANES = table("agency", "planes", ("tailnum", "segment"))


def rendered(text: str, *, reader: str = "agency", source=(FLIGHTS,), mine=(PLANES,), **arguments) -> str:
    context = CompileContext(reader=reader, settings=PrivacySettings(), source_tables=source, my_tables=mine)
    return render(Template(name="t", text=text), arguments, context).sql


def refused(text: str, **more) -> str:
    with pytest.raises(PolicyViolationError) as caught:
        rendered(text, **more)
    assert caught.value.rule == "policy_filter"
    return f"{caught.value} / {caught.value.cure}"


@pytest.mark.parametrize(
    ("filter_name", "listed"),
    [
        ("join_policy", {"tailnum"}),
        ("column_policy", {"dest", "Origin"}),
        ("join_and_column_policy", {"tailnum", "dest", "Origin"}),
        ("activation_policy", {"dest"}),
    ],
)
def test_a_filter_passes_what_its_policy_lists_and_nothing_else(filter_name, listed):
    """B-33"""
    for column in ("tailnum", "dest", "Origin", "secret"):
        for form in (column, column.upper(), f"p.{column}", f"P1.{column.lower()}", f'p."{column}"'):
            text = f"{{{{ x | {filter_name} | sqlsafe }}}}"
            if column in listed:
                assert rendered(text, x=form) == form
            else:
                assert filter_name in refused(text, x=form)


def test_a_checked_name_is_still_a_literal_without_sqlsafe():
    """B-31, B-33"""
    assert rendered("IDENTIFIER({{ x | column_policy }})", x="p.dest") == "IDENTIFIER('p.dest')"
    assert rendered("{{ x | sqlsafe | column_policy }}", x="p.dest") == "p.dest"


@pytest.mark.parametrize(
    "name",
    [
        "dest, secret",
        "dest/**/",
        "dest--",
        "dest ",
        " dest",
        "dest\n",
        "(dest)",
        "dest || secret",
        "p.dest.secret",
        "p . dest",
        "ｄest",
        "deſt",
        "dest\u200b",
        '"dest',
        '"dest" "x"',
        '"de""st"',
        '"DEST"',
        '"dest\x00"',
        "airline.flights.dest",
        "x.dest",
        "q1.dest",
        "$1",
        "dest::text",
        "",
        ".",
        "nothing",
        5,
        None,
        True,
        ["dest", "secret"],
        {"dest": 1},
    ],
)
@pytest.mark.parametrize("text", ["{{ x | column_policy | sqlsafe }}", "IDENTIFIER({{ x | column_policy }})"])
def test_nothing_but_a_listed_plain_or_exactly_quoted_name_passes(name, text):
    """B-33: case, quotes, Unicode and comments do not fool a filter."""
    refused(text, x=name)


def test_an_owner_without_a_policy_has_listed_nothing_and_the_cure_names_the_call():
    """B-33"""
    bare = table("airline", "flights", ("dest",))
    for filter_name, call in zip(
        FILTERS, ("set_join_policy", "set_column_policy", "set_join_policy", "set_activation_policy"), strict=True
    ):
        text = refused(f"{{{{ x | {filter_name} }}}}", x="dest", source=(bare,))
        assert "has set no" in text
        assert call in text
    assert "list is empty" in refused(
        "{{ x | column_policy }}", x="dest", source=(table("airline", "f", ("dest",), project_columns=()),)
    )


def test_ones_own_columns_are_not_checked_and_the_others_are_whoever_reads():
    """B-33"""
    assert rendered("{{ x | column_policy }}", x="c.segment") == "'c.segment'"
    assert rendered("{{ x | column_policy }}", x="segment") == "'segment'"
    assert rendered("{{ x | column_policy }}", x="p.secret", reader="airline") == "'p.secret'"
    refused("{{ x | column_policy }}", x="c.segment", reader="airline")


def test_a_name_without_alias_is_checked_in_every_table_of_the_others_that_has_it():
    """B-33: also where the reader has a column of that name."""
    refused("{{ x | column_policy }}", x="tailnum")
    assert rendered("{{ x | column_policy }}", x="c.tailnum") == "'c.tailnum'"
    second = table("airline", "crew", ("dest",), project_columns=())
    refused("{{ x | column_policy }}", x="dest", source=(FLIGHTS, second))
    refused("{{ x | column_policy }}", x="p1.dest", source=(FLIGHTS, second))


@pytest.mark.parametrize(
    "source",
    [
        "airline.flights c",
        "airline.flights AS C",
        "IDENTIFIER('airline.flights') c",
        "IDENTIFIER({{ source_table[0] }}) c",
        "(SELECT * FROM airline.flights) c",
        "agency.planes c JOIN (SELECT 1 FROM airline.flights c) x ON TRUE",
        'airline.flights "c"',
    ],
)
def test_an_alias_that_a_check_relied_on_is_a_table_of_its_side(source):
    """B-34"""
    text = f"SELECT {{{{ x | column_policy | sqlsafe }}}} FROM {source}"
    assert "alias c" in refused(text, x="c.tailnum")


def test_a_cte_cannot_take_such_an_alias_either():
    """B-34"""
    text = "WITH c AS (SELECT secret AS tailnum FROM airline.flights) SELECT {{ x | column_policy | sqlsafe }} FROM c"
    assert "alias c" in refused(text, x="c.tailnum")


def test_a_text_that_is_too_deep_to_look_for_aliases_is_refused():
    """It was left to the compiler, which reads it from another depth of the stack."""
    deep = "(" * 2_000 + "1" + ")" * 2_000
    text = f"SELECT {{{{ x | column_policy | sqlsafe }}}}, {deep} FROM IDENTIFIER({{{{ source_table[0] }}}}) p"
    with pytest.raises(TemplateRefusedError) as refusal:
        rendered(text, x="p.dest")
    assert refusal.value.rule == "too_large"


def test_honest_aliases_pass():
    """B-34"""
    text = (
        "SELECT {{ x | column_policy | sqlsafe }} FROM IDENTIFIER({{ source_table[0] }}) p "
        "JOIN IDENTIFIER({{ my_table[0] }}) c ON IDENTIFIER({{ y | join_policy }}) = c.tailnum"
    )
    assert "SELECT p.dest FROM" in rendered(text, x="p.dest", y="p.tailnum")
    assert "SELECT c.segment FROM" in rendered(text, x="c.segment", y="p.tailnum")


@pytest.mark.parametrize(
    "text",
    [
        "{{ x | upper | column_policy }}",
        "{{ x | column_policy | upper }}",
        "{{ x | column_policy | join_policy }}",
        "{{ x | trim | sqlsafe | column_policy }}",
        "{% set y = x | column_policy %}{{ y | upper }}",
        "{% set y = x | column_policy %}{{ (y ~ '_x') | sqlsafe }}",
        "{% set y = x | column_policy | sqlsafe %}{{ y ~ '_x' }}",
        "{% set y = x | column_policy %}{{ y + 'x' }}",
        "{% set y = [x] | column_policy %}{{ y | join(', ') }}",
        "{% set y = x | column_policy %}{{ y.upper() }}",
    ],
)
def test_a_policy_filter_goes_with_nothing_but_sqlsafe(text):
    """B-33"""
    with pytest.raises(TemplateRefusedError) as caught:
        rendered(text, x="dest")
    assert caught.value.rule in ("policy_filter_combined", "jinja_construct", "jinja_text", "jinja_call")


@pytest.mark.parametrize(
    "text",
    [
        "a{{ x | column_policy | sqlsafe }}",
        "{{ x | column_policy | sqlsafe }}_b",
        "'{{ x | column_policy | sqlsafe }}'",
    ],
)
def test_a_checked_name_cannot_become_part_of_another(text):
    """B-33"""
    with pytest.raises(TemplateRefusedError) as caught:
        rendered(text, x="dest")
    assert caught.value.rule == "literal_not_alone"


def test_a_list_of_names_is_checked_one_by_one():
    """B-33"""
    assert rendered("{{ x | column_policy | sqlsafe }}", x=["p.dest", "origin"]) == "p.dest, origin"
    text = "{% for d in x %}{{ d | column_policy | sqlsafe }}{% if not loop.last %}, {% endif %}{% endfor %}"
    assert rendered(text, x=["p.dest", "origin"]) == "p.dest, origin"
