from __future__ import annotations

import pytest

from benchmarks.announcing import metric
from benchmarks.event_log import drain_rate
from benchmarks.measurements import (
    DATABASE,
    GRANIAN,
    GUNICORN,
    WEB_SERVERS,
    Figure,
    Measurement,
    percentile,
    ratio_of,
    summarize,
)
from benchmarks.options import Options
from benchmarks.profile import package_of, summarize_stacks
from benchmarks.programs import CannotMeasure
from benchmarks.report import announcing_table, remarks, table, whole
from benchmarks.saturation import load_of, load_of_bulk
from benchmarks.targets import Result, Target, judge, targets_of

SPREAD = Figure(GUNICORN, "deposits_spread")
FLOOR = Figure(GUNICORN, "http_floor")

TARGETS = 43
MACHINE = {
    "cores": 2,
    "cpu": "a CPU",
    "memory_gib": 8.0,
    "system": "Linux",
    "kernel": "6",
    "file_system": "ext4",
    "python": "3.11",
    "postgresql": "18",
    "postgresql_settings": {"fsync": "on", "synchronous_commit": "on"},
}
OPTIONS = {
    "rounds": 1,
    "seconds": 1.0,
    "connections": 8,
    "wallets": 9,
    "paced_rate": 1000,
    "backlog": 5000,
}


def measured(figure: Figure, *values: float, unit: str = "ops/s") -> list[Measurement]:
    return [
        Measurement(number, figure.server, figure.name, value, unit)
        for number, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(50, 5.0), (90, 9.0), (95, 10.0), (99, 10.0), (100, 10.0), (10, 1.0), (10.1, 2.0), (0.1, 1.0)],
)
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 11)], percent) == expected


def test_percentile_of_one_value() -> None:
    assert percentile([7.0], 99) == 7.0


def test_percentile_finds_the_one_slow_request_in_a_hundred() -> None:
    assert percentile([1.0] * 99 + [500.0], 99) == 1.0
    assert percentile([1.0] * 98 + [500.0] * 2, 99) == 500.0


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_percentile_of_nothing(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


def test_summary() -> None:
    found = summarize([3.0, 1.0, 10.0])
    assert found is not None
    assert (found.lowest, found.median, found.highest) == (1.0, 3.0, 10.0)
    assert summarize([]) is None


def test_ratio_is_taken_within_each_round() -> None:
    # The machine is three times as fast in the second round; the ratio is the same.
    rounds = [*measured(SPREAD, 40, 120, 41), *measured(FLOOR, 100, 300, 100)]
    found = ratio_of(rounds, SPREAD, FLOOR)
    assert found is not None
    assert (found.lowest, found.median, found.highest) == (0.4, 0.4, 0.41)


def test_ratio_without_a_common_round() -> None:
    assert ratio_of(measured(SPREAD, 40), SPREAD, FLOOR) is None
    assert ratio_of([*measured(SPREAD, 40), *measured(FLOOR, 0)], SPREAD, FLOOR) is None
    late = [Measurement(2, FLOOR.server, FLOOR.name, 100, "ops/s")]
    assert ratio_of([*measured(SPREAD, 40), *late], SPREAD, FLOOR) is None


def verdict(target: Target, *values: float) -> str:
    return Result(target, summarize(values)).verdict


def test_verdict_at_least() -> None:
    target = Target(SPREAD, 0.40, FLOOR)
    assert verdict(target, 0.40) == "met"
    assert verdict(target, 0.5, 0.3, 0.41) == "met"
    assert verdict(target, 0.30) == "missed by 0.100 (25.0 %)"
    assert verdict(target) == "not measured"


def test_verdict_below() -> None:
    target = Target(Figure(GUNICORN, "p99_spread"), 50.0, below=True, unit="ms")
    assert verdict(target, 49.9) == "met"
    assert verdict(target, 50.0) == "missed by 0.0 ms (0.0 %)"
    assert verdict(target, 75.0) == "missed by 25.0 ms (50.0 %)"


def announcing_run() -> list[Measurement]:
    """The part of it that is about the events."""
    return [
        measurement
        for name, value, unit in (
            ("recorded_p50", 24.9, "ms"),
            ("recorded_p99", 99.9, "ms"),
            ("backlog", 5000.0, "events/s"),
            ("unannounced_deposits", 1000.0, "ops/s"),
            ("announced_deposits", 800.0, "ops/s"),
            ("broker_up_p99", 20.0, "ms"),
            ("broker_away_p99", 21.9, "ms"),
        )
        for server in WEB_SERVERS
        if (server, name) != (GRANIAN, "backlog")
        for measurement in measured(Figure(server, name), value, unit=unit)
    ]


def good_run() -> list[Measurement]:
    """A run that meets every target, just."""
    return [
        *measured(Figure(DATABASE, "pgbench_lock_hot"), 1000.0),
        *measured(Figure(DATABASE, "pgbench_set_spread"), 40_000.0),
        *measured(Figure(DATABASE, "pgbench_set_hot"), 40_000.0),
        *measured(FLOOR, 2500.0),
        *announcing_run(),
        *measured(Figure(GRANIAN, "http_floor"), 4000.0),
        *(
            measurement
            for server, value in ((GUNICORN, 1000.0), (GRANIAN, 1600.0))
            for kind in ("spread", "hot")
            for measurement in measured(Figure(server, f"deposits_{kind}"), value)
        ),
        *(
            measurement
            for server, deposits in ((GUNICORN, 1000.0), (GRANIAN, 1600.0))
            for name, value, unit in (
                ("p99_spread", 49.0, "ms"),
                ("p99_hot", 49.0, "ms"),
                ("memory", 119.0, "MB"),
                ("transfers_spread", 0.8 * deposits, "ops/s"),
                ("transfers_hot", 0.8 * deposits, "ops/s"),
                ("bulk_spread", 20_000.0, "ops/s"),
                ("bulk_hot", 20_000.0, "ops/s"),
                ("shop_p99", 49.0, "ms"),
                ("shop_right", 99.99, "%"),
                ("shop_busy_p99", 99.0, "ms"),
                ("shop_busy_right", 99.99, "%"),
            )
            for measurement in measured(Figure(server, name), value, unit=unit)
        ),
    ]


def test_every_target_can_be_met() -> None:
    results = judge(good_run())
    assert [result.verdict for result in results] == ["met"] * TARGETS


@pytest.mark.parametrize("number", range(TARGETS))
def test_every_target_can_be_missed(number: int) -> None:
    target = [t for server in (GUNICORN, GRANIAN) for t in targets_of(server)][number]
    factor = 2 if target.below else 0.5
    worse = [
        Measurement(m.round, m.server, m.name, m.value * factor, m.unit)
        if m.figure == target.figure
        else m
        for m in good_run()
    ]
    result = judge(worse)[number]
    assert result.target == target
    assert result.verdict.startswith("missed by ")


def test_nothing_measured_is_no_success() -> None:
    results = judge([])
    assert {result.verdict for result in results} == {"not measured"}
    assert not any(result.met for result in results)


def test_a_smoke_test_judges_nothing() -> None:
    results = judge([*good_run(), *measured(SPREAD, 1.0)], smoke=True)
    assert {result.verdict for result in results} == {"not judged: only a smoke test"}
    assert {result.met for result in results} == {None}
    assert results[0].document()["verdict"] == "not judged: only a smoke test"


def test_a_rate_of_events_is_judged_in_whole_events() -> None:
    target = Target(Figure(GUNICORN, "backlog"), 5000.0, unit="events/s")
    assert target.wanted == ">= 5,000 events/s"
    assert verdict(target, 5000.0) == "met"
    assert verdict(target, 4000.0) == "missed by 1,000 events/s (20.0 %)"


def test_operations_in_bulk_are_judged_in_whole_ones_and_by_the_database() -> None:
    figure = Figure(GUNICORN, "bulk_hot")
    absolute, relative = (t for t in targets_of(GUNICORN) if t.figure == figure)
    assert (absolute.title, absolute.wanted) == ("bulk_hot", ">= 20,000 ops/s")
    assert verdict(absolute, 15_000.0) == "missed by 5,000 ops/s (25.0 %)"
    assert (relative.title, relative.wanted) == ("bulk_hot / pgbench_set_hot", ">= 0.500")


def test_a_share_of_answers_is_judged_in_thousandths_of_a_percent() -> None:
    target = Target(Figure(GUNICORN, "shop_right"), 99.99, unit="%")
    assert target.wanted == ">= 99.990 %"
    assert verdict(target, 99.99) == "met"
    assert verdict(target, 99.989) == "missed by 0.001 % (0.0 %)"


def test_transfers_are_judged_by_deposits() -> None:
    titles = [target.title for target in targets_of(GRANIAN)]
    assert "transfers_spread / deposits_spread" in titles
    assert "transfers_hot / transfers_spread" in titles


WRK = {"duration_us": 2_000_000, "broken": 0, "p50_us": 1500, "p99_us": 9000}


def test_load_of_requests_that_are_one_operation_each() -> None:
    load = load_of({**WRK, "requests": 1000, "not_2xx": 10, "broken": 2})
    assert (load.good, load.per_second, load.failed) == (990, 495.0, 12)
    assert load.details == {"p50_ms": 1.5, "p99_ms": 9.0}


def test_load_of_bulk_requests_counts_deposits() -> None:
    load = load_of_bulk({**WRK, "requests": 40, "done": 40_000})
    assert (load.good, load.per_second, load.failed) == (40_000, 20_000.0, 0)


def test_a_deposit_in_bulk_that_was_not_done_has_failed() -> None:
    refused = load_of_bulk({**WRK, "requests": 40, "done": 39_999})
    assert (refused.good, refused.failed) == (39_999, 1)
    unanswered = load_of_bulk({**WRK, "requests": 39, "done": 39_000, "broken": 1})
    assert (unanswered.good, unanswered.failed) == (39_000, 1000)


def test_a_latency_is_compared_with_the_other_one_of_its_round() -> None:
    up, away = Figure(GUNICORN, "broker_up_p99"), Figure(GUNICORN, "broker_away_p99")
    target = Target(away, 1.1, up, below=True)
    # The second round is on a machine that is busy with something else.
    rounds = [*measured(up, 20.0, 90.0, unit="ms"), *measured(away, 21.0, 94.5, unit="ms")]
    assert Result(target, ratio_of(rounds, away, up)).met
    assert target.title == "broker_away_p99 / broker_up_p99"


def test_drain_rate_counts_what_lies_between_first_and_last() -> None:
    assert drain_rate(5001, 1.0) == 5000.0
    assert drain_rate(2, 0.5) == 2.0


@pytest.mark.parametrize(("events", "seconds"), [(0, 1.0), (1, 1.0), (5000, 0.0)])
def test_drain_rate_of_nothing(events: int, seconds: float) -> None:
    with pytest.raises(CannotMeasure, match="no rate"):
        drain_rate(events, seconds)


def test_metric_out_of_the_text_of_prometheus() -> None:
    text = "# TYPE coffer_a counter\ncoffer_a_total 12.0\ncoffer_a_created 1.7e+09\n"
    assert metric(text, "coffer_a_total") == 12.0
    assert metric(text, "coffer_b_total") == 0.0


def test_options_choose_by_the_beginning_of_a_name() -> None:
    chosen = Options(only=("recorded",))
    assert chosen.wants("recorded_p50", "recorded_p99")
    assert chosen.wants("recorded_direct_p50")
    assert not chosen.wants("backlog")
    assert Options().wants("backlog")


def test_table_is_aligned() -> None:
    assert table(["name", "n"], [["a", "1"], ["long name", "1000"]]).splitlines() == [
        "| name      |    n |",
        "| --------- | ---: |",
        "| a         |    1 |",
        "| long name | 1000 |",
    ]


def test_report_of_a_partial_run() -> None:
    measurements = measured(SPREAD, 1234.0)
    text = whole(MACHINE, OPTIONS, measurements, judge(measurements))
    assert "1,234" in text
    assert text.count("not measured") == TARGETS


def test_report_of_a_smoke_test_says_so_beside_the_targets() -> None:
    results = judge(good_run(), smoke=True)
    text = whole(MACHINE, OPTIONS | {"smoke": True}, good_run(), results, ["No broker here."])
    assert text.count("SMOKE TEST") == 2
    assert text.count("not judged: only a smoke test") == TARGETS
    assert "missed" not in text
    assert "No broker here." in text


def test_report_of_the_events() -> None:
    details = {"p50_ms": 9.0, "p95_ms": 20.0, "p99_ms": 31.0, "max_ms": 44.0, "events": 8000.0}
    measurements = [
        Measurement(1, GUNICORN, "recorded_p99", 31.0, "ms", 0, details),
        *measured(Figure(GUNICORN, "backlog"), 6000.0, 7000.0, unit="events/s"),
        *measured(Figure(GUNICORN, "backlog_direct"), 8000.0, unit="events/s"),
    ]
    rows = announcing_table(measurements, OPTIONS).splitlines()
    through, without, *others = (
        [cell.strip() for cell in row.split("|")[1:-1]] for row in rows[2:]
    )
    assert [row[0] for row in others] == ["granian, through RabbitMQ", "granian, without a broker"]
    assert through == [
        "gunicorn, through RabbitMQ", "9.0", "20.0", "31.0", "44.0", "6,500 (6,000 to 7,000)"
    ]  # fmt: skip
    assert without == ["gunicorn, without a broker", "-", "-", "-", "-", "8,000 (8,000 to 8,000)"]
    assert "5,000" in rows[0]


def test_remarks_tell_of_failures_and_of_noise() -> None:
    quiet = Measurement(1, GUNICORN, "http_floor", 1.0, "ops/s", 0, {})
    assert remarks([quiet]) == []
    noisy = Measurement(
        1, GUNICORN, "http_floor", 1.0, "ops/s", 3, {"other_programs_cpu_percent": 30.0}
    )
    failed, disturbed = remarks([noisy])
    assert "3 requests FAILED" in failed
    assert "30 %" in disturbed


def test_remarks_tell_of_a_pace_that_was_not_reached() -> None:
    def at(percent: float) -> Measurement:
        details = {"pace_reached_percent": percent}
        return Measurement(1, GUNICORN, "recorded_p99", 1.0, "ms", 0, details)

    assert remarks([at(99.9)]) == []
    (slow,) = remarks([at(52.0)])
    assert "only 52 % of the pace" in slow


@pytest.mark.parametrize(
    ("frame", "package"),
    [
        ("run (/a/.venv/lib/python3.11/site-packages/flask/app.py)", "flask"),
        ("load (WalletCore/postgres/transactions.py)", "WalletCore"),
        ("acquire (threading.py)", "standard library"),
        ("encode (/usr/lib/python3.11/json/encoder.py)", "standard library"),
        ("send (_psycopg.cpython-311.so)", "native"),
    ],
)
def test_package_of_a_frame(frame: str, package: str) -> None:
    assert package_of(frame) == package


def test_stacks_are_summed_up() -> None:
    text = summarize_stacks(
        [
            "thread (1);_run (WalletCore/committer.py);load (WalletCore/x.py) 3",
            "thread (2);view (RestAPI/endpoint.py) 1",
        ]
    )
    assert "committer: WalletCore" in text
    assert "75.0 %" in text
    assert "requests: RestAPI" in text
