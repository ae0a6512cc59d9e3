from __future__ import annotations

import pytest

from benchmarks.measurements import (
    DATABASE,
    GRANIAN,
    GUNICORN,
    Figure,
    Measurement,
    percentile,
    ratio_of,
    summarize,
)
from benchmarks.profile import package_of, summarize_stacks
from benchmarks.report import remarks, table, whole
from benchmarks.targets import Result, Target, judge, targets_of

SPREAD = Figure(GUNICORN, "deposits_spread")
FLOOR = Figure(GUNICORN, "http_floor")


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


def good_run() -> list[Measurement]:
    """A run that meets every target, just."""
    return [
        *measured(Figure(DATABASE, "pgbench_lock_hot"), 1000.0),
        *measured(FLOOR, 2500.0),
        *measured(Figure(GRANIAN, "http_floor"), 4000.0),
        *(
            measurement
            for server, value in ((GUNICORN, 1000.0), (GRANIAN, 1600.0))
            for kind in ("spread", "hot")
            for measurement in measured(Figure(server, f"deposits_{kind}"), value)
        ),
        *(
            measurement
            for server in (GUNICORN, GRANIAN)
            for name, value, unit in (
                ("p99_spread", 49.0, "ms"),
                ("p99_hot", 49.0, "ms"),
                ("memory", 119.0, "MB"),
            )
            for measurement in measured(Figure(server, name), value, unit=unit)
        ),
    ]


def test_every_target_can_be_met() -> None:
    results = judge(good_run())
    assert [result.verdict for result in results] == ["met"] * 14


@pytest.mark.parametrize("number", range(14))
def test_every_target_can_be_missed(number: int) -> None:
    target = [t for server in (GUNICORN, GRANIAN) for t in targets_of(server)][number]
    worse = [
        Measurement(m.round, m.server, m.name, m.value * (2 if target.below else 0.5), m.unit)
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


def test_table_is_aligned() -> None:
    assert table(["name", "n"], [["a", "1"], ["long name", "1000"]]).splitlines() == [
        "| name      |    n |",
        "| --------- | ---: |",
        "| a         |    1 |",
        "| long name | 1000 |",
    ]


def test_report_of_a_partial_run() -> None:
    machine = {
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
    options = {"rounds": 1, "seconds": 1.0, "connections": 8, "wallets": 9, "paced_rate": 1000}
    measurements = measured(SPREAD, 1234.0)
    text = whole(machine, options, measurements, judge(measurements))
    assert "1,234" in text
    assert text.count("not measured") == 14


def test_remarks_tell_of_failures_and_of_noise() -> None:
    quiet = Measurement(1, GUNICORN, "http_floor", 1.0, "ops/s", 0, {})
    assert remarks([quiet]) == []
    noisy = Measurement(
        1, GUNICORN, "http_floor", 1.0, "ops/s", 3, {"other_programs_cpu_percent": 30.0}
    )
    failed, disturbed = remarks([noisy])
    assert "3 requests FAILED" in failed
    assert "30 %" in disturbed


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
