"""local: start the emulator, deploy template.yaml into it, and say how to reach what runs.

`python -m local.stack` keeps it running until Ctrl-C; `start()` is the same for the demo and the tests.
"""

import contextlib
import io
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from local.adapt import adapt
from local.emulator import ROOT, STATE, Emulator, start_emulator
from local.fill import fill_gaps, gaps_as_outputs
from local.template import FUNCTION, Template, read_template, translate, uri_in_s3

STACK_NAME = "cleanroom"
STACK_FILE = STATE / "stack.json"
CODE_BUCKET = "cleanroom-code"
LAYERS = [ROOT / "layers" / "core" / "python"]
PARTIES = {"airline": "provider", "agency": "consumer", "broker": "consumer", "stranger": "outsider"}
PROVIDERS = "airline"
PARAMETERS = {"ProviderParties": PROVIDERS, "AuditLockDays": "1"}
"""Of template.yaml, where this stack differs from its defaults: the export is on, so that it is tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """A deployed stack on this machine.

    Attributes:
        api_url: of the HTTP API, without a slash at its end.
        outputs: of the template, by name (`TablesBucketName`, `RunQueueUrl`, ...).
        emulator: that it runs in.
    """

    api_url: str
    outputs: dict[str, str]
    emulator: Emulator
    passwords: dict[str, str] = field(repr=False)

    def token(self, party: str) -> str:
        """Return a fresh JWT of `party`: airline provides, agency and broker consume, stranger is in no room."""
        cognito = self.client("cognito-idp")
        answer = cognito.initiate_auth(
            ClientId=self.outputs["UserPoolClientId"],
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": party, "PASSWORD": self.passwords[party]},
        )
        return str(answer["AuthenticationResult"]["IdToken"])

    def client(self, service_name: str, **keywords: Any) -> Any:
        """Return a boto3 client of the account that the stack runs in, with its administrator's rights."""
        return self.emulator.client(service_name, **keywords)

    def resource(self, service_name: str, **keywords: Any) -> Any:
        """Return a boto3 resource, as `client` does."""
        return self.emulator.resource(service_name, **keywords)

    def logs(self) -> str:
        """Return what the emulator and the functions wrote, for a person who looks for a fault."""
        return (self.emulator.folder / "emulator.log").read_text(encoding="utf-8", errors="replace")

    def describe(self) -> dict[str, Any]:
        """Return what any HTTP client needs: addresses, buckets, and per party how to get a JWT."""
        return {
            "api_url": self.api_url,
            "aws": self.emulator.environment,
            "outputs": self.outputs,
            "parties": {
                party: {
                    "role": role,
                    "user": party,
                    "password": self.passwords[party],
                    "token": {
                        "command": f"python -m local.token {party}",
                        "endpoint": self.emulator.endpoint_url,
                        "headers": {
                            "Content-Type": "application/x-amz-json-1.1",
                            "X-Amz-Target": "AWSCognitoIdentityProviderService.InitiateAuth",
                        },
                        "body": {
                            "AuthFlow": "USER_PASSWORD_AUTH",
                            "ClientId": self.outputs["UserPoolClientId"],
                            "AuthParameters": {"USERNAME": party, "PASSWORD": self.passwords[party]},
                        },
                        "jwt": "AuthenticationResult.IdToken of the answer",
                    },
                }
                for party, role in PARTIES.items()
            },
        }

    def close(self) -> None:
        """Stop everything that was started."""
        self.emulator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(*, folder: Path | None = None, functions: Path = ROOT, enforce_iam: bool = True) -> Stack:
    """Start an emulator and deploy template.yaml into it.

    Args:
        folder: for logs and temporary files; left out, a new one under `.local/`.
        functions: folder that the template's `CodeUri`s are relative to.
        enforce_iam: whether each function is held to its role.

    Raises:
        UncoveredError: the template says something that the local stack would not do.
        RuntimeError: the emulator did not start, or refused the stack; nothing is left running.
    """
    if folder is None:
        STATE.mkdir(mode=0o700, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=STATE))
    emulator = start_emulator(folder=folder, enforce_iam=enforce_iam)
    try:
        return _deploy(emulator, functions)
    except BaseException:
        emulator.close()
        raise


def _deploy(emulator: Emulator, functions: Path) -> Stack:
    source = read_template()
    _upload_code(emulator, source, functions)
    template = adapt(
        translate(uri_in_s3(source), parameters=PARAMETERS),
        emulator=emulator,
        code_bucket=CODE_BUCKET,
        layers=LAYERS,
    )
    template, gaps = gaps_as_outputs(template)
    # By URL: in a request a template may have 51,200 bytes.
    s3 = emulator.client("s3")
    s3.put_object(Bucket=CODE_BUCKET, Key="template.json", Body=json.dumps(template).encode())
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK_NAME,
        TemplateURL=f"{emulator.endpoint_url}/{CODE_BUCKET}/template.json",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in PARAMETERS.items()],
    )
    outputs = _wait_until_created(cloudformation)
    resources = {
        found["LogicalResourceId"]: {"type": found["ResourceType"], "id": found["PhysicalResourceId"]}
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK_NAME)
        for found in page["StackResourceSummaries"]
    }
    if missing := set(template["Resources"]) - set(resources) - _switched_off(template):
        message = f"the emulator did not create {', '.join(sorted(missing))}"
        raise RuntimeError(message)
    fill_gaps(gaps, resources=resources, outputs=outputs, emulator=emulator)
    return Stack(
        api_url=f"{emulator.endpoint_url}/_aws/execute-api/{outputs['ApiId']}/$default",
        outputs={name: value for name, value in outputs.items() if name in source["Outputs"]},
        emulator=emulator,
        passwords=_create_users(emulator, outputs["UserPoolId"]),
    )


def _wait_until_created(cloudformation: Any) -> dict[str, str]:
    deadline = time.monotonic() + 60
    while True:
        (stack,) = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"]
        if stack["StackStatus"] == "CREATE_COMPLETE":
            return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        if stack["StackStatus"] != "CREATE_IN_PROGRESS" or time.monotonic() > deadline:
            events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
            reasons = [
                f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
                for event in events
                if "FAILED" in event["ResourceStatus"] and event.get("ResourceStatusReason")
            ]
            message = f"the emulator left the stack {stack['StackStatus']}: " + "; ".join(reasons)
            raise RuntimeError(message)
        time.sleep(0.1)


def _switched_off(template: Template) -> set[str]:
    # The local stack always has its own user pool and the export: resources under these conditions must be there.
    switched_on = {None, "UseCognito", "HasAuditExport"}
    return {name for name, resource in template["Resources"].items() if resource.get("Condition") not in switched_on}


def _upload_code(emulator: Emulator, source: Template, functions: Path) -> None:
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket=CODE_BUCKET)
    bootstrap = (
        "#!/bin/sh\n"
        'case "$AWS_ENDPOINT_URL" in http://127.0.0.1:*) ;; *) echo "no local AWS to speak with" >&2; exit 1;; esac\n'
        f"exec '{sys.executable}' -m awslambdaric \"$_HANDLER\"\n"
    )
    for name, resource in source["Resources"].items():
        if resource["Type"] != FUNCTION:
            continue
        folder = functions / resource["Properties"]["CodeUri"]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, bootstrap)
            for path in sorted(folder.rglob("*.py")):
                archive.write(path, path.relative_to(folder))
        s3.put_object(Bucket=CODE_BUCKET, Key=f"{name}.zip", Body=packed.getvalue())


def _create_users(emulator: Emulator, user_pool: str) -> dict[str, str]:
    cognito = emulator.client("cognito-idp")
    passwords = {}
    for party in PARTIES:
        # The pool asks for lower case, upper case and a digit; the rest is random.
        passwords[party] = "aA1" + secrets.token_urlsafe(18)
        cognito.admin_create_user(
            UserPoolId=user_pool,
            Username=party,
            MessageAction="SUPPRESS",
            TemporaryPassword=passwords[party],
            UserAttributes=[{"Name": "custom:party", "Value": party}],
        )
        cognito.admin_set_user_password(UserPoolId=user_pool, Username=party, Password=passwords[party], Permanent=True)
    return passwords


def write_stack_file(stack: Stack, path: Path = STACK_FILE) -> None:
    """Write `describe()` where `local.token` and people look for it, readable by their owner only."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as output:
        json.dump(stack.describe() | {"pid": os.getpid()}, output, indent=2)
        output.write("\n")
    new.replace(path)


def _up() -> None:
    if _running_pid() is not None:
        raise SystemExit(f"it already runs; {STACK_FILE.relative_to(ROOT)} says where (make down stops it)")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    started = time.monotonic()
    with start() as stack:
        try:
            write_stack_file(stack)
            print(f"deployed in {time.monotonic() - started:.1f} s, on this machine only")
            print(f"API    {stack.api_url}")
            print(f"about  {STACK_FILE.relative_to(ROOT)}")
            print("token  .venv/bin/python -m local.token airline")
            print("Ctrl-C stops it", flush=True)
            stopped.wait()
        finally:
            STACK_FILE.unlink(missing_ok=True)
            shutil.rmtree(stack.emulator.folder, ignore_errors=True)


def _down() -> None:
    pid = _running_pid()
    if pid is None:
        print("nothing runs")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while STACK_FILE.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    print("stopped")


def _running_pid() -> int | None:
    with contextlib.suppress(FileNotFoundError, KeyError, ValueError, ProcessLookupError, PermissionError):
        pid = int(json.loads(STACK_FILE.read_text(encoding="utf-8"))["pid"])
        os.kill(pid, 0)
        return pid
    return None


if __name__ == "__main__":
    if sys.argv[1:] == ["down"]:
        _down()
    elif sys.argv[1:] in ([], ["up"]):
        _up()
    else:
        raise SystemExit("python -m local.stack [up | down]")
