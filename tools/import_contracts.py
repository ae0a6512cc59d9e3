"""A contract for import-linter that its own types cannot express; `make check` uses it."""

from __future__ import annotations

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class StandardLibraryOnly(Contract):
    """A package imports nothing but itself and the standard library. Option: ``package``."""

    package = fields.StringField()

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002
        """Find every import of another module. Called by import-linter."""
        package = str(self.package)
        others = {
            f"{importer} imports {imported}"
            for importer in {package, *graph.find_descendants(package)}
            for imported in graph.find_modules_directly_imported_by(importer)
            if not f"{imported}.".startswith(f"{package}.")
            and imported.partition(".")[0] not in sys.stdlib_module_names
        }
        return ContractCheck(kept=not others, metadata={"others": sorted(others)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print what was found. Called by import-linter."""
        for line in check.metadata["others"]:
            output.print_error(line)
