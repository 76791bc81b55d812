"""Rounds running times up to a public step. Adapter of `Pace`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cleanroom.ports import Clock


class SteppedPace:
    """Waits for the next whole step.

    Args:
        step_seconds: the step, public; 0: nothing is rounded.
        clock: tells how long it has been.
        sleep: waits for seconds.
    """

    def __init__(self, *, step_seconds: float, clock: Clock, sleep: Callable[[float], None]) -> None:
        if not 0 <= step_seconds <= 25:
            raise ValueError("a step is between 0 and 25 seconds: the API answers within 30")
        self._step_seconds, self._clock, self._sleep = step_seconds, clock, sleep

    def hold(self, began: datetime) -> None:
        """Wait until a whole number of steps has passed since `began`."""
        if self._step_seconds == 0:
            return
        passed = (self._clock.now() - began).total_seconds()
        steps = math.ceil(passed / self._step_seconds)
        self._sleep(max(0.0, steps * self._step_seconds - passed))
