"""What the figures were measured on."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Final

import psycopg

BYTES_PER_GIB: Final = 1024**3
PACKAGES: Final = ("flask", "gunicorn", "granian", "psycopg", "pydantic")
SHOWN_SETTINGS: Final = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
)


def describe_machine(url: str, data_folder: Path) -> dict[str, Any]:
    """The machine, the programs, and settings of the PostgreSQL at ``url`` that matter."""
    with psycopg.connect(url) as connection:
        version = connection.execute("SHOW server_version").fetchone()
        shown = connection.execute(
            "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name",
            [list(SHOWN_SETTINGS)],
        ).fetchall()
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages * page_bytes / BYTES_PER_GIB, 1),
        "system": _system_name(),
        "kernel": platform.release(),
        "file_system": _file_system(data_folder),
        "python": platform.python_version(),
        "postgresql": version[0] if version else "",
        "postgresql_settings": dict(shown),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def in_words(machine: dict[str, Any]) -> str:
    """The machine in one sentence."""
    broker = f", RabbitMQ {machine['rabbitmq']}" if machine.get("rabbitmq") else ""
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, "
        f"{machine['system']}, Linux {machine['kernel']}, data on {machine['file_system']}, "
        f"Python {machine['python']}, PostgreSQL {machine['postgresql']} "
        f"(fsync {machine['postgresql_settings']['fsync']}, synchronous_commit "
        f"{machine['postgresql_settings']['synchronous_commit']}){broker}"
    )


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _system_name() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return platform.system()


def _file_system(folder: Path) -> str:
    """The type of the file system that holds ``folder``: on tmpfs an fsync costs nothing."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        shown = subprocess.run(
            ["df", "--output=fstype", str(folder)], capture_output=True, text=True, check=True
        )
        return shown.stdout.split()[-1]
    return "an unknown file system"
