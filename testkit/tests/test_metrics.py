"""docs/metrics.md and the programs agree, in both directions."""

from __future__ import annotations

import http.client
import re
from pathlib import Path

from RestAPI.tests.running import running
from testkit.exposed import PROGRAMS, Metric, all_metrics, metrics_of
from testkit.programs import RELAY, WORKER, RunningProgram
from testkit.running import ROOT
from testkit.waiting import eventually

TABLE = ROOT / "docs" / "metrics.md"
ROW = re.compile(
    r"^\| `(\w+)` \| (counter|gauge|histogram) \|((?: `\w+`,?)*) \| (.+) \| ([a-z, ]+) \|$"
)


def documented() -> dict[str, tuple[Metric, list[str]]]:
    """The rows of the table, by the metric's name, each with the programs that it names."""
    lines = TABLE.read_text().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    found = {}
    for line in rows:
        match = ROW.match(line)
        assert match, line
        name, kind, labels, meaning, programs = match.groups()
        metric = Metric(name, kind, tuple(re.findall(r"\w+", labels)), meaning)
        assert name not in found, name
        found[name] = (metric, programs.split(", "))
    return found


def test_the_table_has_every_metric_and_no_other() -> None:
    assert {name: metric for name, (metric, _) in documented().items()} == all_metrics()


def test_the_programs_of_each_metric_are_right() -> None:
    for name, (_, programs) in documented().items():
        having = [program for program in PROGRAMS if name in metrics_of(program)]
        assert set(programs) <= set(having), name
        if len(having) == 1:
            assert programs == having, name


def types_at(port: int) -> set[tuple[str, str]]:
    """What a program that runs says of its metrics: names and kinds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == http.HTTPStatus.OK
        text = answer.read().decode()
    finally:
        connection.close()
    assert "\ncoffer_ready 1.0\n" in text
    return {
        (name, kind)
        for name, kind in re.findall(r"^# TYPE (coffer_\w+) (\w+)$", text, re.MULTILINE)
        if not name.endswith("_created")
    }


def test_the_programs_expose_what_their_registries_say(
    fresh_postgres_url: str, amqp_url: str, amqp_prefix: str, tmp_path: Path
) -> None:
    def known(program: str) -> set[tuple[str, str]]:
        return {(metric.name, metric.kind) for metric in metrics_of(program).values()}

    for program, arguments in (("relay", RELAY), ("worker", WORKER)):
        process = RunningProgram(
            arguments, fresh_postgres_url, amqp_url=amqp_url, amqp_prefix=amqp_prefix
        )
        try:
            process.start()
            eventually(process.is_ready, program)
            assert types_at(process.port) == known(program)
        finally:
            process.close()
    with running(tmp_path, COFFER_DATABASE_URL=fresh_postgres_url, COFFER_WORKERS="1") as server:
        eventually(lambda: server.ask("GET", "/health/ready")[0] == 200, "the server")
        assert types_at(server.port) == known("web")
