"""benchmarks: how near our releases come to the truth, beside the float baseline at the same budget and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import baseline, exact
from benchmarks.measure import Accuracy, Spread, accuracy, paired_ratio
from cleanroom.adapters.system import SystemEntropy

if TYPE_CHECKING:
    from benchmarks.workloads import Question
    from cleanroom.templates.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One question's errors, and their ratio, release by release over all groups."""

    ours: Accuracy
    beside: Accuracy
    ratio: Spread


def compare(question: Question, plan: Plan, *, repetitions: int) -> Compared:
    """Release `repetitions` times on both sides. The exact parts, which draw nothing that matters here, run once."""
    true_table = exact.truth(question)
    exact_tables = exact.run_exact(question, plan)
    entropy = SystemEntropy()
    keys = len(question.keys)
    ours = [exact.by_group(exact.release(plan, exact_tables, entropy=entropy), keys=keys) for _ in range(repetitions)]
    with exact.connection() as opened:
        prepared = baseline.prepare(question, opened)
    generator = np.random.default_rng()
    beside = [baseline.answer(question, prepared, generator) for _ in range(repetitions)]
    ratio = paired_ratio(
        [accuracy([one], true_table).all_groups for one in ours],
        [accuracy([one], true_table).all_groups for one in beside],
    )
    return Compared(ours=accuracy(ours, true_table), beside=accuracy(beside, true_table), ratio=ratio)
