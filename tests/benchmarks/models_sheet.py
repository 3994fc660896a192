"""The sheet of a models' bench: targets with what was found, and the peers that it is held beside.

What belongs here: rows and how they are printed, running a peer in its own environment. What does
not: any figure.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PEERS = Path(__file__).with_name("models_peers.py")


@dataclass
class Sheet:
    """Rows ``task, figure, target, found, reached, beside``, in the order in which they came."""

    rows: list[dict[str, str]] = field(default_factory=list)

    def add(
        self, task: str, figure: str, target: str, found: str, reached: bool | None, beside: str
    ) -> None:
        """One figure; ``reached`` is None where it is shown and nothing was asked of it."""
        word = {True: "yes", False: "NO", None: "-"}[reached]
        row = {
            "task": task,
            "figure": figure,
            "target": target,
            "found": found,
            "reached": word,
            "beside": beside,
        }
        self.rows.append(row)
        print(f"  {task}: {figure} {found} (target {target}): {word}", flush=True)

    def against_peers(
        self, task: str, figure: str, found: float, peers: Mapping[str, float], *, low: bool = False
    ) -> None:
        """``found`` is to be within .003 of the best of ``peers``, or better.

        Args:
            task: which data.
            figure: what was measured.
            found: ours.
            peers: name -> theirs.
            low: smaller is better.
        """
        best = min(peers, key=lambda name: peers[name] if low else -peers[name])
        behind = (found - peers[best]) if low else (peers[best] - found)
        self.add(
            task,
            figure,
            f"best peer {peers[best]:.4f} {'+' if low else '-'} .003",
            f"{found:.4f}",
            bool(behind <= 0.003 + 1e-9),
            ", ".join(f"{name} {value:.4f}" for name, value in peers.items()),
        )

    def absent(self, task: str, why: str) -> None:
        """A task that cannot be measured here."""
        self.add(task, "-", "-", "absent", None, why)

    def text(self) -> str:
        """The table, as wide as it has to be."""
        return pd.DataFrame(self.rows).to_markdown(index=False)


def run_peer(
    python: Path, name: str, arrays: Mapping[str, NDArray[np.float64]], *numbers: float
) -> NDArray[np.float64]:
    """What a peer of ``models_peers.py`` answers, in the environment that it is installed in."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npy"
        np.savez(given, **dict(arrays))
        subprocess.run(
            [python, PEERS, name, given, found, *map(str, numbers)],
            check=True,
            capture_output=True,
            text=True,
        )
        answer: NDArray[np.float64] = np.load(found)
    return answer
