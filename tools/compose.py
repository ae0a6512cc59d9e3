"""Docker compose for the Makefile: ``python3 tools/compose.py up|infra|down|logs [SERVICE ...]``.

Works with the plugin (``docker compose``) and with docker-compose 1.29, which cannot wait until the
containers are healthy; therefore the waiting is done here. Standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import make_env

ROOT = Path(__file__).resolve().parent.parent
WEB = "web"
WEB_PORT = "8000"
READY_TIMEOUT_SECONDS = 180.0
POLL_SECONDS = 1.0
LOG_TAIL_LINES = 40
SETTINGS = {
    "postgres": ("5432", "COFFER_DATABASE_URL=postgresql://coffer:POSTGRES_PASSWORD@{}/coffer"),
    "redis": ("6379", "COFFER_REDIS_URL=redis://:REDIS_PASSWORD@{}/0"),
    "rabbitmq": ("5672", "COFFER_AMQP_URL=amqp://coffer:RABBITMQ_DEFAULT_PASS@{}/"),
}
"""The port of each service of `make infra`, and the setting that makes use of it."""
STATE_FORMAT = (
    "{{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
)


def main(command: str, services: list[str]) -> int:
    """Run a command. Returns the exit code."""
    compose = find_compose()
    if command == "down":
        return run([*compose, "down", "--remove-orphans"])
    if command == "logs":
        return run([*compose, "logs", "--follow", "--tail", "200", *services])
    if added := make_env.complete(make_env.ENV_FILE):
        print(f"Wrote random secrets into .env: {', '.join(added)}", flush=True)
    wanted = list(SETTINGS) if command == "infra" else []
    build = [] if command == "infra" else ["--build"]
    if code := run([*compose, "up", "--detach", *build, *wanted]):
        return code
    if failed := wait(compose, wanted or asked(compose, "config", "--services")):
        print(f"Not ready: {', '.join(failed)}. The end of their logs:", file=sys.stderr)
        run([*compose, "logs", "--tail", str(LOG_TAIL_LINES), *failed])
        return 1
    if command == "infra":
        print("Ready. The settings to use them, but for the passwords, which are in .env:")
        for service, (port, setting) in SETTINGS.items():
            print("  " + setting.format(*asked(compose, "port", service, port)))
        return 0
    address = asked(compose, "port", WEB, WEB_PORT)
    print(f"Coffer is ready: http://{address[0]}/" if address else "Coffer is ready.")
    print("The key that may do everything is COFFER_BOOTSTRAP_KEY in .env; make others with it.")
    print("`make logs` follows its logs, `make down` stops it.")
    return 0


def find_compose() -> list[str]:
    """The command that docker compose is here."""
    if shutil.which("docker"):
        plugin = ["docker", "compose"]
        if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
            return plugin
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    sys.exit(
        "Docker with its compose plugin (or docker-compose) is needed for this. "
        "`make run` does without."
    )


def wait(compose: list[str], services: list[str]) -> list[str]:
    """Wait until every service is healthy, or done if it runs once. Returns those that failed."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    waiting = services
    while waiting:
        states = {service: state(compose, service) for service in waiting}
        failed = [service for service, known in states.items() if known == "failed"]
        waiting = [service for service, known in states.items() if known == "waiting"]
        if failed or time.monotonic() > deadline:
            return failed or waiting
        time.sleep(POLL_SECONDS if waiting else 0)
    return []


def state(compose: list[str], service: str) -> str:
    """``ready``, ``waiting`` or ``failed``, over all containers of the service."""
    containers = asked(compose, "ps", "--all", "--quiet", service)
    if not containers:
        return "waiting"
    found = asked(["docker"], "inspect", "--format", STATE_FORMAT, *containers)
    states = [line.split() for line in found]
    if any(status in ("exited", "dead") and code != "0" for status, code, *_ in states):
        return "failed"
    if all(
        status == "exited" or (status == "running" and (not health or health == ["healthy"]))
        for status, _, *health in states
    ):
        return "ready"
    return "waiting"


def asked(command: list[str], *arguments: str) -> list[str]:
    """The lines that a command answers; none if it fails."""
    answer = subprocess.run(
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return answer.stdout.split("\n")[:-1] if answer.returncode == 0 else []


def run(command: list[str]) -> int:
    """Run a command in the project's folder, its output for all to see. Returns the exit code."""
    try:
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    except KeyboardInterrupt:
        # How one stops to follow the logs.
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
