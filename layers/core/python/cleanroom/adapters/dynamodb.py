"""One DynamoDB table with retries: consistent reads, conditional writes, transactions."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from cleanroom.adapters.dynamodb_expressions import KEY_AFTER, KEY_IN_PARTITION, KEY_WITH_PREFIX, names_in
from cleanroom.adapters.dynamodb_items import attributes, placeholders
from cleanroom.adapters.dynamodb_keys import Key
from cleanroom.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        BatchGetItemOutputTypeDef,
        ConditionCheckTypeDef,
        DeleteTypeDef,
        KeysAndAttributesTypeDef,
        PutItemInputTypeDef,
        PutTypeDef,
        QueryInputTypeDef,
        QueryOutputTypeDef,
        TransactWriteItemTypeDef,
        UpdateItemInputTypeDef,
    )

    Attributes = Mapping[str, AttributeValueTypeDef]

T = TypeVar("T")

CONDITION_FAILED = "ConditionalCheckFailed"

_PASSING_ERRORS = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_PASSING_REASONS = frozenset({"None", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"})
_MAX_BATCH = 100


class CancelledError(Exception):
    """A transaction was not applied, because of its conditions. Stays inside the adapters.

    Attributes:
        failed: for each action in order, whether its condition failed.
    """

    def __init__(self, failed: Sequence[bool]) -> None:
        super().__init__("a condition of the transaction failed")
        self.failed = tuple(failed)


@dataclass(kw_only=True, slots=True)
class Backoff:
    """The pauses of one operation: full jitter, doubled each time, bounded.

    Attributes:
        sleep: waits for so many seconds.
        jitter: gives a number in [0, 1).
        attempts: how often the operation may be tried.
        base_seconds: upper end of the first pause.
        cap_seconds: upper end of any pause.
    """

    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    attempts: int
    base_seconds: float = 0.01
    cap_seconds: float = 0.32
    tried: int = field(default=0, init=False)

    def pause(self) -> None:
        """Wait before the next attempt.

        Raises:
            BusyError: there is none left.
        """
        self.tried += 1
        if self.tried >= self.attempts:
            raise BusyError("the ledger is busy; the same call with the same run id may be repeated")
        self.sleep(self.jitter() * min(self.cap_seconds, self.base_seconds * 2.0**self.tried))


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with keys `pk` and `sk`.

    Throttling, conflicts, timeouts and failures of the service are retried. Writes can therefore be applied before
    they are sent again: a transaction carries a token that makes the repetition harmless; a single write answers
    "condition failed", and its caller looks at what is stored.

    Attributes:
        client: low-level; its own time-outs should be a few seconds, for a run has 30.
        name: of the table.
        sleep, jitter: see `Backoff`.
        attempts: of one operation; 30 take about 4 seconds, and let 16 writers of one room's history through.
    """

    client: DynamoDBClient
    name: str
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    attempts: int = 30

    def backoff(self) -> Backoff:
        """Return the pauses for one operation."""
        return Backoff(sleep=self.sleep, jitter=self.jitter, attempts=self.attempts)

    def get(self, key: Key) -> Attributes | None:
        """Return an item as it is now (strongly consistent), or None. Raises BusyError."""
        wanted = attributes(pk=key.pk, sk=key.sk)
        answer = _retried(
            lambda: self.client.get_item(TableName=self.name, Key=wanted, ConsistentRead=True), self.backoff()
        )
        return answer.get("Item")

    def get_all(self, keys: Sequence[Key]) -> list[Attributes]:
        """Return those of the items that exist, in no order, each as it is now. Raises BusyError."""
        found: list[Attributes] = []
        backoff = self.backoff()
        wanted: list[Attributes] = [attributes(pk=key.pk, sk=key.sk) for key in keys]
        while wanted:
            answer = self._get_batch(wanted[:_MAX_BATCH], backoff)
            found += answer["Responses"].get(self.name, [])
            unread = answer["UnprocessedKeys"].get(self.name)
            wanted = wanted[_MAX_BATCH:]
            if unread is not None:
                wanted += unread["Keys"]
                backoff.pause()
        return found

    def get_each(self, keys: Sequence[Key]) -> dict[Key, Attributes]:
        """Return those of the items that exist, by key, each as it is now: one operation for 100. Raises BusyError."""
        found = self.get_all(list(dict.fromkeys(keys)))
        return {Key(pk=item["pk"]["S"], sk=item["sk"]["S"]): item for item in found}

    def query(self, partition: str, *, prefix: str = "") -> list[Attributes]:
        """Return the items of a partition, by sort key, those that begin with `prefix`. Raises BusyError."""
        expression = KEY_WITH_PREFIX if prefix else KEY_IN_PARTITION
        values = {"pk": partition} | ({"prefix": prefix} if prefix else {})
        request: QueryInputTypeDef = {
            "TableName": self.name,
            "KeyConditionExpression": expression,
            "ExpressionAttributeNames": names_in(expression),
            "ExpressionAttributeValues": placeholders(**values),
            "ConsistentRead": True,
        }
        return self._all_pages(request)

    def query_index(self, index: str, *, condition: str, values: Attributes) -> list[Key]:
        """Return the keys of the items that an index has; it may lag behind the table. Raises BusyError."""
        request: QueryInputTypeDef = {
            "TableName": self.name,
            "IndexName": index,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names_in(condition),
            "ExpressionAttributeValues": values,
        }
        return [Key(pk=item["pk"]["S"], sk=item["sk"]["S"]) for item in self._all_pages(request)]

    def query_after(self, partition: str, *, after: str, limit: int | None = None) -> list[Attributes]:
        """Return the items of a partition whose sort key is greater than `after`, by sort key; at most `limit`.

        Raises:
            BusyError: the store would not answer.
        """
        request: QueryInputTypeDef = {
            "TableName": self.name,
            "KeyConditionExpression": KEY_AFTER if after else KEY_IN_PARTITION,
            "ExpressionAttributeNames": names_in(KEY_AFTER if after else KEY_IN_PARTITION),
            "ExpressionAttributeValues": placeholders(pk=partition, **({"after": after} if after else {})),
            "ConsistentRead": True,
        }
        found: list[Attributes] = []
        while True:
            if limit is not None:
                request["Limit"] = limit - len(found)
            answer = self._query_page(request)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer or (limit is not None and len(found) >= limit):
                return found
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def put_if(self, item: Attributes, *, condition: str, values: Attributes | None = None) -> bool:
        """Put an item; return False where the condition fails, which a repeated put of one's own can also cause."""
        request: PutItemInputTypeDef = {
            "TableName": self.name,
            "Item": item,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names_in(condition),
        }
        if values:
            request["ExpressionAttributeValues"] = values
        return _unless_condition_failed(lambda: self.client.put_item(**request), self.backoff()) is not None

    def update_if(
        self, key: Key, *, update: str, condition: str, values: Attributes, names: Mapping[str, str] | None = None
    ) -> Attributes | None:
        """Update an item and return it; None where the condition fails, also through a repetition of one's own.

        `names` says what placeholders of names stand for, where that is not their own name.
        """
        request: UpdateItemInputTypeDef = {
            "TableName": self.name,
            "Key": attributes(pk=key.pk, sk=key.sk),
            "UpdateExpression": update,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names_in(update, condition) | dict(names or {}),
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW",
        }
        answer = _unless_condition_failed(lambda: self.client.update_item(**request), self.backoff())
        return None if answer is None else answer["Attributes"]

    def put(
        self, item: Attributes, *, condition: str | None = None, values: Attributes | None = None
    ) -> TransactWriteItemTypeDef:
        """Return the action of a transaction that puts an item."""
        action: PutTypeDef = {"TableName": self.name, "Item": item}
        if condition is not None:
            action["ConditionExpression"] = condition
            action["ExpressionAttributeNames"] = names_in(condition)
        if values:
            action["ExpressionAttributeValues"] = values
        return {"Put": action}

    def update(self, key: Key, *, update: str, condition: str, values: Attributes) -> TransactWriteItemTypeDef:
        """Return the action of a transaction that updates an item."""
        return {
            "Update": {
                "TableName": self.name,
                "Key": attributes(pk=key.pk, sk=key.sk),
                "UpdateExpression": update,
                "ConditionExpression": condition,
                "ExpressionAttributeNames": names_in(update, condition),
                "ExpressionAttributeValues": values,
            }
        }

    def check(self, key: Key, *, condition: str, values: Attributes | None = None) -> TransactWriteItemTypeDef:
        """Return the action of a transaction that only checks an item."""
        action: ConditionCheckTypeDef = {
            "TableName": self.name,
            "Key": attributes(pk=key.pk, sk=key.sk),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names_in(condition),
        }
        if values:
            action["ExpressionAttributeValues"] = values
        return {"ConditionCheck": action}

    def delete(
        self, key: Key, *, condition: str | None = None, values: Attributes | None = None
    ) -> TransactWriteItemTypeDef:
        """Return the action of a transaction that deletes an item, if it is there."""
        action: DeleteTypeDef = {"TableName": self.name, "Key": attributes(pk=key.pk, sk=key.sk)}
        if condition is not None:
            action["ConditionExpression"] = condition
            action["ExpressionAttributeNames"] = names_in(condition)
        if values:
            action["ExpressionAttributeValues"] = values
        return {"Delete": action}

    def transact(
        self, actions: Sequence[TransactWriteItemTypeDef], backoff: Backoff, *, token: str | None = None
    ) -> None:
        """Apply all actions or none.

        One token accompanies every repetition of this call, so that DynamoDB itself knows one that was applied and
        whose reply was lost.

        Args:
            actions: at most 100, each on another item.
            backoff: shared with the caller's own attempts.
            token: at most 36 characters; a fresh one where it is left out.

        Raises:
            CancelledError: a condition failed; nothing was applied.
            BusyError: no attempt is left. The transaction may have been applied: read back what it writes.
        """
        token = token or secrets.token_hex(16)
        while True:
            try:
                self.client.transact_write_items(TransactItems=actions, ClientRequestToken=token)
            except self.client.exceptions.TransactionCanceledException as error:
                reasons = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])]
                if CONDITION_FAILED in reasons:
                    raise CancelledError([reason == CONDITION_FAILED for reason in reasons]) from error
                if not reasons or not _PASSING_REASONS.issuperset(reasons):
                    raise
                backoff.pause()
            except (ClientError, HTTPClientError, IncompleteReadError) as error:
                if not _is_passing(error):
                    raise
                backoff.pause()
            else:
                return

    def _get_batch(self, keys: Sequence[Attributes], backoff: Backoff) -> BatchGetItemOutputTypeDef:
        wanted: Mapping[str, KeysAndAttributesTypeDef] = {self.name: {"Keys": keys, "ConsistentRead": True}}
        return _retried(lambda: self.client.batch_get_item(RequestItems=wanted), backoff)

    def _all_pages(self, request: QueryInputTypeDef) -> list[Attributes]:
        found: list[Attributes] = []
        while True:
            answer = self._query_page(request)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return found
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _query_page(self, request: QueryInputTypeDef) -> QueryOutputTypeDef:
        return _retried(lambda: self.client.query(**request), self.backoff())


def _retried(call: Callable[[], T], backoff: Backoff) -> T:
    while True:
        try:
            return call()
        except (ClientError, HTTPClientError, IncompleteReadError) as error:
            if not _is_passing(error):
                raise
            backoff.pause()


def _unless_condition_failed(call: Callable[[], T], backoff: Backoff) -> T | None:
    try:
        return _retried(call, backoff)
    except ClientError as error:
        if error.response["Error"].get("Code") == "ConditionalCheckFailedException":
            return None
        raise


def _is_passing(error: Exception) -> bool:
    """Return whether the same call may succeed later: no reply, a failure of the service, too much at once."""
    if not isinstance(error, ClientError):
        return True
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return error.response["Error"].get("Code") in _PASSING_ERRORS or status >= 500
