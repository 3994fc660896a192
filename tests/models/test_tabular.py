"""Any table becomes numbers, and what cannot be used is said."""

import numpy as np
import pandas as pd
import pytest

from models.common.errors import ModelDataError
from models.common.tabular import OTHER, TableEncoder, suspect_leaks


def a_table(rows: int = 200, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "plan": random.choice(["basic", "plus", "pro"], rows),
            "charges": [f" {value:.2f} " for value in random.gamma(2, 30, rows)],
            "joined": pd.Timestamp("2025-06-30")
            - pd.to_timedelta(random.integers(0, 900, rows), unit="D"),
        }
    )


def kinds(frame: pd.DataFrame) -> dict[str, str]:
    return {column.name: column.kind for column in TableEncoder.fit(frame).columns}


def test_types_come_from_values_not_from_dtypes() -> None:
    frame = a_table().assign(joined=lambda table: table["joined"].dt.strftime("%Y-%m-%d"))
    frame.loc[3, "charges"] = " "
    assert kinds(frame) == {"plan": "category", "charges": "number", "joined": "date"}
    read = TableEncoder.fit(frame).readable(frame)
    assert np.isnan(read.loc[3, "charges"])
    assert read["joined"].min() == 0


def test_identifiers_constants_and_free_text_are_left_out_with_a_note() -> None:
    frame = a_table().assign(
        RowNumber=range(1, 201),
        member_code=[f"M-{row:05d}" for row in range(200)],
        country="CN",
        empty=None,
        complaint=[f"the delivery was late for the {row}th time, I am sad" for row in range(200)],
    )
    encoder = TableEncoder.fit(frame)
    assert {column.name for column in encoder.columns} == {"plan", "charges", "joined"}
    notes = "\n".join(encoder.notes)
    for name in ("RowNumber", "member_code", "country", "empty", "complaint"):
        assert name in notes


def test_measurements_that_are_all_distinct_are_kept() -> None:
    random = np.random.default_rng(2)
    frame = a_table().assign(salary=random.permutation(np.arange(200) * 37 + 11))
    assert kinds(frame)["salary"] == "number"


def test_infinite_and_unreadable_numbers_count_as_missing_and_are_noted() -> None:
    frame = a_table().assign(ratio=np.linspace(0, 1, 200))
    frame.loc[[0, 1], "ratio"] = [np.inf, -np.inf]
    frame.loc[5, "charges"] = "unknown"
    encoder = TableEncoder.fit(frame)
    assert any("ratio: 2 infinite" in note for note in encoder.notes)
    assert any("charges: 1 values" in note for note in encoder.notes)
    assert np.isfinite(encoder.for_linear(encoder.readable(frame))).all()


def test_unseen_and_missing_values_are_encoded_not_refused() -> None:
    encoder = TableEncoder.fit(a_table())
    later = a_table(4, seed=9).assign(plan=["brand new", None, "pro", ""])
    read = encoder.readable(later)
    assert list(read["plan"].astype(str)) == [OTHER, OTHER, "pro", OTHER]
    assert np.isfinite(encoder.for_linear(read)).all()
    assert encoder.for_trees(read).shape == (4, 3)


def test_trees_see_missing_below_all_others_and_never_nan() -> None:
    frame = a_table().assign(rarely=[1.5, 2.5, *[None] * 198])
    encoder = TableEncoder.fit(frame)
    trees = encoder.for_trees(encoder.readable(frame))
    assert np.isfinite(trees).all()
    assert (trees[2:, 3] < trees[:2, 3].min()).all()


def test_a_missing_column_is_named() -> None:
    encoder = TableEncoder.fit(a_table())
    with pytest.raises(ModelDataError, match="plan"):
        encoder.readable(a_table().drop(columns="plan"))


def test_nothing_usable_is_an_error_with_the_mend() -> None:
    with pytest.raises(ModelDataError, match="no usable feature"):
        TableEncoder.fit(pd.DataFrame({"one": [1] * 50}))


def test_linear_slices_are_the_places_of_columns() -> None:
    frame = a_table()
    encoder = TableEncoder.fit(frame)
    matrix = encoder.for_linear(encoder.readable(frame))
    assert list(encoder.linear_slices.values())[-1].stop == matrix.shape[1]
    levels = matrix[:, encoder.linear_slices["plan"]]
    assert (levels.sum(axis=1) == 1).all()


def test_a_column_that_knows_the_answer_is_suspected_and_an_honest_one_is_not() -> None:
    random = np.random.default_rng(3)
    label = (random.random(2000) < 0.2).astype(float)
    frame = pd.DataFrame(
        {
            "honest": label + random.normal(0, 1.5, 2000),
            "exit_score": label + random.normal(0, 0.3, 2000),
            "left_because": np.where(label == 1, random.choice(["price", "moved"], 2000), ""),
            # says yes for a third of those who left, and for nobody else
            "refund": np.where((label == 1) & (random.random(2000) < 0.33), 12.5, 0.0),
        }
    )
    encoder = TableEncoder.fit(frame)
    found = suspect_leaks(encoder, encoder.readable(frame), label)
    assert set(found) == {"exit_score", "left_because", "refund"}
