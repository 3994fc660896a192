import duckdb
import pytest

from customer360.exceptions import ConfigError
from customer360.identity.evaluate import evaluate


def run(folder, result: dict, truth: dict) -> dict:
    for name, column, rows in (("out", "customer_id", result), ("truth", "person_id", truth)):
        lines = "".join(f"{record},{group}\n" for record, group in rows.items())
        (folder / f"{name}.csv").write_text(f"record_id,{column}\n{lines}")
    with duckdb.connect() as con:
        return evaluate(con, folder / "out.csv", folder / "truth.csv")


def test_pairs_and_whole_customers_are_counted(tmp_path):
    truth = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 2, "f": 3}
    result = {"a": "x", "b": "x", "c": "y", "d": "z", "e": "z", "f": "y"}
    found = run(tmp_path, result, truth)
    # found: ab, de right, cf wrong; true: ab ac bc de
    assert found["pairwise"]["precision"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["pairwise"]["recall"] == pytest.approx(2 / 4)
    assert (found["pairwise"]["wrong_pairs"], found["pairwise"]["missed_pairs"]) == (1, 2)
    assert found["cluster"]["precision"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["cluster"]["recall"] == pytest.approx(1 / 2)
    assert (found["wrong_merges"], found["biggest_wrong_merge_persons"]) == (1, 2)


def test_a_perfect_result_is_perfect_and_a_lumped_one_is_not(tmp_path):
    truth = {str(number): number // 2 for number in range(20)}
    perfect = run(tmp_path, truth, truth)
    assert perfect["pairwise"]["f1"] == perfect["cluster"]["f1"] == 1
    assert perfect["biggest_wrong_merge_persons"] == 0
    lumped = run(tmp_path, dict.fromkeys(truth, "all"), truth)
    assert lumped["pairwise"]["precision"] == pytest.approx(10 / 190, abs=1e-6)
    assert lumped["biggest_wrong_merge_persons"] == 10


def test_what_stands_in_one_file_only_is_counted(tmp_path):
    found = run(tmp_path, {"a": 1, "b": 1, "z": 2}, {"a": 1, "b": 1, "y": 3})
    assert (found["records_without_truth"], found["records_without_result"]) == (1, 1)


def test_files_that_cannot_be_compared_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no record_id in common"):
        run(tmp_path, {"a": 1}, {"b": 1})
    (tmp_path / "truth.csv").write_text("record,person\n1,2\n")
    with duckdb.connect() as con, pytest.raises(ConfigError, match="no column record_id"):
        evaluate(con, tmp_path / "out.csv", tmp_path / "truth.csv")
