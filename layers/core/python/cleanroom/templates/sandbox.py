"""The environment that templates run in, and its limits. Pure; used by `render`.

Jinja's sandbox keeps templates from Python's insides, but stops neither `'x' * 10**8` nor nested loops. So `jinja_tree`
has checked the tree, loops and concatenations are led through functions that count, and every operator is ours.
"""

from __future__ import annotations

from decimal import Decimal
from types import BuiltinMethodType
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from cleanroom.templates.jinja_filters import FILTERS, checked_is_final, guarded, policy_filter, text_of, too_much
from cleanroom.templates.jinja_tree import METHODS, TESTS, ParsedTemplate, too_deep
from cleanroom.templates.literals import MAX_ITEMS, MAX_STRING, CheckedName, CheckedSql, SqlText, refused
from cleanroom.templates.policy_filters import POLICY_FILTERS

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_STEPS = 50_000  # loop passes, each weighing the size of its body
MAX_WORK = 4_194_304  # characters and items computed in all


class _CountedTree(NodeTransformer):
    """Leads loops and concatenations through `_iterate` and `_concat`, which count."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        weight = 1 + sum(1 for child in node.body for _ in child.find_all(nodes.Node))
        self.generic_visit(node)
        node.iter = _filter(node.iter, "_iterate", nodes.Const(weight), lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        written = tuple(isinstance(child, nodes.Const) and isinstance(child.value, str) for child in node.nodes)
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return _filter(parts, "_concat", nodes.Const(written), lineno=node.lineno)


def _filter(node: Any, name: str, argument: nodes.Expr, *, lineno: int) -> nodes.Filter:
    return nodes.Filter(node, name, [argument], [], None, None, lineno=lineno)


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """One rendering: its operators, its filters, and how much of its allowance is used.

    Args:
        dialect: of the SQL.
        finalize: turns the value of each `{{ … }}` into text.
        policy: checks a value for a policy filter's name.
    """

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    intercepted_unops = frozenset(("+", "-"))

    def __init__(
        self,
        *,
        dialect: str,
        finalize: Callable[[Any], str] | None = None,
        policy: Callable[..., object] | None = None,
    ) -> None:
        super().__init__(undefined=StrictUndefined, cache_size=0, autoescape=False, optimized=False)
        self.dialect = dialect
        self.globals = {"range": self._range}
        self.tests = {name: test for name, test in self.tests.items() if name in TESTS}
        self.filters = {
            **{
                name: guarded(function, dialect=dialect, count=self.count, measured=self.measured)
                for name, function in FILTERS.items()
            },
            "_iterate": self._iterate,
            "_concat": self._concat,
        }
        if policy is not None:
            self.filters |= {name: policy_filter(policy, name) for name in POLICY_FILTERS}
        if finalize is not None:
            # Taking the context keeps Jinja from folding constants while it compiles, before anything counts.
            self.finalize = pass_context(lambda _, value: finalize(value))
        self._steps = 0
        self._work = 0

    def compile_tree(self, parsed: ParsedTemplate) -> Any:
        """Return the runnable template; its tree is used up.

        Raises:
            TemplateRefusedError: loops or conditions are nested more deeply than Python's compiler takes.
        """
        tree = _CountedTree().visit(parsed.tree)
        try:
            code = self.compile(tree)
        except (SyntaxError, RecursionError, MemoryError):
            raise too_deep() from None
        return self.template_class.from_code(self, code, self.globals.copy(), None)

    def count(self, size: int) -> None:
        """Add to the work done.

        Raises:
            TemplateRefusedError: it is more than one rendering may do.
        """
        self._work += size
        if self._work > MAX_WORK:
            raise too_much()

    def measured(self, value: object) -> Any:
        """Return a computed value whose size is within bounds, and count it."""
        if isinstance(value, float):
            value = Decimal(repr(value))
        if isinstance(value, str):
            self.count(len(value))
            if len(value) > MAX_STRING:
                raise too_much()
        elif isinstance(value, (tuple, list)):
            self.count(len(value))
            if len(value) > MAX_ITEMS:
                raise too_much()
        elif (isinstance(value, int) and abs(value) >= 10**38) or (
            isinstance(value, Decimal) and not (value == 0 or Decimal("1e-60") < abs(value) < Decimal("1e60"))
        ):
            raise too_much()
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002
        """Compute with numbers; `+` also joins texts, and lists."""
        self.count(1)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return self._concat((left, right), (False, False))
        if operator == "+" and isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
            return self.measured((*left, *right))
        if operator == "**" or not (_is_number(left) and _is_number(right)):
            raise refused(
                f"{operator} works on numbers only, in templates",
                rule="jinja_operator",
                cure="compute with numbers, and join texts with ~",
            )
        left, right = self.measured(left), self.measured(right)
        if operator == "/":
            return self.measured(Decimal(left) / Decimal(right))
        return self.measured(self.binop_table[operator](left, right))

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:  # noqa: ARG002
        """Negate a number."""
        if not _is_number(arg):
            raise refused(f"{operator} works on numbers only", rule="jinja_operator", cure="negate numbers only")
        return self.measured(self.unop_table[operator](self.measured(arg)))

    def call(self, context: Context, function: Any, *args: Any, **_kept: Any) -> Any:  # noqa: ARG002
        """Call `range`, or a listed method of plain text or of a mapping; nothing else exists to be called."""
        self.count(10)
        if function == self._range:
            return self._range(*args)
        receiver = getattr(function, "__self__", None)
        if not (
            isinstance(function, BuiltinMethodType)
            and type(receiver) in (str, dict)
            and function.__name__ in METHODS
            and all(type(argument) is str for argument in args)
        ):
            raise refused(
                "only methods of text and mappings can be called", rule="jinja_call", cure="use a listed filter"
            )
        value = function(*args)
        return self.measured(value if isinstance(value, (str, bool)) else tuple(value))

    def _range(self, *args: int) -> range:
        if not all(type(argument) is int for argument in args):
            raise refused("range takes whole numbers", rule="jinja_range", cure="pass whole numbers")
        numbers = range(*args)
        # The ends are compared first: len() itself fails on a range that long.
        if not all(abs(argument) <= 10**15 for argument in args) or len(numbers) > MAX_ITEMS:
            raise too_much()
        return numbers

    def _iterate(self, value: object, weight: int) -> tuple[Any, ...]:
        if isinstance(value, Undefined):
            iter(value)  # raises Jinja's error with the name
        if not isinstance(value, (tuple, list, range, dict)):
            raise refused("a for loop goes over a list or a mapping", rule="jinja_loop", cure="pass a list")
        items = tuple(value)
        self._steps += len(items) * weight
        if len(items) > MAX_ITEMS or self._steps > MAX_STEPS:
            raise too_much()
        return items

    def _concat(self, parts: list[Any] | tuple[Any, ...], written: tuple[bool, ...]) -> str:
        if any(isinstance(part, (CheckedName, CheckedSql)) for part in parts):
            raise checked_is_final()
        if any(isinstance(part, SqlText) for part in parts):
            if not all(isinstance(part, SqlText) or ours for part, ours in zip(parts, written, strict=True)):
                raise refused(
                    "text marked sqlsafe is joined with a value that is not",
                    rule="sqlsafe_mixed",
                    cure="join first and mark the whole: {{ (a ~ b) | sqlsafe }}",
                )
            return SqlText(self.measured("".join(parts)))
        return str(self.measured("".join(map(text_of, parts))))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
