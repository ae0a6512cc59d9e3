"""What watches the service: the files in ops/ and the profile `observe` of docker-compose.yml.

They are checked against what the programs expose, so that no alert waits for a metric that is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import promql_parser
import pytest
import yaml

from testkit.exposed import OURS, STANDARD, all_metrics
from testkit.running import ROOT
from WalletCore.domain.errors import CofferError

OPS: Final = ROOT / "ops"
ALERTS: Final[Any] = yaml.safe_load((OPS / "alerts.yml").read_text())
PROMETHEUS: Final[Any] = yaml.safe_load((OPS / "prometheus.yml").read_text())
DASHBOARD: Final[Any] = json.loads((OPS / "grafana" / "dashboards" / "coffer.json").read_text())
COMPOSE: Final[Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PRODUCTION: Final[Any] = yaml.safe_load((ROOT / "docker-compose.production.yml").read_text())

RULES: Final = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PROFILE: Final = ("prometheus", "grafana")
GRID_COLUMNS: Final = 24
WANTED: Final = {
    "CofferDown",
    "CofferNotReady",
    "CofferErrors",
    "CofferSlow",
    "CofferQueueFull",
    "CofferOverloaded",
    "CofferPartitionsRunOut",
    "CofferRelayWithoutLeader",
    "CofferRelayLag",
    "CofferWorkerLag",
    "CofferDeadMessages",
    "CofferReturnedMessages",
    "CofferHousekeepingIdle",
}
UNITS: Final = {"short", "s", "reqps", "ops", "percentunit", "bytes"}


def dashboard_queries() -> list[str]:
    """Every expression of the dashboard, its variables replaced by what Grafana puts there."""
    found = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return [
        one.replace("$__rate_interval", "1m").replace("$instance", "10.0.0.1:8000") for one in found
    ]


QUERIES: Final = [*(rule["expr"] for rule in RULES), *dashboard_queries()]


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    """Every selector of an expression. Raises ValueError for what is no PromQL."""
    found: list[promql_parser.VectorSelector] = []

    def note(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), note)
    yield from found


def test_the_parser_refuses_what_is_no_promql() -> None:
    for wrong in ("sum(", "rate(coffer_x_total)", "sum by (le coffer_x)", "coffer_x > > 1"):
        with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
            list(selectors(wrong))
    (one,) = selectors('sum by (a) (rate(coffer_x_total{b="c"}[5m])) > 1')
    assert one.name == "coffer_x_total"


@pytest.mark.parametrize("expression", QUERIES)
def test_every_query_names_metrics_that_there_are(expression: str) -> None:
    metrics = all_metrics().values()
    labels = {series: set(metric.labels) for metric in metrics for series in metric.series}
    found = list(selectors(expression))
    assert found
    for selector in found:
        assert selector.name is not None
        assert selector.name in labels or selector.name in STANDARD, selector.name
        assert selector.name.startswith(OURS) or selector.name in STANDARD
        named = {matcher.name for matcher in selector.matchers.matchers}
        own = labels.get(selector.name, set())
        assert named <= {*own, "job", "instance"}, (selector.name, named)


@pytest.mark.parametrize("expression", QUERIES)
def test_what_is_grouped_by_is_a_label(expression: str) -> None:
    known = {label for metric in all_metrics().values() for label in metric.labels}
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        for label in labels.split(", "):
            assert label in {*known, "le", "instance"}, expression


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_and_where_to_read_on(rule: Any) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    summary = rule["annotations"]["summary"]
    assert summary.endswith(".")
    anchor = f"alert-{rule['alert'].lower()}"
    assert rule["annotations"]["runbook"] == f"docs/operating.md#{anchor}"
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert "for" not in rule or re.fullmatch(r"\d+[mh]", rule["for"])


def test_the_alerts_are_all_there_and_each_once() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    assert set(names) >= WANTED


def test_codes_of_refusals_that_are_named_exist() -> None:
    codes: set[str] = set()
    kinds: list[type[CofferError]] = [CofferError]
    while kinds:
        kind = kinds.pop()
        codes.add(kind.code)
        kinds += kind.__subclasses__()
    named = {
        code
        for expression in QUERIES
        for given in re.findall(r'code=~?"([^"]+)"', expression)
        for code in given.split("|")
    }
    assert named
    assert named <= codes


# -- The dashboard -----------------------------------------------------------------------------


def test_the_dashboard_has_its_rows_and_nothing_lies_on_another() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Requests", "Money", "Commit", "The way of events", "Resources"]
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= GRID_COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
    # No gaps either.
    assert len(taken) == GRID_COLUMNS * (1 + max(y for _, y in taken))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_has_a_unit_and_legends_and_any_source(panel: Any) -> None:
    assert panel["title"]
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == source
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == source
        assert target["legendFormat"]
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            # What is summed by other labels has no such one.
            grouped = re.search(r"\bby \(([^)]*)\)", target["expr"])
            assert grouped is None or label in grouped[1].split(", ")
            assert grouped is not None or label in {"instance", "job"}
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len(set(letters))


def test_the_variables_of_the_dashboard() -> None:
    source, instance = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert (instance["name"], instance["datasource"]["uid"]) == ("instance", "${datasource}")
    jobs = {job["job_name"] for job in PROMETHEUS["scrape_configs"]}
    assert re.findall(r'job="([^"]+)"', instance["query"]["query"]) == ["coffer-web"]
    assert "coffer-web" in jobs


# -- Where the metrics come from ---------------------------------------------------------------


def test_prometheus_finds_every_container_of_the_three_programs() -> None:
    found = {
        (job["job_name"], source["names"][0], source["port"])
        for job in PROMETHEUS["scrape_configs"]
        for source in job["dns_sd_configs"]
    }
    assert found == {
        ("coffer-web", "web", 8000),
        ("coffer-relay", "relay", 8001),
        ("coffer-worker", "worker", 8002),
    }
    for job in PROMETHEUS["scrape_configs"]:
        (source,) = job["dns_sd_configs"]
        assert source["type"] == "A"
        assert source["names"][0] in COMPOSE["services"]
    # Of the jobs that the queries name there is each.
    named = set(re.findall(r'job="([^"]+)"', " ".join(QUERIES)))
    assert named <= {job for job, _, _ in found}


def test_only_web_asks_for_a_key_and_it_is_in_a_file() -> None:
    keyed = [job for job in PROMETHEUS["scrape_configs"] if "authorization" in job]
    (job,) = keyed
    assert job["job_name"] == "coffer-web"
    (folder,) = COMPOSE["services"]["prometheus"]["tmpfs"]
    file = job["authorization"]["credentials_file"]
    assert file.startswith(folder.partition(":")[0] + "/")
    script = COMPOSE["services"]["prometheus"]["entrypoint"][-1]
    assert f">{file}\n" in script
    assert "umask 077" in script
    assert COMPOSE["services"]["prometheus"]["environment"] == {
        "COFFER_METRICS_KEY": "${COFFER_METRICS_KEY:-}"
    }


@pytest.mark.parametrize("name", PROFILE)
def test_the_services_of_the_profile(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["profiles"] == ["observe"]
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"])
    user = service["user"].partition(":")[0]
    assert user.isdecimal()
    assert user != "0"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert all(port.startswith("127.0.0.1:${COFFER_") for port in service["ports"])
    for volume in service["volumes"]:
        source, target, *mode = volume.split(":")
        if source.startswith("./"):
            assert mode == ["ro"]
            assert (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]
        assert target.startswith("/")


def test_nothing_else_is_in_a_profile_and_production_leaves_it_as_it_is() -> None:
    profiled = {name for name, one in COMPOSE["services"].items() if "profiles" in one}
    assert profiled == set(PROFILE)
    assert profiled.isdisjoint(PRODUCTION["services"])


def test_there_is_no_password_that_everybody_knows() -> None:
    environment = COMPOSE["services"]["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_ADMIN_PASSWORD:?")
    assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert "GF_AUTH_ANONYMOUS_ENABLED" not in environment


def test_grafana_is_given_the_source_and_the_dashboard() -> None:
    provisioning = OPS / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())
    (source,) = sources["datasources"]
    # Without a uid of ours: the dashboard takes whichever is chosen.
    assert "uid" not in source
    assert source["url"] == "http://prometheus:9090"
    dashboards = yaml.safe_load((provisioning / "dashboards" / "coffer.yml").read_text())
    (provider,) = dashboards["providers"]
    mounts = [one.split(":") for one in COMPOSE["services"]["grafana"]["volumes"]]
    assert ["./ops/grafana/dashboards", provider["options"]["path"], "ro"] in mounts
    assert ["./ops/grafana/provisioning", "/etc/grafana/provisioning", "ro"] in mounts
