"""Processes with this folder on PYTHONPATH get the fakes beside it for the modules named below."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

FAKED = ("customer360.declarations", "customer360.pipeline", "customer360.run_status")


class FakeFinder:
    """Answers for these modules only."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in FAKED:
            return None
        file = f"{name.rpartition('.')[2]}.py"
        return importlib.util.spec_from_file_location(name, Path(__file__).with_name(file))


sys.meta_path.insert(0, FakeFinder)  # type: ignore[arg-type]  # a class does as a finder
