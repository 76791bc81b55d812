"""Which part of Jinja templates may use: a template's tree is checked before any code is made from it. Pure.

The list is of what is allowed. It is what keeps a template from Python's insides, beside Jinja's own sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateSyntaxError

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates.jinja_filters import FILTERS
from cleanroom.templates.literals import refused
from cleanroom.templates.policy_filters import POLICY_FILTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_TEMPLATE = 65_536  # characters of a template
_MAX_DEPTH = 60  # nesting of a template's tree

RESERVED = frozenset(
    (
        *("privacy", "source_table", "my_table", "cleanroom", "bind", "range", "loop"),
        *("self", "super", "caller", "varargs", "kwargs", "context", "environment"),
        *("true", "false", "none", "True", "False", "None"),
    )
)
_NODES = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign),
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.CondExpr),
    *(nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Concat),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos),
)
METHODS = frozenset(("upper", "lower", "strip", "split", "startswith", "endswith", "items", "keys", "values"))
_LOOP = frozenset(("index", "index0", "revindex", "revindex0", "first", "last", "length"))
TESTS = frozenset(
    (
        *("defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence"),
        *("iterable", "true", "false", "even", "odd", "divisibleby", "in"),
        *("eq", "equalto", "ne", "gt", "ge", "lt", "le", "==", "!=", ">", ">=", "<", "<="),
    )
)

_PARSER = Environment(autoescape=False)  # noqa: S701 - parses only


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedTemplate:
    """A template's tree that uses nothing but what is allowed.

    Attributes:
        tree: as parsed; `compile_tree` changes it, once.
        arguments: the variables that a caller gives, in order of appearance.
    """

    tree: nodes.Template
    arguments: tuple[str, ...]


def parse(text: str) -> ParsedTemplate:
    """Parse a template and check its tree.

    Raises:
        TemplateRefusedError: too long, not Jinja, or a construct that is not on the list; with the line where known.
    """
    if len(text) > MAX_TEMPLATE:
        raise refused(
            f"a template has at most {MAX_TEMPLATE:,} characters", rule="template_too_long", cure="shorten the template"
        )
    try:
        tree = _PARSER.parse(text)
        _check_depth(tree)
        _check_tree(tree)
    except TemplateSyntaxError as error:
        raise TemplateRefusedError(
            f"line {error.lineno} of the template is not Jinja as it is allowed here",
            rule="jinja_syntax",
            cure="close every {{ }}, {% %} and {# #}, and use the listed constructs and filters only",
            line=error.lineno,
        ) from None
    except ValueError:  # Jinja's lexer makes integers of digits, and Python reads no more than 4,300 of them
        raise refused(
            "a number in the template has more digits than can be read",
            rule="jinja_syntax",
            cure="write numbers of at most 38 digits",
        ) from None
    except RecursionError:
        raise too_deep() from None
    names = dict.fromkeys(_free(tree.body, set()))
    return ParsedTemplate(tree=tree, arguments=tuple(name for name in names if name not in RESERVED))


def reserved_name(name: str) -> bool:
    """Return whether no argument and no `{% set %}` may have this name."""
    return name in RESERVED or name.startswith("_") or not (name.isascii() and name.isidentifier()) or len(name) > 64


def _free(body: Iterable[nodes.Node], bound: set[str]) -> Iterator[str]:
    """Give the names that a body reads and that nothing before it has surely set; adds to `bound` what it sets.

    Jinja has this too, but finds it by making code, and that computes constants such as 'x' * 10**8.
    """
    for node in body:
        match node:
            case nodes.Name(ctx="load", name=name):
                if name not in bound:
                    yield name
            case nodes.Assign():
                yield from _free([node.node], bound)
                bound |= _targets(node.target)
            case nodes.If():
                yield from _free([node.test], bound)
                branches = [(part, set(bound)) for part in (node.body, node.else_)]
                for elif_ in node.elif_:
                    yield from _free([elif_.test], set(bound))
                    branches.append((elif_.body, set(bound)))
                for part, inside in branches:
                    yield from _free(part, inside)
                bound |= set.intersection(*(inside for _, inside in branches))
            case nodes.For():
                yield from _free([node.iter], bound)
                inside = bound | _targets(node.target) | {"loop"}
                yield from _free([*([node.test] if node.test else []), *node.body], inside)
                yield from _free(node.else_, set(bound))
            case _:
                yield from _free(node.iter_child_nodes(), bound)


def _targets(target: nodes.Node) -> set[str]:
    names = {name.name for name in target.find_all(nodes.Name)}
    return names | {target.name} if isinstance(target, nodes.Name) else names


def _check_depth(tree: nodes.Node) -> None:
    level = [tree]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise too_deep()


def too_deep() -> TemplateRefusedError:
    """Return the refusal for a template nested beyond what Jinja or Python compile."""
    return refused("the template is nested too deeply", rule="template_too_deep", cure="split the expression")


def _check_tree(node: nodes.Node, *, in_loop: bool = False) -> None:
    reason = _not_allowed(node, in_loop=in_loop)
    if reason is not None:
        raise TemplateRefusedError(
            f"line {node.lineno} of the template uses {reason}, which templates do not have",
            rule="jinja_construct",
            cure="use {{ }}, if, for, set, the listed filters and tests, and range",
            line=node.lineno,
        )
    if isinstance(node, nodes.For):
        _check_tree(node.target, in_loop=in_loop)
        _check_tree(node.iter, in_loop=in_loop)
        for child in (*node.body, *((node.test,) if node.test else ())):
            _check_tree(child, in_loop=True)
        for child in node.else_:
            _check_tree(child, in_loop=in_loop)
        return
    for child in node.iter_child_nodes():
        _check_tree(child, in_loop=in_loop)


def _not_allowed(node: nodes.Node, *, in_loop: bool) -> str | None:
    if type(node) not in _NODES:
        return f"the construct {type(node).__name__.lower()}"
    match node:
        case nodes.Name(name=name, ctx="store") if reserved_name(name):
            return "a reserved name as the target of set or for"
        case nodes.Name(name=name):
            known = ("privacy", "source_table", "my_table", "range", *(("loop",) if in_loop else ()))
            return "a reserved or non-ASCII name" if reserved_name(name) and name not in known else None
        case nodes.For(recursive=True):
            return "a recursive loop"
        case nodes.Filter() | nodes.Test() if node.dyn_args is not None or node.dyn_kwargs is not None:
            return "starred arguments"
        case nodes.Filter(name=name, node=None):
            return "a filter block"
        case nodes.Filter(name=name):
            return _filter_not_allowed(node) if name in FILTERS else f"the filter {name}"
        case nodes.Test(name=name) if name not in TESTS:
            return f"the test {name}"
        case nodes.Call():
            return _call_not_allowed(node)
        case nodes.Getattr(node=nodes.Name(name="loop"), attr=attribute) if attribute not in _LOOP:
            return f"loop.{attribute}"
        case nodes.Getattr(attr=attribute) if attribute.startswith("_") or not attribute.isascii():
            return "a private or non-ASCII attribute"
        case nodes.Const(value=value) if isinstance(value, int) and abs(value) >= 10**38:
            return "a number of more than 38 digits"
        case nodes.Const(value=value) if isinstance(value, float) and not isfinite(value):
            return "a number that is too large"
    return None


def _filter_not_allowed(node: nodes.Filter) -> str | None:
    chain = [node.name]
    inner = node.node
    while isinstance(inner, nodes.Filter):
        chain.append(inner.name)
        inner = inner.node
    policies = [name for name in chain if name in POLICY_FILTERS]
    if len(policies) > 1 or (policies and set(chain) - POLICY_FILTERS - {"sqlsafe"}):
        return f"{policies[0]} together with another filter than sqlsafe"
    return None


def _call_not_allowed(node: nodes.Call) -> str | None:
    if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
        return "keyword or starred arguments of a call"
    match node.node:
        case nodes.Name(name="range", ctx="load"):
            return None
        case nodes.Getattr(attr=attribute) if attribute in METHODS:
            return None
    return "a call of something else than range and a few methods of text and mappings"
