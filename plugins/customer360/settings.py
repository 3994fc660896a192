"""Where things are and which company is meant: the one place that reads the environment.

What belongs here: paths, the chosen company, resource limits. What does not: the contents of
``config/`` (``customer360.config``) or any I/O beyond looking whether a folder exists.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
"""The project folder: the one that holds dags/, dbt_project/, models/ and plugins/."""

DEFAULT_COMPANY = "demo"


@dataclass(frozen=True)
class Settings:
    """Paths and limits of one company.

    Attributes:
        company: name of the section in ``config/*.yml`` and of the folder below ``data/``.
        data_dir: everything that runs make for this company; nothing of it is in git.
        threads: cap on threads of DuckDB, OpenMP and dbt.
        memory_limit: cap on DuckDB's memory, in DuckDB's notation.
    """

    company: str
    data_dir: Path
    threads: int
    memory_limit: str

    @property
    def config_dir(self) -> Path:
        """Folder of sources.yml, audiences.yml and policies.yml."""
        return Path(os.environ.get("CUSTOMER360_CONFIG", PROJECT / "config"))

    @property
    def landing_dir(self) -> Path:
        """Immutable Parquet batches with their manifests."""
        return self.data_dir / "landing"

    @property
    def raw_path(self) -> Path:
        """DuckDB file of the raw layer; restricted, one writer."""
        return self.data_dir / "raw.duckdb"

    @property
    def work_dir(self) -> Path:
        """One folder a run: the marts file that is being built and audited."""
        return self.data_dir / "work"

    @property
    def snapshots_dir(self) -> Path:
        """Published, immutable marts files and the pointer to the current one."""
        return self.data_dir / "snapshots"

    @property
    def vault_dir(self) -> Path:
        """The vault file of each published snapshot: names, phones, addresses, texts by token."""
        return self.data_dir / "vault"

    @property
    def token_key(self) -> str | None:
        """The key of tokens (hex) where the environment holds it; a secret."""
        return os.environ.get("CUSTOMER360_TOKEN_KEY")

    @property
    def exports_dir(self) -> Path:
        """``<name>/<as_of>/`` folders for downstream tools."""
        return self.data_dir / "exports"

    @property
    def reports_dir(self) -> Path:
        """What a run leaves for people to read: gate reports, model cards."""
        return self.data_dir / "reports"

    @property
    def models_dir(self) -> Path:
        """Model files (skops); the registry in the decision state says which are good."""
        return self.data_dir / "models"

    @property
    def state_url(self) -> str:
        """SQLAlchemy URL of the decision state: what was decided and cannot be rebuilt."""
        path = self.data_dir / "state.sqlite"
        return os.environ.get("CUSTOMER360_STATE_URL", f"sqlite:///{path}")


def load_settings(company: str | None = None) -> Settings:
    """Settings of ``company``, or of the one that COMPANY in the environment selects."""
    name = company or os.environ.get("COMPANY") or DEFAULT_COMPANY
    data_root = Path(os.environ.get("CUSTOMER360_DATA", PROJECT / "data"))
    # Pictures of cards: its cache would lie in the user's home otherwise.
    os.environ.setdefault("MPLCONFIGDIR", str(data_root / ".matplotlib"))
    return Settings(
        company=name,
        data_dir=data_root / name,
        threads=int(os.environ.get("CUSTOMER360_THREADS", min(4, os.cpu_count() or 1))),
        memory_limit=os.environ.get("CUSTOMER360_MEMORY", "1500MB"),
    )
