"""Log lines and metrics of runs, through Powertools. Adapter of `Telemetry`."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit


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
