"""Answering an alert: a file that the source ``answers`` reads."""

import csv

from click.testing import CliRunner

from customer360.engagement.commands import alert
from customer360.exceptions import Customer360Error


def test_an_answer_becomes_a_row_that_the_source_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path))
    monkeypatch.setenv("COMPANY", "demo")
    alert_id = "a" + "0" * 24
    done = CliRunner().invoke(alert, ["answer", alert_id, "done", "--by", "key-accounts"])
    assert done.exit_code == 0
    (path,) = (tmp_path / "demo" / "answers").glob("alert_answers*.csv")
    (row,) = csv.DictReader(path.open(encoding="utf-8"))
    assert (row["alert_id"], row["answer"], row["answered_by"]) == (
        alert_id,
        "done",
        "key-accounts",
    )


def test_what_is_no_alert_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path))
    refused = CliRunner().invoke(alert, ["answer", "x", "done"])
    assert isinstance(refused.exception, Customer360Error)
    assert CliRunner().invoke(alert, ["answer", "a" + "0" * 24, "maybe"]).exit_code == 2
