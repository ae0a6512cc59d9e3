"""A client that is generated from the document: without a warning, and it works."""

from __future__ import annotations

import compileall
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from RestAPI.tests.running import Server, running

PACKAGE = "coffer_client_of_the_tests"
GENERATE_SECONDS = 60
TOOL = Path(sys.executable).with_name("openapi-python-client")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="module")
def generated(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What the generator said; the package can be imported."""
    folder = tmp_path_factory.mktemp("generated")
    status, document = server.ask("GET", "/openapi.json")
    assert status == 200
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.yml").write_text("post_hooks: []\n")
    done = subprocess.run(
        [
            *(TOOL, "generate", "--meta", "none", "--path", "openapi.json"),
            *("--config", "config.yml", "--output-path", PACKAGE),
        ],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=GENERATE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert compileall.compile_dir(folder / PACKAGE, quiet=2)
    sys.path.insert(0, str(folder))
    yield done.stdout
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def part(name: str) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.{name}")


def test_it_is_generated_without_a_warning(generated: str) -> None:
    assert generated.split() == ["Generating", PACKAGE]


def test_every_endpoint_is_in_it(generated: str, server: Server) -> None:
    _, document = server.ask("GET", "/openapi.json")
    for methods in document["paths"].values():
        for operation in methods.values():
            module = part(f"api.{operation['tags'][0].lower()}.{operation['operationId']}")
            assert callable(module.sync_detailed)


def test_the_first_session(generated: str, server: Server) -> None:
    """What the README does with curl."""
    models = part("models")
    with part("client").Client(f"http://127.0.0.1:{server.port}") as client:
        wallet = part("api.wallets.create_wallet").sync(
            client=client, body=models.WalletCreation(owner="ann", currency=models.CurrencyCode.USD)
        )
        assert (wallet.owner, wallet.balance) == ("ann", "0.00")

        def operate(kind: str, amount: object, key: str) -> object:
            return part("api.operations.operate").sync(
                wallet.id,
                client=client,
                body=models.OperationOrder(
                    operation_type=models.OrderedType(kind), amount=amount, reference="invoice-17"
                ),
                idempotency_key=key,
            )

        first = operate("DEPOSIT", "30.00", "first")
        assert first == operate("DEPOSIT", "30.00", "first")
        withdrawn = operate("WITHDRAW", 10.5, "second")
        assert withdrawn.new_balance == "19.50"  # type: ignore[attr-defined]
        refused = operate("WITHDRAW", "1000", "third")
        assert refused.code == "insufficient_funds"  # type: ignore[attr-defined]
        history = part("api.operations.list_operations").sync(wallet.id, client=client)
        assert [item.amount for item in history.items] == ["10.50", "30.00"]
        assert part("api.wallets.get_balance").sync(wallet.id, client=client).balance == "19.50"
