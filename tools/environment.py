"""Make the project's own Python environment in ``.venv``, by the lock, with pipenv from
``.local/tools``.

Called by the Makefile: ``python3 tools/environment.py run|test|lock``. Standard library only.
Nothing is installed outside of the project's folder, and nothing of an activated environment or of
pip's configuration is used, but for what reaching the network needs. PIPENV_PYPI_MIRROR names
another index; every file is checked by its hash.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path
from typing import NoReturn
from urllib.parse import urljoin

OLDEST_PYTHON = (3, 11)
"""Also the one to lock with: packages that only it needs would be missing from a lock made with a
later one.
"""

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
TOOLS = ROOT / ".local" / "tools"
LOG = ROOT / ".local" / "install.log"
LOG_TAIL_LINES = 30
REQUIREMENTS = ROOT / "tools" / "pipenv-requirements.txt"
PIPENV_AND_WHAT_IT_NEEDS = (
    *("certifi", "distlib", "filelock", "packaging", "pip", "pipenv", "platformdirs"),
    *("python-discovery", "setuptools", "virtualenv"),
)
INDEX_URL = "https://pypi.org/simple"
DOWNLOAD_TIMEOUT_SECONDS = 60

CATEGORIES = {"run": "packages local", "test": "packages local dev-packages"}
NETWORK_OPTIONS = ("cert", "client-cert", "proxy", "retries", "timeout", "trusted-host")
"""What is kept of pip's configuration."""


def main(purpose: str) -> None:
    """Make the environment for a purpose: ``run``, ``test``, or ``lock`` to write Pipfile.lock."""
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_text("")
    environment = clean_environment(dict(os.environ))
    install_pipenv(environment)
    if purpose == "lock":
        lock(environment)
    else:
        sync(purpose, environment)


def clean_environment(inherited: dict[str, str]) -> dict[str, str]:
    """The variables for pip and pipenv, without those of other environments and configurations."""
    kept = {"PIPENV_PYPI_MIRROR", *map(_variable, NETWORK_OPTIONS)}
    foreign = ("PIP_", "PIPENV_", "PYTHON", "VIRTUAL_ENV", "VIRTUALENV_", "CONDA_")
    return {
        **{
            name: value
            for name, value in inherited.items()
            if name in kept or not name.startswith(foreign)
        },
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIPENV_IGNORE_VIRTUALENVS": "1",
        "PIPENV_NOSPIN": "1",
        "PIPENV_VENV_IN_PROJECT": "1",
        "PIPENV_YES": "1",
        # Otherwise it keeps wheels under the user's home.
        "VIRTUALENV_OVERRIDE_APP_DATA": str(ROOT / ".local" / "virtualenv"),
    }


def install_pipenv(environment: dict[str, str]) -> None:
    """Install pipenv, pinned and hashed, into an environment of its own, unless it is there."""
    installed = TOOLS / REQUIREMENTS.name
    if _works(TOOLS) and installed.exists():
        environment |= _network_configuration(environment)
        if installed.read_bytes() == REQUIREMENTS.read_bytes():
            return
    _say("Installing pipenv into .local/tools (the first time only).")
    has_pip = importlib.util.find_spec("ensurepip") is not None
    try:
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=has_pip).create(TOOLS)
    except (OSError, subprocess.CalledProcessError) as error:
        _give_up(
            f"Python could not make a virtual environment ({error}). "
            "On Debian: apt install python3-venv"
        )
    index = environment.get("PIPENV_PYPI_MIRROR", INDEX_URL).rstrip("/")
    pip = ["-m", "pip"] if has_pip else [str(_download_pip(index) / "pip")]
    environment |= _network_configuration(environment, *pip)
    command = [*pip, "install", "--require-hashes", "--only-binary=:all:", "--index-url", index]
    _run([_python(TOOLS), *command, "-r", str(REQUIREMENTS)], environment)
    shutil.copyfile(REQUIREMENTS, installed)


def sync(purpose: str, environment: dict[str, str]) -> None:
    """Install the locked packages into .venv."""
    if not _works(ENVIRONMENT):
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        _make_environment(ENVIRONMENT, environment)
    _say("Installing the packages of Pipfile.lock into .venv (only when they change).")
    _pipenv(["sync", "--categories", CATEGORIES[purpose]], ROOT, environment)


def lock(environment: dict[str, str]) -> None:
    """Write Pipfile.lock, and out of it the requirements of pipenv itself. Pins move as far as
    Pipfile lets them.
    """
    if sys.version_info[:2] != OLDEST_PYTHON:
        version = ".".join(map(str, OLDEST_PYTHON))
        _give_up(f"Lock with Python {version}, the oldest: make lock PYTHON=python{version}")
    _say("Locking (a minute or so).")
    with tempfile.TemporaryDirectory() as name:
        # Beside the project, so that no environment that is in use has a say.
        folder = Path(name)
        shutil.copyfile(ROOT / "Pipfile", folder / "Pipfile")
        _make_environment(folder / ".venv", environment)
        # pipenv leaves temporary files behind; here they go with the folder.
        _pipenv(["lock"], folder, {**environment, "TMPDIR": name})
        shutil.copyfile(folder / "Pipfile.lock", ROOT / "Pipfile.lock")
    packages = json.loads((ROOT / "Pipfile.lock").read_text())["develop"]
    lines = ["# pipenv, for the Makefile. Written by `make lock` out of Pipfile.lock.\n"]
    for package in PIPENV_AND_WHAT_IT_NEEDS:
        hashes = [f"    --hash={digest}" for digest in packages[package]["hashes"]]
        lines.append(" \\\n".join([package + packages[package]["version"], *hashes]) + "\n")
    REQUIREMENTS.write_text("".join(lines))


def _network_configuration(environment: dict[str, str], *pip: str) -> dict[str, str]:
    """What the user's own configuration of pip says about reaching the network, as variables."""
    answer = subprocess.run(
        [_python(TOOLS), *(pip or ["-m", "pip"]), "config", "list"],
        env={name: value for name, value in environment.items() if name != "PIP_CONFIG_FILE"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {}
    for line in answer.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in ("global", "install") and option in NETWORK_OPTIONS:
            found[_variable(option)] = value.strip("'\"")
    return {name: value for name, value in found.items() if name not in environment}


def _variable(pip_option: str) -> str:
    return "PIP_" + pip_option.upper().replace("-", "_")


def _download_pip(index: str) -> Path:
    """Fetch the pinned pip, for a Python without ensurepip, and return the wheel, which runs as it
    is.

    It is found on the index's page of links (PEP 503) and known by its hash.
    """
    pin = re.search(r"^pip==(\S+)((?: \\\n +--hash=\S+)+)", REQUIREMENTS.read_text(), re.MULTILINE)
    if pin is None:
        _give_up(f"{REQUIREMENTS} does not pin pip.")
    name = f"pip-{pin[1]}-py3-none-any.whl"
    try:
        page = _fetch(f"{index}/pip/").decode()
        link = re.search(rf'href="([^"#]+/{re.escape(name)})', page)
        content = _fetch(urljoin(f"{index}/pip/", link[1])) if link else b""
    except OSError as error:
        _give_up(
            f"This Python comes without ensurepip, and {name} could not be fetched from {index} "
            f"({error}). On Debian: apt install python3-venv"
        )
    if f"sha256:{hashlib.sha256(content).hexdigest()}" not in pin[2]:
        _give_up(f"The {name} of {index} is not the pinned one.")
    wheel = TOOLS / name
    wheel.write_bytes(content)
    return wheel


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as answer:
        content: bytes = answer.read()
    return content


def _make_environment(folder: Path, environment: dict[str, str]) -> None:
    # Not left to pipenv, which looks for a Python of its own choice.
    _run([_python(TOOLS), "-m", "virtualenv", "-p", sys.executable, str(folder)], environment)


def _pipenv(arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
    _run([_python(TOOLS), "-m", "pipenv", *arguments], environment, folder)


def _works(environment: Path) -> bool:
    """Whether the environment's Python runs and is new enough: its base may have been upgraded or
    removed.
    """
    code = f"import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    try:
        return subprocess.run([_python(environment), "-c", code], check=False).returncode == 0
    except OSError:
        return False


def _python(environment: Path) -> str:
    return str(environment / "bin" / "python")


def _run(command: list[str], environment: dict[str, str], folder: Path = ROOT) -> None:
    """Run a command with its output in the log; show the log's end and stop when it fails."""
    with LOG.open("a") as log:
        ended = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if ended.returncode != 0:
        tail = LOG.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        _give_up("\n".join([*tail, f"Failed: {' '.join(command)}", f"All of it: {LOG}"]))


def _say(text: str) -> None:
    print(text, flush=True)


def _give_up(text: str) -> NoReturn:
    sys.exit(text)


if __name__ == "__main__":
    main(sys.argv[1])
