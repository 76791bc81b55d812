"""Every expression that the adapters send is in DynamoDB's documented grammar; the emulated service allows more.

The parser is smaller than the grammar, never larger: SET without arithmetic and functions, paths of one name, which is
always a placeholder.

Source of the grammar: Amazon DynamoDB Developer Guide, "Condition and filter expressions, operators, and functions",
"Update expressions", "Projection expressions" and "Key condition expressions for the Query operation".
"""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from cleanroom.adapters import dynamodb_expressions as ours
from cleanroom.adapters.dynamodb_audit import DynamoDbAuditTrail
from cleanroom.adapters.dynamodb_catalogue import DynamoDbCatalogue
from cleanroom.adapters.dynamodb_items import item
from cleanroom.adapters.dynamodb_keys import lifetime_key, window_key
from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.adapters.dynamodb_signals import DynamoDbSignals
from cleanroom.privacy.rho import ZERO_RHO, RhoLimit
from cleanroom.rooms.ledger import RequestState, RoomBudget, RunRequest, RunState, TaskStatus
from cleanroom.rooms.ledger_audit import Checkpoint
from cleanroom.rooms.settings import PrivacySettings
from cleanroom.templates.kinship import Kinship
from tests.contract.ledgers import KEY, NOON, FaultyClient, charge, create_table, table_of
from tests.contract.test_catalogue import ROOM, fill
from tests.contract.test_replays import ANSWER

OLD_KEY = replace(KEY, party="old")
TOKEN = re.compile(
    r"\s*(?:(?P<name>#[A-Za-z0-9_]+)|(?P<value>:[A-Za-z0-9_]+)|(?P<comparator><=|>=|<>|=|<|>)"
    r"|(?P<sign>[(),])|(?P<word>[A-Za-z_]+))",
    re.ASCII,
)
CONDITION_FUNCTIONS = {
    "attribute_exists": ["path"],
    "attribute_not_exists": ["path"],
    "attribute_type": ["path", "value"],
    "begins_with": ["path", "operand"],
    "contains": ["path", "operand"],
}


class Grammar:
    """Recursive descent over one expression; ValueError where it leaves the grammar."""

    def __init__(self, text):
        self.tokens = []
        position = 0
        while position < len(text.rstrip()):
            match = TOKEN.match(text, position)
            if match is None:
                raise ValueError(f"no token at {text[position:]!r}")
            self.tokens.append((match.lastgroup, match.group(match.lastgroup)))
            position = match.end()

    def peek(self, text=None, kind=None):
        if not self.tokens:
            return False
        found_kind, found = self.tokens[0]
        return (text is None or found.upper() == text) and (kind is None or found_kind == kind)

    def take(self, text=None, kind=None):
        if not self.peek(text, kind):
            raise ValueError(f"expected {text or kind}, found {self.tokens[:1]}")
        return self.tokens.pop(0)[1]

    def end(self):
        if self.tokens:
            raise ValueError(f"left over: {self.tokens}")

    def operand(self):
        if self.peek(kind="name") or self.peek(kind="value"):
            self.tokens.pop(0)
            return
        self.take("SIZE", "word")
        self.arguments(["path"])

    def arguments(self, kinds):
        self.take("(")
        for number, kind in enumerate(kinds):
            if number:
                self.take(",")
            if kind == "operand":
                self.operand()
            else:
                self.take(kind={"path": "name", "value": "value"}[kind])
        self.take(")")

    def condition(self):
        self.conjunction()
        while self.peek("OR", "word"):
            self.take()
            self.conjunction()

    def conjunction(self):
        self.factor()
        while self.peek("AND", "word"):
            self.take()
            self.factor()

    def factor(self):
        if self.peek("NOT", "word"):
            self.take()
            self.factor()
        elif self.peek("("):
            self.take()
            self.condition()
            self.take(")")
        elif self.peek(kind="word") and self.tokens[0][1] in CONDITION_FUNCTIONS:
            self.arguments(CONDITION_FUNCTIONS[self.take(kind="word")])
        else:
            self.operand()
            if self.peek("BETWEEN", "word"):
                self.take()
                self.operand()
                self.take("AND", "word")
                self.operand()
            elif self.peek("IN", "word"):
                self.take()
                self.take("(")
                self.operand()
                while self.peek(","):
                    self.take()
                    self.operand()
                self.take(")")
            else:
                self.take(kind="comparator")
                self.operand()

    def update(self):
        seen = set()
        while self.tokens:
            clause = self.take(kind="word").upper()
            if clause in seen or clause not in {"SET", "REMOVE", "ADD", "DELETE"}:
                raise ValueError(f"clause {clause}")
            seen.add(clause)
            self.update_action(clause)
            while self.peek(","):
                self.take()
                self.update_action(clause)
        if not seen:
            raise ValueError("no clause")

    def update_action(self, clause):
        self.take(kind="name")
        if clause == "SET":
            self.take("=", "comparator")
            self.operand()
        elif clause in {"ADD", "DELETE"}:
            self.take(kind="value")

    def key_condition(self):
        self.take(kind="name")
        self.take("=", "comparator")
        self.take(kind="value")
        if self.peek("AND", "word"):
            self.take()
            if self.peek("BEGINS_WITH", "word"):
                self.take()
                self.arguments(["path", "value"])
            else:
                self.take(kind="name")
                if self.take(kind="comparator") == "<>":
                    raise ValueError("a sort key is compared with =, <, <=, > or >=")
                self.take(kind="value")

    def projection(self):
        self.take(kind="name")
        while self.peek(","):
            self.take()
            self.take(kind="name")


def parse(text, rule):
    grammar = Grammar(text)
    getattr(grammar, rule)()
    grammar.end()


@pytest.mark.parametrize("text", ours.CONDITIONS)
def test_every_condition_is_in_the_grammar(text):
    parse(text, "condition")


@pytest.mark.parametrize("text", ours.UPDATES)
def test_every_update_is_in_the_grammar(text):
    parse(text, "update")


@pytest.mark.parametrize("text", ours.KEY_CONDITIONS)
def test_every_key_condition_is_in_the_grammar(text):
    parse(text, "key_condition")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("#spent + :price <= :limit", "condition"),
        ("attribute_not_exists(#pk) OR (#kind = :kind AND #spent <= :limit - :price)", "condition"),
        ("#kind = :kind AND #count = :count + :one", "condition"),
        ("#spent * :two <= :limit", "condition"),
        ("#spent <= -:price", "condition"),
        ("#kind IN ()", "condition"),
        ("begins_with(#kind, :a, :b)", "condition"),
        ("#a BETWEEN :a", "condition"),
        ("SET #a = #a + :one", "update"),
        ("SET #a = if_not_exists(#a, :zero)", "update"),
        ("REMOVE #a = :a", "update"),
        ("REMOVE :a", "update"),
        ("SET #a = :a REMOVE", "update"),
        ("#pk = :pk AND #sk <> :sk", "key_condition"),
        ("#pk = :pk AND #sk < :sk AND #sk > :other", "key_condition"),
        ("#pk < :pk", "key_condition"),
        ("#a, :b", "projection"),
        ("#spent <= :limit - :price", "condition"),
        ("#spent <= (:limit)", "condition"),
        ("spent <= :limit", "condition"),
        ("#spent == :limit", "condition"),
        ("#a = :a AND", "condition"),
        ("attribute_not_exists(:a)", "condition"),
        ("attribute_not_exists(#a) or", "condition"),
        ("SET #a = :a SET #b = :b", "update"),
        ("ADD #a = :a", "update"),
        ("", "update"),
        ("begins_with(#sk, :prefix)", "key_condition"),
        ("#pk = :pk OR #pk = :other", "key_condition"),
        ("#pk = :pk AND #sk <> :after", "key_condition"),
    ],
)
def test_the_parser_refuses_what_dynamodb_refuses(text, rule):
    """The grammar test can fail: arithmetic in a condition is what the emulated service would let through."""
    with pytest.raises(ValueError):
        parse(text, rule)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("SIZE(#a) > :b AND NOT (#c IN (:d, :e)) OR #f BETWEEN :g AND :h", "condition"),
        ("contains(#a, :b) OR attribute_type(#a, :c)", "condition"),
        ("SET #a = :a, #b = #c REMOVE #d, #e ADD #f :f DELETE #g :g", "update"),
        ("#pk = :pk AND #sk >= :sk", "key_condition"),
        ("#a, #b", "projection"),
    ],
)
def test_the_parser_takes_what_dynamodb_takes(text, rule):
    parse(text, rule)


def test_an_expression_with_arithmetic_among_ours_would_be_found():
    """Planted: the limit as a sum, which the emulated service accepts."""
    planted = ours.FITS_LIFETIME.replace("<= :at_most", "+ :price <= :limit")
    assert planted != ours.FITS_LIFETIME
    with pytest.raises(ValueError):
        parse(planted, "condition")


def older_items(ledger):
    """Store sums of older kinds, as they were before budgets had chains of their own and windows had sums of rho."""
    key = lifetime_key(OLD_KEY)
    old = {"micro_epsilon": 5, "delta_steps": 0, "unmetered_micro_epsilon": 0, "unmetered_delta_steps": 0}
    ledger._table.put_if(item(key, kind="lifetime_spending/1", **old), condition=ours.ABSENT)
    for window in (2, 3):
        spent = item(window_key(OLD_KEY, window), kind="window_spending/2", **old, unfinished=0, expires_at=1)
        ledger._table.put_if(spent, condition=ours.ABSENT)


def exercise(ledger, catalogue):
    """Call every method so that every expression is sent."""
    ledger.charge(charge("run-0"))
    for number in range(2):
        ledger.put_settings(KEY, PrivacySettings(differential=bool(number)), by="provider", at=NOON)
        ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
        ledger.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
        ledger.open_window(scheduled_for=NOON + timedelta(days=number), at=NOON + timedelta(days=number))
    ledger.charge(charge("run-1", settings_versions=(2,), window=2))
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    ledger.charge(charge("run-2", settings_versions=(2,), window=2, unmetered=True))
    ledger.advance("run-0", to=RunState.EXECUTED, at=NOON)
    ledger.advance("run-0", to=RunState.RELEASED, at=NOON, answer=ANSWER)
    ledger.advance("run-1", to=RunState.FAILED, at=NOON)
    request = RunRequest(run_id="q", party="consumer", request_digest="d", state=RequestState.QUEUED, at=NOON)
    ledger.put_request(request)
    ledger.put_request(replace(request, state=RequestState.REFUSED, error="{}"))
    ledger.note("flights", kind="noted", party="provider", body="{}", at=NOON)
    older_items(ledger)
    task = ledger.task()
    for number in range(2):
        budget = RoomBudget(per_window=5 + number)
        room = ledger.put_room_budget("flights", budget, by="provider", at=NOON)
    given = {"unmetered": True, "window": task.window, "room_budget": room}
    ledger.charge(charge("run-3", budgets=(OLD_KEY,), lifetime_limit=1_000_000, **given))
    ledger.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
    given["unmetered"] = False
    for name in ("run-4", "run-5"):
        ledger.charge(charge(name, budgets=(OLD_KEY,), lifetime_limit=1_000_000, **given))
    counted = {"rho_prices": (ZERO_RHO,), "rho_limits": (RhoLimit(rho_steps=1, delta_steps=1),)}
    ledger.charge(charge("run-6", budgets=(replace(OLD_KEY, party="new"),), **given, **counted))
    ledger.open_window(scheduled_for=NOON + timedelta(days=9), at=NOON + timedelta(days=9))
    ledger.charge(charge("run-7", budgets=(OLD_KEY,), **given | {"window": 3}))
    assert ledger.stuck_runs(at=NOON + timedelta(days=1))
    ledger.settings_of_room("flights")
    ledger.keys_with_dp_on()
    audit = DynamoDbAuditTrail(ledger._table)
    signals = DynamoDbSignals(ledger._table)
    signals.refused(KEY, window=2, at=NOON)
    for likenesses in range(11):
        kinship = Kinship(query="q", kin=tuple(f"k{number}" for number in range(likenesses)))
        signals.charged(KEY, window=2, at=NOON, micro_epsilon=1, kinship=kinship)
    audit.page("flights", "", after="2026", limit=1)
    audit.put_checkpoint("flights", "", Checkpoint(count=1), replaces=Checkpoint())
    audit.set_closed_through(1)
    fill(catalogue)
    catalogue.put_room(ROOM)
    catalogue.rooms_of("airline")
    catalogue.remove_consumer("flights", "lessor")
    catalogue.drop_room("flights")


def requests_in(sent):
    """Yield every request that may carry expressions, actions of transactions one by one."""
    for _, request in sent:
        yield request
        for action in request.get("TransactItems", []):
            yield from action.values()


@pytest.fixture
def sent(dynamodb):
    client = FaultyClient(client=dynamodb)
    name = create_table(dynamodb)
    exercise(DynamoDbLedger(table_of(client, name)), DynamoDbCatalogue(table_of(client, create_table(dynamodb))))
    return client.sent


def test_what_is_sent_are_exactly_the_expressions_that_are_parsed(sent):
    """None is built on the way, and none of the list is dead."""
    by_parameter = {
        "ConditionExpression": ours.CONDITIONS,
        "UpdateExpression": ours.UPDATES,
        "KeyConditionExpression": ours.KEY_CONDITIONS,
    }
    for parameter, known in by_parameter.items():
        seen = {request[parameter] for request in requests_in(sent) if parameter in request}
        assert seen == set(known)
    known = {*by_parameter, "ExpressionAttributeNames", "ExpressionAttributeValues"}
    assert not {name for request in requests_in(sent) for name in request if "Expression" in name} - known


def test_every_placeholder_that_is_sent_is_used_and_the_reverse(sent):
    """DynamoDB refuses a request with a name or value too many or too few, and an empty map of values."""
    checked = 0
    for request in requests_in(sent):
        text = " ".join(str(request.get(name, "")) for name in request if name.endswith("Expression"))
        assert set(request.get("ExpressionAttributeNames", {})) == set(re.findall(r"#[a-z_]+", text))
        assert set(request.get("ExpressionAttributeValues", {})) == set(re.findall(r":[a-z_]+", text))
        assert request.get("ExpressionAttributeValues", {"": ""})
        checked += bool(text)
    assert checked > 50


def test_no_transaction_names_an_item_twice_or_has_more_than_100_actions(sent):
    """DynamoDB refuses both."""
    for _, request in sent:
        actions = [next(iter(action.values())) for action in request.get("TransactItems", [])]
        keys = [(a.get("Key", a.get("Item"))["pk"]["S"], a.get("Key", a.get("Item"))["sk"]["S"]) for a in actions]
        assert len(set(keys)) == len(keys) <= 100


def test_numbers_that_are_sent_are_integers_within_38_digits(sent):
    numbers = re.findall(r"\{'N': '([^']*)'\}", str(sent))
    assert len(numbers) > 50
    assert all(re.fullmatch(r"-?[0-9]{1,38}", number) for number in numbers)


def test_nothing_scans_a_table(sent):
    assert {name for name, _ in sent} == {
        "get_item",
        "batch_get_item",
        "query",
        "put_item",
        "update_item",
        "transact_write_items",
    }
