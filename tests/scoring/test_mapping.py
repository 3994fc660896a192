"""Mapping files: what they describe is read, and what is wrong is said with its mend."""

from pathlib import Path

import pandas as pd
import pytest

from customer360.exceptions import ConfigError, SourceError
from customer360.scoring.mapping import (
    CampaignMapping,
    LabelledMapping,
    TextMapping,
    TransactionMapping,
    load_mapping,
    read_flag,
    read_table,
    write_scores,
)


def given(folder: Path, mapping: str, content: str | bytes, name: str = "in.csv") -> tuple:
    path, table = folder / "mapping.yml", folder / name
    path.write_text(mapping, encoding="utf-8")
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path, table


def test_transactions_are_typed_and_on_is_a_word(tmp_path: Path) -> None:
    path, table = given(
        tmp_path,
        "fields: {customer_id: who, on: day, amount: sum}\ndate_format: '%Y%m%d'\n",
        "who,day,sum,other\n007,20260102,12.50,x\n8,20260103,-3,y\n",
    )
    frame = read_table(table, load_mapping(path, TransactionMapping)).frame
    assert list(frame["customer_id"]) == ["007", "8"]
    assert list(frame["at"]) == [pd.Timestamp("2026-01-02"), pd.Timestamp("2026-01-03")]
    assert list(frame["amount"]) == [12.5, -3.0]
    assert "other" not in frame


def test_a_file_without_header_in_aligned_columns(tmp_path: Path) -> None:
    path, table = given(
        tmp_path,
        "fields: {customer_id: id, on: date, amount: dollars}\n"
        "columns: [id, date, dollars]\ndelimiter: whitespace\ndate_format: '%Y%m%d'\n",
        " 0001 19970101   29.33\n 0002 19970118   9.10\n",
        "in.txt",
    )
    frame = read_table(table, load_mapping(path, TransactionMapping)).frame
    assert list(frame["amount"]) == [29.33, 9.10]


def test_unmapped_columns_are_features_and_ignored_ones_are_not(tmp_path: Path) -> None:
    path, table = given(
        tmp_path,
        "fields: {label: gone}\nignore: [reason]\n",
        "gone,plan,reason\nyes,a,moved\nno,b,\n",
    )
    read = read_table(table, load_mapping(path, LabelledMapping))
    assert read.features == ["plan"]
    assert list(read.frame["customer_id"]) == ["1", "2"]
    assert any("numbered" in note for note in read.notes)


def test_gb18030_and_parquet_are_read(tmp_path: Path) -> None:
    content = '评论,分\n"很好，１２",5\n'.encode("gb18030")
    path, table = given(tmp_path, "fields: {text: 评论}\n", content)
    mapping = load_mapping(path, TextMapping)
    assert list(read_table(table, mapping).frame["text"]) == ["很好，１２"]
    pd.DataFrame({"评论": ["好"]}).to_parquet(tmp_path / "in.parquet")
    assert list(read_table(tmp_path / "in.parquet", mapping).frame["text"]) == ["好"]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("fields: [", "not YAML"),
        ("- text", "no `fields:`"),
        ("fields: {text: a, lable: b}", r"unknown key `fields.lable` \(known: text, id, label"),
        ("fields: {text: a}\nspeed: 9", "unknown key `speed`"),
        ("fields: {label: a}", "`fields.text` is missing"),
    ],
)
def test_a_wrong_mapping_is_explained(tmp_path: Path, mapping: str, message: str) -> None:
    path, _ = given(tmp_path, mapping, "a\n1\n")
    with pytest.raises(ConfigError, match=message):
        load_mapping(path, TextMapping)


def test_transactions_need_a_time(tmp_path: Path) -> None:
    path, _ = given(tmp_path, "fields: {customer_id: a, amount: b}", "a,b\n1,2\n")
    with pytest.raises(ConfigError, match="`at`"):
        load_mapping(path, TransactionMapping)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("who,day,sum\n", "has no rows"),
        ("who,day\n1,2026-01-01\n", "no column `sum`"),
        ("who,day,sum\n1,2026-01-01,5,6\n", "line 2"),
        ("who,day,sum\n1,01.02.2026,5\n2,2026-01-01,5\n", "1 of 2 values in `day`"),
        ("who,day,sum\n1,2026-01-01,cheap\n", "`sum` are not finite numbers"),
        ("who,day,sum\n1,2026-01-01,inf\n", "`sum` are not finite numbers"),
        ("who,day,sum\n,2026-01-01,5\n", "1 of 1 rows have no `who`"),
        ("who,who,day,sum\n1,1,2026-01-01,5\n", "`who` more than once"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, content: str, message: str) -> None:
    path, table = given(tmp_path, "fields: {customer_id: who, at: day, amount: sum}", content)
    with pytest.raises(SourceError, match=message):
        read_table(table, load_mapping(path, TransactionMapping))


def test_errors_do_not_quote_values(tmp_path: Path) -> None:
    path, table = given(
        tmp_path,
        "fields: {customer_id: who, at: day, amount: sum}",
        'who,day,sum\n1,secret-name,5\n2,"secret-name\n',
    )
    with pytest.raises(SourceError) as caught:
        read_table(table, load_mapping(path, TransactionMapping))
    assert "secret-name" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    path, _ = given(tmp_path, "fields: {text: a}", "a\n1\n")
    with pytest.raises(SourceError, match=r"nowhere\.csv does not exist"):
        read_table(tmp_path / "nowhere.csv", load_mapping(path, TextMapping))
    with pytest.raises(ConfigError, match="check --mapping"):
        load_mapping(tmp_path / "no.yml", TextMapping)


def test_a_customer_twice_is_refused_where_one_row_a_customer_is_meant(tmp_path: Path) -> None:
    path, table = given(
        tmp_path,
        "fields: {customer_id: who, treatment: arm, outcome: bought}",
        "who,arm,bought,age\n1,1,0,30\n1,0,1,40\n",
    )
    with pytest.raises(SourceError, match="repeat a `who`"):
        read_table(table, load_mapping(path, CampaignMapping))


def test_flags_are_read_from_words_or_from_the_value_that_is_named() -> None:
    words = pd.Series(["Yes", "no ", "", None, "TRUE"])
    assert read_flag(words, "label", None, "label_value").fillna(-1).tolist() == [1, 0, -1, -1, 1]
    arms = pd.Series(["Mail", "None", "Mail"])
    assert read_flag(arms, "arm", "mail", "treatment_value").tolist() == [1, 0, 1]
    assert read_flag(pd.Series([1.0, 2.0]), "arm", 1, "treatment_value").tolist() == [1, 0]
    with pytest.raises(SourceError, match="set `label_value:`"):
        read_flag(pd.Series(["gone", "stayed"]), "label", None, "label_value")
    with pytest.raises(SourceError, match="never has the value"):
        read_flag(arms, "arm", "letter", "treatment_value")


def test_out_is_whole_or_not_there(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["1"], "sentiment": [0.5]})
    write_scores(frame, tmp_path / "new" / "out.parquet")
    assert pd.read_parquet(tmp_path / "new" / "out.parquet").equals(frame)
    write_scores(frame, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.csv"]
