"""The name of the variable that tells prometheus_client where several processes count together.

A module of its own, because the server sets the variable before anything imports prometheus_client,
which looks at it then; ``WalletCore.telemetry`` does import it.
"""

from __future__ import annotations

from typing import Final

METRICS_FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
