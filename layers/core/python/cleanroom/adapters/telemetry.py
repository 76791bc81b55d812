"""Log lines and metrics of runs, through Powertools. Adapter of `Telemetry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

if TYPE_CHECKING:
    from collections.abc import Mapping


class PowertoolsTelemetry:
    """Shares logger and metrics of the function that runs."""

    def __init__(self) -> None:
        self._logger, self._metrics = Logger(), Metrics()

    def step(self, step: str, **facts: str | float | bool | None) -> None:
        """Log one step of a run."""
        self._logger.info(step, extra=facts)

    def count(self, metric: str) -> None:
        """Count one event."""
        self._metrics.add_metric(name=metric, unit=MetricUnit.Count, value=1)

    def measure(self, metrics: Mapping[str, float], **dimensions: str) -> None:
        """Give metrics their values, under the service's dimension and these, as one line of embedded metrics."""
        apart = EphemeralMetrics()
        for name, dimension in dimensions.items():
            apart.add_dimension(name=name, value=dimension)
        for name, value in metrics.items():
            apart.add_metric(name=name, unit=MetricUnit.NoUnit, value=value)
        apart.flush_metrics()
