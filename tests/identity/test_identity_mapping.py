from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from customer360.exceptions import ConfigError
from customer360.identity.commands import identity
from customer360.identity.mapping import PersonMapping, load_mapping, read_records


def write(folder: Path, mapping: str, table: str = "id,name\n1,Ann\n2,Bob\n") -> tuple[Path, Path]:
    (folder / "m.yml").write_text(mapping, encoding="utf-8")
    (folder / "t.csv").write_text(table, encoding="utf-8")
    return folder / "t.csv", folder / "m.yml"


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ("columns: {}", "no 'fields:' section"),
        ("fields: {full_name: name}", "record_id is missing"),
        ("fields: {record_id: id}", "no field describes a person"),
        ("fields: {record_id: id, fullname: name}", "unknown fields fullname"),
        ("fields: {record_id: id, full_name: name}\ndate_fromat: x", "date_fromat"),
        ("fields: [record_id]", "fields"),
        ("fields: {record_id: id", "not YAML"),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_reason(tmp_path, mapping, complaint):
    _, path = write(tmp_path, mapping)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_mapping(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("id,nom\n1,Ann\n", "no column 'name'.*columns are id, nom"),
        ("id,name\n1,Ann\n1,Bob\n", "1 of 2 rows repeat a record_id"),
        ("id,name\n1,Ann\n,Bob\n", "1 of 2 rows have no record_id"),
        ("id,name\n", "no rows"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_without_quoting_people(tmp_path, table, complaint):
    records, path = write(tmp_path, "fields: {record_id: id, full_name: name}", table)
    with duckdb.connect() as con, pytest.raises(ConfigError, match=complaint) as caught:
        read_records(con, records, load_mapping(path))
    assert "Bob" not in str(caught.value)


def test_a_ragged_line_is_an_error_and_not_a_lost_row(tmp_path):
    table = "id,name\n1,Ann\n2,Bob,surplus\n3,Cid\n"
    records, path = write(tmp_path, "fields: {record_id: id, full_name: name}", table)
    with duckdb.connect() as con, pytest.raises(ConfigError) as caught:
        read_records(con, records, load_mapping(path))
    assert "surplus" not in str(caught.value)


def test_header_spaces_and_several_columns_for_one_field(tmp_path):
    records, path = write(
        tmp_path,
        "fields: {record_id: id, full_name: [first, last]}",
        "id, first, last\n1, Ann, Lee\n",
    )
    with duckdb.connect() as con:
        read_records(con, records, load_mapping(path))
        assert con.execute("SELECT full_name FROM records_in").fetchall() == [("Ann  Lee",)]


def test_a_missing_file_names_itself(tmp_path):
    result = CliRunner().invoke(
        identity,
        ["resolve", "nowhere.csv", "--mapping", str(tmp_path / "m.yml"), "--out", "o.csv"],
    )
    assert isinstance(result.exception, ConfigError)
    assert "m.yml" in str(result.exception)


def test_a_file_in_gb18030_is_read_strictly(tmp_path):
    file = tmp_path / "people.csv"
    file.write_bytes("编号,姓名,手机\n1,任小满,13900000001\n2,镕基,13900000002\n".encode("gb18030"))
    mapping = PersonMapping(
        fields={"record_id": ["编号"], "full_name": ["姓名"], "phone": ["手机"]}, encoding="GB18030"
    )
    with duckdb.connect() as con:
        assert read_records(con, file, mapping) == 2
        assert con.execute("SELECT full_name, phone FROM records_in").fetchall() == [
            ("任小满", "13900000001"), ("镕基", "13900000002"),
        ]  # fmt: skip
        file.write_bytes(file.read_bytes() + b"\xff\xff\n")
        with pytest.raises(ConfigError, match="encoding") as told:
            read_records(con, file, mapping)
    assert str(file) in str(told.value)


def test_unknown_encodings_and_empty_files_are_told(tmp_path):
    with pytest.raises(ValueError, match="gb18030"):
        PersonMapping(fields={"record_id": ["a"], "phone": ["b"]}, encoding="gb99")
    empty = tmp_path / "empty.csv"
    empty.touch()
    with duckdb.connect() as con, pytest.raises(ConfigError, match="empty"):
        read_records(con, empty, PersonMapping(fields={"record_id": ["a"], "phone": ["b"]}))
