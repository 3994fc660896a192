"""Processes with this folder on PYTHONPATH get the fake as ``customer360.pipeline``."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path


class FakePipelineFinder:
    """Answers for one module name only."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "customer360.pipeline":
            return None
        return importlib.util.spec_from_file_location(name, Path(__file__).with_name("pipeline.py"))


sys.meta_path.insert(0, FakePipelineFinder)  # type: ignore[arg-type]  # a class does as a finder
