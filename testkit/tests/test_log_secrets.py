"""What counts as a secret in a log."""

from __future__ import annotations

import pytest

from testkit.log_secrets import SecretLogged, check_log
from WalletCore.telemetry import mask_secrets

KEY = f"ck_{'a' * 16}_{'B' * 43}"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
URL = "postgresql://coffer:hunter2@db/coffer"


@pytest.mark.parametrize("secret", [KEY, TOKEN, HASH, URL])
def test_a_secret_is_found_and_not_shown(secret: str) -> None:
    line = f'one line\n{{"path": "/x/{secret}", "status": 404}}\n'
    with pytest.raises(SecretLogged) as caught:
        check_log(line)
    assert secret not in str(caught.value)
    # What the service itself does with it leaves nothing to be found.
    check_log(mask_secrets(line))
    assert secret not in mask_secrets(line)


def test_a_log_without_secrets() -> None:
    check_log(f'{{"key_id": "{"a" * 16}", "url": "postgresql://coffer:***@db/x"}}\n')
