"""Metrics as they reach CloudWatch: embedded in log lines, under the dimensions that alarms and people look for."""

import json

from cleanroom.adapters.telemetry import PowertoolsTelemetry


def test_measures_are_one_line_of_embedded_metrics_under_service_room_and_party(monkeypatch, capsys):
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "a-stack")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Cleanroom")
    PowertoolsTelemetry().measure({"WindowEpsilon": 2.5, "WindowRuns": 3}, room="a room", party="agency")
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    (described,) = said["_aws"]["CloudWatchMetrics"]
    assert described["Namespace"] == "Cleanroom"
    assert sorted(described["Dimensions"][0]) == ["party", "room", "service"]
    assert (said["service"], said["room"], said["party"]) == ("a-stack", "a room", "agency")
    assert (said["WindowEpsilon"], said["WindowRuns"]) == ([2.5], [3.0])
