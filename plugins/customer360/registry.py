"""The model registry: which model files there are, how good they were, and which one scores.

What belongs here: writing and reading model files (skops, never pickle), their row in the decision
state, and the rule by which a challenger becomes champion. What does not: training (``models/``,
``customer360.scoring``).

A file is loaded only if its SHA-256 is the one in the registry and every type in it stands on the
allow-list below; otherwise it is refused and the champion before it scores, with a warning.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sqlalchemy import (
    JSON,
    Column,
    Date,
    Engine,
    RowMapping,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)

from customer360 import state
from customer360.exceptions import ModelError
from models.common.metrics import paired_gain

log = logging.getLogger(__name__)

# Beyond the plain values, numpy arrays and scikit-learn estimators that skops trusts by itself.
# Written here and nowhere else: a list that came with the file would protect nobody.
ALLOWED_TYPES: tuple[str, ...] = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)

model_versions = Table(
    "model_versions",
    state.metadata,
    Column("version", String(100), primary_key=True),
    Column("kind", String(40), nullable=False, index=True),
    Column("trained_as_of", Date, nullable=False),
    Column("status", String(20), nullable=False),  # champion, refused
    Column("reason", Text, nullable=False),
    Column("file", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("data_hash", String(64), nullable=False),
    Column("code_version", String(64), nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("thresholds", JSON, nullable=False),
    Column("registered_at", state.UtcDateTime, nullable=False),
    comment="One row a trained model; the newest champion by an as-of date scores it.",
)


@dataclass(frozen=True)
class ModelVersion:
    """A row of the registry.

    Attributes:
        version: kind, as-of and a hash of what went in: the same training gives the same name.
        status: ``champion`` (it was promoted) or ``refused`` (it was not better than noise).
        metrics: on the report window.
        thresholds: the scores from which on something is done, by name.
    """

    version: str
    kind: str
    trained_as_of: date
    status: str
    reason: str
    file: str
    sha256: str
    data_hash: str
    code_version: str
    metrics: dict[str, Any] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedModel:
    """A champion with its contents; ``warnings`` name the champions that had to be passed over."""

    row: ModelVersion
    artefact: dict[str, Any]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """Whether a challenger becomes champion, and why in a sentence."""

    promoted: bool
    reason: str
    gain: float | None = None
    low: float | None = None


def decide(
    champion_losses: np.ndarray | None, challenger_losses: np.ndarray, window: str
) -> Decision:
    """Promote only what is better on the same later window by more than noise.

    Args:
        champion_losses: loss of each customer by the champion, None where there is no usable one.
        challenger_losses: the same customers by the challenger.
        window: the window in words.
    """
    if champion_losses is None:
        return Decision(True, "there was no usable champion")
    gain = paired_gain(champion_losses, challenger_losses)
    better = gain["low"] > 0
    sentence = (
        f"on {window} its loss is {abs(gain['gain']):.4f} "
        f"{'lower' if gain['gain'] > 0 else 'higher'} than the champion's "
        f"(lower bound of the gain {gain['low']:.4f})"
    )
    return Decision(
        better,
        f"promoted: {sentence}" if better else f"refused: {sentence}, no more than noise",
        gain["gain"],
        gain["low"],
    )


def code_version(files: Iterable[Path]) -> str:
    """Hash of the source files that shape a model; a change of any of them is a new version."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def version_name(
    kind: str, trained_as_of: date, data_hash: str, code: str, parameters: dict[str, Any]
) -> str:
    """The name of a training: the same data, code and parameters give the same name."""
    text = json.dumps([data_hash, code, parameters], sort_keys=True, default=str)
    return f"{kind}-{trained_as_of:%Y%m%d}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Registry:
    """Model files in a folder and their rows in the decision state.

    Args:
        engine: of the decision state (SQLite or PostgreSQL).
        folder: where the files lie.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        state.ensure(engine)

    def find(self, version: str) -> ModelVersion | None:
        """The row of a version, or None."""
        query = select(model_versions).where(model_versions.c.version == version)
        with self.engine.begin() as connection:
            row = connection.execute(query).mappings().first()
        return _version(row) if row else None

    def champions(self, kind: str, trained_not_after: date) -> list[ModelVersion]:
        """All that were promoted by then, the newest first."""
        query = (
            select(model_versions)
            .where(
                model_versions.c.kind == kind,
                model_versions.c.status == "champion",
                model_versions.c.trained_as_of <= trained_not_after,
            )
            .order_by(model_versions.c.trained_as_of.desc(), model_versions.c.registered_at.desc())
        )
        with self.engine.begin() as connection:
            return [_version(row) for row in connection.execute(query).mappings()]

    def versions(self, kind: str | None = None) -> list[ModelVersion]:
        """Everything that was ever trained, the newest first."""
        query = select(model_versions).order_by(model_versions.c.trained_as_of.desc())
        if kind is not None:
            query = query.where(model_versions.c.kind == kind)
        with self.engine.begin() as connection:
            return [_version(row) for row in connection.execute(query).mappings()]

    def latest_champion(self, kind: str, trained_not_after: date) -> LoadedModel | None:
        """The newest champion whose file is sound, or None where there never was a champion.

        Args:
            kind: such as ``churn-28d``.
            trained_not_after: the as-of date of the scores; a model that was trained later has
                seen the future.

        Raises:
            ModelError: there are champions, but no file of any is sound.
        """
        rows = self.champions(kind, trained_not_after)
        warnings: list[str] = []
        for row in rows:
            try:
                return LoadedModel(row, self.load(row), tuple(warnings))
            except ModelError as error:
                log.warning("model %s is passed over: %s", row.version, error)
                warnings.append(str(error))
        if rows:
            raise ModelError(
                f"none of the {len(rows)} champions of {kind} can be used; the newest: "
                f"{warnings[0]}"
            )
        return None

    def load(self, row: ModelVersion) -> dict[str, Any]:
        """The contents of a model file.

        Raises:
            ModelError: it is missing, altered, truncated, or holds a type that is not allowed.
        """
        path = self.folder / row.file
        mend = "train again, or put the file back from a backup"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"model file {row.file} cannot be read; {mend}") from error
        if hashlib.sha256(content).hexdigest() != row.sha256:
            raise ModelError(f"model file {row.file} is not the one that was registered; {mend}")
        try:
            unknown = set(skops.io.get_untrusted_types(data=content)) - set(ALLOWED_TYPES)
            if unknown:
                raise ModelError(
                    f"model file {row.file} holds types that are not on the allow-list: "
                    f"{', '.join(sorted(unknown))}"
                )
            artefact = skops.io.loads(content, trusted=list(ALLOWED_TYPES))
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"model file {row.file} cannot be understood; {mend}") from error
        if not isinstance(artefact, dict):
            raise ModelError(f"model file {row.file} is not a model of customer360; {mend}")
        return artefact

    def register(
        self,
        *,
        version: str,
        kind: str,
        trained_as_of: date,
        artefact: dict[str, Any],
        decision: Decision,
        data_hash: str,
        code: str,
        metrics: dict[str, Any],
        thresholds: dict[str, float] | None = None,
    ) -> ModelVersion:
        """Keep a trained model, promoted or refused; the same version again changes nothing.

        A version whose file has gone bad is written anew, with the status it had.
        """
        known = self.find(version)
        if known is not None:
            try:
                self.load(known)
            except ModelError:
                log.warning("model %s is written anew: its file was not sound", version)
            else:
                return known
        content = skops.io.dumps(artefact)
        unknown = set(skops.io.get_untrusted_types(data=content)) - set(ALLOWED_TYPES)
        if unknown:
            raise ModelError(f"types are not on the allow-list: {', '.join(sorted(unknown))}")
        row = ModelVersion(
            version=version,
            kind=kind,
            trained_as_of=trained_as_of,
            status=known.status if known else "champion" if decision.promoted else "refused",
            reason=known.reason if known else decision.reason,
            file=f"{version}.skops",
            sha256=hashlib.sha256(content).hexdigest(),
            data_hash=data_hash,
            code_version=code,
            metrics=plain(metrics),
            thresholds=plain(thresholds or {}),
        )
        # The file first: a row without its file would be a champion that cannot score.
        self._write(row.file, content)
        values = {**row.__dict__, "registered_at": state.now()}
        with self.engine.begin() as connection:
            if known:
                same = model_versions.c.version == version
                connection.execute(update(model_versions).where(same).values(values))
            else:
                connection.execute(insert(model_versions).values(values))
        return row

    def _write(self, name: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        for leftover in self.folder.glob(f".{name}.*"):  # of a killed attempt
            leftover.unlink(missing_ok=True)
        partial = path.with_name(f".{name}.{os.getpid()}")
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def _version(row: RowMapping) -> ModelVersion:
    return ModelVersion(**{name: row[name] for name in ModelVersion.__dataclass_fields__})


def plain(values: Any) -> Any:
    """Values as JSON knows them; NaN, which it does not, becomes null."""
    if isinstance(values, dict):
        return {str(name): plain(value) for name, value in values.items()}
    if isinstance(values, Sequence) and not isinstance(values, str):
        return [plain(value) for value in values]
    if isinstance(values, np.generic):
        values = values.item()
    if isinstance(values, float) and not np.isfinite(values):
        return None
    return values
