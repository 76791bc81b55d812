"""Every expression that the adapters send is in DynamoDB's documented grammar; the emulated service allows more.

Source of the grammar: Amazon DynamoDB Developer Guide, "Condition and filter expressions, operators, and functions",
"Update expressions" and "Key condition expressions for the Query operation".
"""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from cleanroom.adapters import dynamodb_expressions as ours
from cleanroom.adapters.dynamodb_audit import DynamoDbAuditTrail
from cleanroom.adapters.dynamodb_catalogue import DynamoDbCatalogue
from cleanroom.adapters.dynamodb_ledger import DynamoDbLedger
from cleanroom.errors import BudgetExhaustedError
from cleanroom.rooms.ledger import RequestState, RunRequest, RunState, TaskStatus
from cleanroom.rooms.ledger_audit import Checkpoint
from cleanroom.rooms.settings import PrivacySettings
from tests.contract.ledgers import KEY, NOON, FaultyClient, charge, create_table, table_of
from tests.contract.test_catalogue import ROOM, fill

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
            if self.peek(kind="name"):
                self.take(kind="name")
                if self.take(kind="comparator") == "<>":
                    raise ValueError("a sort key is not compared so")
                self.take(kind="value")
            else:
                self.take("BEGINS_WITH", "word")
                self.arguments(["path", "value"])


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


def exercise(ledger, catalogue):
    """Call every method so that every expression is sent."""
    ledger.charge(charge("run-0"))
    with pytest.raises(BudgetExhaustedError):
        ledger.charge(charge("run-1", limit_micro_epsilon=(0,)))
    for number in range(2):
        ledger.put_settings(KEY, PrivacySettings(differential=bool(number)), by="provider", at=NOON)
        ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
        ledger.set_task(TaskStatus.RUNNING, by="provider", at=NOON)
        ledger.open_window(scheduled_for=NOON + timedelta(days=number), at=NOON + timedelta(days=number))
    ledger.charge(charge("run-1", settings_versions=(2,), window=2))
    ledger.set_task(TaskStatus.SUSPENDED, by="provider", at=NOON)
    ledger.charge(charge("run-2", settings_versions=(2,), window=2, unmetered=True))
    ledger.advance("run-0", to=RunState.EXECUTED, at=NOON)
    ledger.advance("run-0", to=RunState.RELEASED, at=NOON)
    ledger.advance("run-1", to=RunState.FAILED, at=NOON)
    request = RunRequest(run_id="q", party="consumer", request_digest="d", state=RequestState.QUEUED, at=NOON)
    ledger.put_request(request)
    ledger.put_request(replace(request, state=RequestState.REFUSED, error="{}"))
    ledger.note("flights", kind="noted", party="provider", body="{}", at=NOON)
    ledger.settings_of_room("flights")
    ledger.keys_with_dp_on()
    audit = DynamoDbAuditTrail(ledger._table)
    audit.count_refusal(KEY, window=2, at=NOON)
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
    assert not any("FilterExpression" in request for request in requests_in(sent))


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
