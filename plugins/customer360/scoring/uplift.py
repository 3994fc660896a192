"""``customer360 score uplift``: whom a randomised campaign moves, and whether that is proven."""

from pathlib import Path

import click
import numpy as np
import pandas as pd

from customer360.exceptions import SourceError
from customer360.scoring.mapping import (
    CampaignMapping,
    fixed_order,
    load_mapping,
    read_flag,
    read_table,
    write_scores,
)
from customer360.scoring.options import folds_option, score_command
from customer360.scoring.output import models_may_refuse, report, write_card
from models.common.tabular import as_numbers
from models.uplift.card import make_card
from models.uplift.evaluate import cross_validate


@score_command("uplift", folds_option())
def uplift(
    source: Path, mapping_path: Path, folds: int, seed: int, out: Path, as_json: bool
) -> None:
    """Learn from a randomised campaign whom it moves, and say whether targeting pays.

    IN has one row a customer (CSV or Parquet) with the arm, the outcome and features from
    before the campaign. OUT holds customer_id and the out-of-fold uplift, in units of the
    outcome. The card (Qini with interval, naive rule beside) is written next to OUT.

    \b
    Example (mapping: "fields: {treatment: segment, outcome: visit}", then on lines of their own
    "treatment_value: Mens E-Mail" and "ignore: [conversion, spend]"):
      customer360 score uplift campaign.csv --mapping campaign.yml --seed 42 \\
          --out uplift.csv --json
    """
    mapping = load_mapping(mapping_path, CampaignMapping)
    table = read_table(source, mapping)
    frame = table.frame.iloc[fixed_order(table.frame, mapping)]
    treated = read_flag(
        frame["treatment"], mapping.fields.treatment, mapping.treatment_value, "treatment_value"
    )
    outcome = read_outcome(frame["outcome"], mapping)
    known = (treated.notna() & np.isfinite(outcome)).to_numpy()
    notes = [*table.notes]
    if not known.all():
        notes.append(f"{int((~known).sum())} rows without arm or outcome are left out")
    others = _arms(frame["treatment"][known & (treated == 0).to_numpy()])
    if mapping.control_value is not None:
        control = read_flag(
            frame["treatment"], mapping.fields.treatment, mapping.control_value, "control_value"
        )
        other = known & ((treated == 0) & (control == 0)).to_numpy()
        if other.any():
            arms = _named(_arms(frame["treatment"][other]))
            notes.append(f"{int(other.sum())} rows of other arms ({arms}) are left out")
        known = known & ~other
    elif len(others) > 1:
        raise SourceError(
            f"`{mapping.fields.treatment}` has more than two arms: beside "
            f"{mapping.treatment_value} there are {_named(others)}; set `control_value:` in the "
            "mapping to the one that was left alone"
        )
    if not known.any():
        raise SourceError(f"{source.name} has no row with both an arm and an outcome")
    used = frame[known]
    arm, result = treated[known].to_numpy(), outcome[known]
    click.echo(f"{len(used):,} customers, {int(arm.sum()):,} of them treated", err=True)
    with models_may_refuse():
        evaluation = cross_validate(used[table.features], arm, result, folds, seed)
        card = make_card(arm, result, evaluation, folds, seed)
    notes += [f"{name}: left out, {why}" for name, why in evaluation.dropped.items()]
    notes += evaluation.notes
    for note in notes:
        click.echo(f"note: {note}", err=True)
    scores = {"customer_id": used["customer_id"], "uplift": evaluation.scores["uplift"]}
    write_scores(pd.DataFrame(scores).sort_index(), out)
    figures: dict[str, object] = {
        "qini": evaluation.figure("qini"),
        "qini_low": evaluation.figure("qini_low"),
        "qini_high": evaluation.figure("qini_high"),
        "verdict": evaluation.verdict,
        "effect": evaluation.effect,
        "effect_low": evaluation.effect_low,
        "effect_high": evaluation.effect_high,
        "top_half": evaluation.top_half if np.isfinite(evaluation.top_half) else None,
        "rows": len(used),
        "treated": int(arm.sum()),
        "learners": evaluation.figures.to_dict("records"),
        "folds": folds,
        "seed": seed,
        "notes": notes,
        "out": str(out),
    }
    report(card, write_card(card, out), figures, as_json)


def _arms(values: pd.Series) -> list[str]:
    return sorted(set(values.astype(str).str.strip()))


def _named(arms: list[str]) -> str:
    return ", ".join(arms[:5]) + (f" and {len(arms) - 5} more" if len(arms) > 5 else "")


def read_outcome(values: pd.Series, mapping: CampaignMapping) -> np.ndarray:
    """The outcome as a number: an amount, or 1 for a response; NaN where it is missing."""
    numbers = as_numbers(values)
    blank = (values.isna() | (values.astype("string").str.strip() == "")).to_numpy()
    if mapping.outcome_value is None and np.isfinite(numbers[~blank]).all():
        return numbers
    flags = read_flag(values, mapping.fields.outcome, mapping.outcome_value, "outcome_value")
    return flags.to_numpy()
