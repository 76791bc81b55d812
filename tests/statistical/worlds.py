"""One whole run as thousands of experiments: neighbouring databases in thousands of worlds, through the HTTP event.

A world is a group of a grouped query (or several groups) with entities of its own. Each has a victim, an entity that
fills its contribution bound. One run on the table without any victim gives a sample of what each world releases
without its victim, one run on the table with all of them a sample with it: for one world, the two tables differ by all
rows of one entity, as the other worlds' victims touch no group of it. Everything is the product: link, template,
compile, charge, execute, noise, release query, stored release. Mistakes are planted through ports only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cleanroom.templates.plan_json import plan_as_json, plan_from_json
from cleanroom.use_cases.exact_payload import ExactPayload
from tests.house import House
from tests.seeded_entropy import SeededEntropy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cleanroom.ports import Entropy, Ledger
    from cleanroom.rooms.ledger import RunRecord
    from cleanroom.templates.plan import Plan

MAX_GROUPS, MAX_ROWS = 3, 4
LOW, HIGH = 0, 100
SIDES = ("a", "b", "c")

SLOTS = 100
"""A world is a pair of public integers, shelf and slot: that keeps the domains short."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What one entity of each world has: its number of rows in each side of the world, and the value of all of them.

    Attributes:
        value: None: NULL.
    """

    counts: tuple[int, ...]
    value: float | None = 0.0


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A query over `worlds` worlds, each with `base` entities, and maybe a victim.

    Attributes:
        query: SQL over `{table}`, with the entity `person`, the public keys `shelf`, `slot` and `side`, the private key
            `place`, and `value`.
        epsilon, delta, mechanism: of the settings.
        max_groups: of the policy.
        base: entities of each world.
        victim: one more entity of each.
        plan_of_engine, plan_of_noise: what a planted mistake makes of the plan, on one side of the hand-over.
        entropy: makes the bits of one run from its seed.
    """

    query: str
    epsilon: float = 1.0
    delta: float = 1e-6
    mechanism: str = "Laplace"
    worlds: int = 12_000
    max_groups: int = 1
    base: tuple[Rows, ...] = ()
    victim: Rows = field(default_factory=lambda: Rows(counts=(MAX_ROWS,), value=HIGH))
    plan_of_engine: Callable[[Plan], Plan] | None = None
    plan_of_noise: Callable[[Plan], Plan] | None = None
    entropy: Callable[[str], Entropy] = SeededEntropy

    def release(self, *, present: bool, seed: str = "") -> dict[str, Any]:
        """Return the stored release of one run, with or without the victims."""
        house = House(entropy=self.entropy(f"{seed} {'present' if present else 'absent'}"))
        house.objects.put_table(owner="airline", name="visits", table=self.table(present=present))
        if self.plan_of_engine is not None:
            house.runs = replace(house.runs, engine=_PlantedEngine(house.runs.engine, self.plan_of_engine))
        if self.plan_of_noise is not None:
            exact = _PlantedExact(house.exact, self.plan_of_noise)
            house.noises = replace(house.noises, exact=exact, ledger=_PlantedLedger(house.ledger, exact))
        room = {"cleanroom_name": "room"}
        house("airline", "provider", "cleanroom_init", **room)
        house("airline", "provider", "link_datasets", **room, tables=["visits"], policies={"visits": self.policy()},
              entity_columns={"visits": {"pin": {"person": "person"}}})  # fmt: skip
        house("airline", "provider", "add_custom_sql_template", **room, template_name="asked",
              template=self.query.format(table="IDENTIFIER({{ source_table[0] }}) p"))  # fmt: skip
        settings = {"differential": 1, "epsilon": self.epsilon, "delta": self.delta,
                    "noise_mechanism": self.mechanism, "privacy_budget": 1000}  # fmt: skip
        house("airline", "provider", "add_consumers", **room, consumer_names=["agency"], privacy_settings=settings)
        house("agency", "consumer", "install_cleanroom", **room)
        house("agency", "consumer", "run_analysis", **room, template_name="asked", provider_tables=["visits"],
              run_id="experiment")  # fmt: skip
        release: dict[str, Any] = json.loads(house.releases.files["agency", "experiment", "release.json"])
        return release

    def policy(self) -> dict[str, Any]:
        """Return the table's policy: bounds, and worlds and sides as public keys."""
        return {
            "max_groups": self.max_groups,
            "max_rows": MAX_ROWS,
            "bounds": {"value": [LOW, HIGH]},
            "domains": {
                "shelf": {"range": [0, self.worlds // SLOTS - 1]},
                "slot": {"range": [0, SLOTS - 1]},
                "side": list(SIDES),
            },
        }

    def table(self, *, present: bool) -> pa.Table:
        """Return the rows of all worlds."""
        entities = {f"b{i}": rows for i, rows in enumerate(self.base)} | ({"victim": self.victim} if present else {})
        worlds = np.arange(self.worlds)
        # One person in no world: a table without any row cannot be linked.
        outside: dict[str, Any] = {"person": "-", "shelf": -1, "slot": -1, "side": "a", "place": "-", "value": 0.0}
        columns: dict[str, list[pa.Array]] = {name: [pa.array([value])] for name, value in outside.items()}
        names = pa.array(worlds.astype(str))
        for name, rows in entities.items():
            for number, count in enumerate(rows.counts):
                repeated = np.repeat(worlds, count)
                whose = names.take(pa.array(repeated))
                columns["person"].append(pa.compute.binary_join_element_wise(whose, name, "-"))
                columns["shelf"].append(pa.array(repeated // SLOTS))
                columns["slot"].append(pa.array(repeated % SLOTS))
                columns["side"].append(pa.array([SIDES[number % len(SIDES)]] * len(repeated)))
                columns["place"].append(pa.compute.binary_join_element_wise(whose, str(number), "-"))
                columns["value"].append(pa.array([rows.value] * len(repeated), pa.float64()))
        return pa.table({name: pa.chunked_array(arrays) for name, arrays in columns.items()}).combine_chunks()

    def outputs(self, *, present: bool, seed: str = "") -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return what each world releases, one row a world: its noisy numbers, side by side where it has several."""
        return self.outputs_of(self.release(present=present, seed=seed))

    def outputs_of(self, release: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the noisy numbers of a release, one row a world; NULL is -1, a number that nothing else gives."""
        places = [i for i, column in enumerate(release["columns"]) if column["role"] != "key"]
        numbers = np.array([[row[i] for i in places] for row in release["rows"]], dtype=np.float64)
        return np.nan_to_num(numbers, nan=-1.0).reshape(self.worlds, -1)


class _PlantedEngine:
    """An engine that executes another plan than the one that was charged."""

    def __init__(self, engine: Any, change: Callable[[Plan], Plan]) -> None:
        self._engine, self._change = engine, change

    def execute(self, plan: Plan, **keywords: Any) -> Mapping[str, bytes]:
        answer: Mapping[str, bytes] = self._engine.execute(self._change(plan), **keywords)
        return answer


class _PlantedExact:
    """A hand-over whose plan was changed, as if the compiler had made that plan."""

    def __init__(self, exact: Any, change: Callable[[Plan], Plan]) -> None:
        self._exact, self._change = exact, change
        self.plan_digest = ""

    def put(self, run_id: str, payload: bytes) -> None:
        self._exact.put(run_id, payload)

    def get(self, run_id: str) -> bytes:
        payload = ExactPayload.decode(self._exact.get(run_id))
        plan_json = plan_as_json(self._change(plan_from_json(payload.plan_json)))
        self.plan_digest = hashlib.sha256(plan_json).hexdigest()
        return ExactPayload(
            plan_json=plan_json, template_digest=payload.template_digest, exact_tables=payload.exact_tables
        ).encode()

    def delete(self, run_id: str) -> None:
        self._exact.delete(run_id)


class _PlantedLedger:
    """A ledger that says the changed plan was charged."""

    def __init__(self, ledger: Ledger, exact: _PlantedExact) -> None:
        self._ledger, self._exact = ledger, exact

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def run(self, run_id: str) -> RunRecord | None:
        run = self._ledger.run(run_id)
        self._exact.get(run_id)
        return None if run is None else replace(run, plan_digest=self._exact.plan_digest)


class SharedEntropy:
    """A mistake: all draws of one vector from the same word, so that all groups get the same noise."""

    def __init__(self, seed: str) -> None:
        self._source = SeededEntropy(seed)

    def bytes(self, count: int) -> bytes:
        """Return one word, repeated."""
        return (self._source.bytes(8) * (count // 8 + 1))[:count]


class RestartingEntropy:
    """A mistake: the same bits for every vector, as after a restored snapshot: all columns get the same noise."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def bytes(self, count: int) -> bytes:
        """Return the first bytes of the stream, whatever was given before."""
        return SeededEntropy(self._seed).bytes(count)
