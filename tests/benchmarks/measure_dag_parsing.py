"""How long each DAG file takes to import, as Airflow's DAG processor meets it.

Not a test: wall clocks are not asserted. It prints a table, or one JSON object with ``--json``.
Each file is imported several times, each time in a fresh process that has Airflow's SDK imported
already, as the DAG processor has; the median counts. The library's share is what importing
``customer360.declarations`` takes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
REPEATS = 5

CODE = """
import runpy, sys, time
import airflow.sdk, airflow.sdk.bases.operator
begun = time.perf_counter()
import customer360.declarations
library = time.perf_counter() - begun
runpy.run_path(sys.argv[1])
print(library, time.perf_counter() - begun)
"""


def measure(path: Path) -> dict[str, float]:
    """Median seconds of importing ``path`` in all, and of the library in it."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "AIRFLOW_HOME": folder}
        command = [sys.executable, "-c", CODE, str(path)]
        for _ in range(REPEATS):
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            pairs.append(tuple(map(float, done.stdout.split()[-2:])))
    library, total = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"seconds": round(total, 3), "of_which_library": round(library, 3)}


def main() -> None:
    """Measure every DAG file."""
    figures = {path.name: measure(path) for path in sorted((PROJECT / "dags").glob("*.py"))}
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    print(f"{'DAG file':<28}{'seconds':>9}{'library':>9}   (median of {REPEATS})")
    for name, figure in figures.items():
        print(f"{name:<28}{figure['seconds']:>9.3f}{figure['of_which_library']:>9.3f}")


if __name__ == "__main__":
    main()
