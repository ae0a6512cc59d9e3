"""The requests of the paced client: what is sent, and in which shares."""

from __future__ import annotations

import json
from collections import Counter

from benchmarks.paced_requests import GIFT_SHARE, INFO_SHARE, KINDS

REQUESTS = 20_000
TOLERANCE = 0.02
"""Seven standard deviations."""


def test_the_shop_is_asked_in_the_wanted_shares() -> None:
    make = KINDS["shop"]("ann token-a\nbob token-b\n")
    found: Counter[str] = Counter()
    for _ in range(REQUESTS):
        head, _, body = make().decode().partition("\r\n\r\n")
        found[head.split("/", 3)[2].split(" ")[0].split("/")[0]] += 1
        own = "ann" if "Bearer token-a" in head else "bob"
        if body:
            assert json.loads(body)["toUser"] != own
            assert f"Content-Length: {len(body)}" in head
    shares = {name: count / REQUESTS for name, count in found.items()}
    assert abs(shares["info"] - INFO_SHARE) < TOLERANCE
    assert abs(shares["sendCoin"] - GIFT_SHARE) < TOLERANCE
    assert abs(shares["buy"] - (1 - INFO_SHARE - GIFT_SHARE)) < TOLERANCE


def test_nobody_logs_in_for_the_first_time_twice() -> None:
    make = KINDS["first-log-ins"]("")
    bodies = [json.loads(make().partition(b"\r\n\r\n")[2]) for _ in range(100)]
    assert len({body["username"] for body in bodies}) == 100
    assert all(body["password"] for body in bodies)


def test_deposits_go_to_the_given_wallets() -> None:
    make = KINDS["deposits"]("one\ntwo\n")
    paths = {make().split(b" ")[1].decode() for _ in range(100)}
    assert paths == {f"/api/v1/wallets/{name}/operation" for name in ("one", "two")}
