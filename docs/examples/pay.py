"""Pay once, whatever happens on the way. Python 3.11, standard library only."""

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from typing import Any

RETRIED = {429, 500, 502, 503, 504}  # all others are answers: 400, 409, 422 will not get better


def post(url: str, body: object, key: str, api_key: str = "", limit: float = 120) -> Any:
    """Status and JSON of a POST that is done at most once; TimeoutError after ``limit`` seconds."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    deadline, pause, wait = time.monotonic() + limit, 0.1, 0.0
    while time.monotonic() + wait < deadline:
        time.sleep(wait)
        try:  # the very same request every time, the key included
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in RETRIED:
                return error.code, json.load(error)
            asked = int(error.headers.get("Retry-After", 0))
        except (OSError, ValueError, http.client.HTTPException):
            asked = 0  # no connection, or one that broke off: done or not, who knows
        pause = min(pause * 2, 10)
        wait = asked + random.uniform(0, pause)
    raise TimeoutError(f"It may have been done or not: try again with the key {key}.")
