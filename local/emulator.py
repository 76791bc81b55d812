"""local: one emulator process (MiniStack), bound to 127.0.0.1, that cannot outlive who started it.

Run as a module it *is* the emulator process: it serves until its standard input closes, which
happens when the process that started it ends, however that ends.
"""

import contextlib
import os
import runpy
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

REGION = "us-east-1"
HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".local"
START_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Emulator:
    """A running emulator and how to reach it.

    Attributes:
        endpoint_url: base address of every service, `http://127.0.0.1:port`.
        folder: where its log, its temporary files and its state lie.
        access_key: of the account's root; nothing outside this emulator accepts it.
        secret_key: of the same.
    """

    endpoint_url: str
    folder: Path
    access_key: str
    secret_key: str
    region_name: str = REGION
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that point an AWS SDK at this emulator, and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region_name,
            "AWS_DEFAULT_REGION": self.region_name,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    @property
    def session(self) -> Any:
        """Return a boto3 session with the emulator's root credentials; it reads no file of the machine's user."""
        return boto3.Session(
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key, region_name=self.region_name
        )

    def client(self, service_name: str, **keywords: Any) -> Any:
        """Return a boto3 client of `service_name` that speaks with this emulator."""
        return self.session.client(service_name, endpoint_url=self.endpoint_url, **self._defaults(keywords))

    def resource(self, service_name: str, **keywords: Any) -> Any:
        """Return a boto3 resource of `service_name` that speaks with this emulator."""
        return self.session.resource(service_name, endpoint_url=self.endpoint_url, **self._defaults(keywords))

    def close(self) -> None:
        """Stop the emulator and every function process that it started; harmless when already stopped."""
        if self.process is None or self.process.poll() is not None:
            return
        _kill_group(self.process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        _kill_group(self.process, signal.SIGKILL)
        self.process.wait(timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _defaults(keywords: dict[str, Any]) -> dict[str, Any]:
        # Path style: virtual-host names under 127.0.0.1 do not resolve.
        config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "max_attempts": 3})
        given = keywords.get("config")
        return {**keywords, "config": config.merge(given) if given else config}


def start_emulator(*, folder: Path, enforce_iam: bool = False) -> Emulator:
    """Start an emulator on a free port of 127.0.0.1 and wait until it answers.

    Args:
        folder: where it may write; made if missing.
        enforce_iam: whether requests of role sessions are checked against their policies.

    Raises:
        RuntimeError: it ended or did not answer within 30 seconds; the message names its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    port = _free_port()
    emulator = Emulator(
        endpoint_url=f"http://{HOST}:{port}",
        folder=folder,
        access_key="local",
        secret_key=secrets.token_hex(16),
    )
    log = folder / "emulator.log"
    environment = {
        # Not the caller's environment: functions inherit this one, and must see nothing of the machine's.
        **{name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ},
        **emulator.environment,
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": HOST,
        "MINISTACK_REGION": REGION,
        "AUTH": "true" if enforce_iam else "false",
        "SFTP_ENABLED": "false",
        "IOT_MTLS_ENABLED": "false",
        "LOG_LEVEL": "INFO",
        "PYTHONPATH": str(ROOT),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.emulator"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Emulator(
        endpoint_url=emulator.endpoint_url,
        folder=folder,
        access_key=emulator.access_key,
        secret_key=emulator.secret_key,
        process=process,
    )
    deadline = time.monotonic() + START_SECONDS
    while not _answers(running.endpoint_url):
        if process.poll() is not None or time.monotonic() > deadline:
            running.close()
            message = f"the emulator did not start; its log is {log}"
            raise RuntimeError(message)
        time.sleep(0.05)
    return running


def _answers(endpoint_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint_url}/_ministack/health", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _kill_group(process: subprocess.Popen[bytes], signal_number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal_number)


def _end_with_starter() -> None:
    # EOF on the pipe means that the starter is gone: end the whole group, function processes included.
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _serve() -> None:
    if os.environ.get("BIND_HOST") != HOST:
        message = f"the emulator executes code, so it binds {HOST} only: start it with local.stack"
        raise SystemExit(message)
    threading.Thread(target=_end_with_starter, daemon=True).start()
    # Not imported: ministack.app reads its settings from the environment when it is loaded.
    runpy.run_module("ministack", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
