"""Docker compose for the Makefile: ``tools/compose.py up|observe|infra|down|logs [SERVICE ...]``.

Works with the plugin (``docker compose``) and with docker-compose 1.29, which cannot wait until the
containers are healthy; therefore the waiting is done here. Standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import make_env

ROOT = Path(__file__).resolve().parent.parent
WEB = "web"
WEB_PORT = "8000"
READY_TIMEOUT_SECONDS = 180.0
POLL_SECONDS = 1.0
LOG_TAIL_LINES = 40
OBSERVE = ["--profile", "observe"]
WATCHERS = {"prometheus": "9090", "grafana": "3000"}
"""The services of that profile, and their ports."""
METRICS_KEY = "COFFER_METRICS_KEY"
MAKE_METRICS_KEY = ["python", "-m", "RestAPI", "keys", "create", "prometheus", "--scope", "metrics"]
ASK_SECONDS = 15.0
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
        return run([*compose, *OBSERVE, "down", "--remove-orphans"])
    if command == "logs":
        return run([*compose, *OBSERVE, "logs", "--follow", "--tail", "200", *services])
    if added := make_env.complete(make_env.ENV_FILE):
        print(f"Wrote random secrets into .env: {', '.join(added)}", flush=True)
    wanted = list(SETTINGS) if command == "infra" else []
    build = [] if command == "infra" else ["--build"]
    if code := run([*compose, "up", "--detach", *build, *wanted]):
        return code
    if code := wait_and_tell(compose, wanted or started(compose)):
        return code
    if command == "infra":
        print("Ready. The settings to use them, but for the passwords, which are in .env:")
        for service, (port, setting) in SETTINGS.items():
            print("  " + setting.format(*asked(compose, "port", service, port)))
        return 0
    address = asked(compose, "port", WEB, WEB_PORT)
    print(f"Coffer is ready: http://{address[0]}/" if address else "Coffer is ready.")
    print("The key that may do everything is COFFER_BOOTSTRAP_KEY in .env; make others with it.")
    print("`make logs` follows its logs, `make down` stops it.")
    return observe(compose) if command == "observe" else 0


def started(compose: list[str]) -> list[str]:
    """The services that `up` starts. docker-compose 1.29 names those of the profile as well."""
    return [name for name in asked(compose, "config", "--services") if name not in WATCHERS]


def observe(compose: list[str]) -> int:
    """Start what watches the service, which is ready. Returns the exit code."""
    if not ensure_metrics_key(compose):
        print("No key for the metrics could be made; `make logs ARGS=web` may say why.")
        return 1
    compose = [*compose, *OBSERVE]
    if code := run([*compose, "up", "--detach", *WATCHERS]):
        return code
    if code := wait_and_tell(compose, list(WATCHERS)):
        return code
    for service, port in WATCHERS.items():
        for address in asked(compose, "port", service, port)[:1]:
            print(f"{service.capitalize()}: http://{address}/")
    print("In Grafana you are coffer; the password is GRAFANA_ADMIN_PASSWORD in .env.")
    return 0


def ensure_metrics_key(compose: list[str]) -> bool:
    """Have a key in .env with which the metrics, and nothing else, can be read. Whether there is
    one now: it is made where there was none, or where it works no more.
    """
    key = make_env.get(make_env.ENV_FILE, METRICS_KEY)
    if key and reads_metrics(compose, key):
        return True
    made = asked(compose, "exec", "-T", WEB, *MAKE_METRICS_KEY)
    if not made or not made[-1].startswith("ck_"):
        return False
    make_env.put(make_env.ENV_FILE, METRICS_KEY, made[-1].strip())
    return True


def reads_metrics(compose: list[str], key: str) -> bool:
    """Whether the service takes ``key`` for its metrics."""
    for address in asked(compose, "port", WEB, WEB_PORT)[:1]:
        bearer = {"Authorization": f"Bearer {key}"}
        asking = urllib.request.Request(f"http://{address}/metrics", headers=bearer)
        try:
            with urllib.request.urlopen(asking, timeout=ASK_SECONDS):
                return True
        except OSError:
            return False
    return False


def wait_and_tell(compose: list[str], services: list[str]) -> int:
    """Wait until they are ready; show the logs of those that are not. Returns the exit code."""
    failed = wait(compose, services)
    if not failed:
        return 0
    print(f"Not ready: {', '.join(failed)}. The end of their logs:", file=sys.stderr)
    run([*compose, "logs", "--tail", str(LOG_TAIL_LINES), *failed])
    return 1


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
