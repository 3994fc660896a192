import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from customer360.exceptions import Customer360Error
from customer360.identity.commands import identity
from tests.identity.company import Company, add_crowd


@pytest.fixture(scope="module")
def resolved(tmp_path_factory) -> Company:
    company = add_crowd(Company(tmp_path_factory.mktemp("resolved")), 60)
    for key, name, born in (("a", "任国强", "1960-05-06"), ("b", "任小满", "1990-01-02")):
        company.add(f"crm.people:{key}", full_name=name, birthday=born, phone="13900000002")
    company.add("call.tickets:ren", full_name="任先生", phone="13900000002")
    company.add("shop.accounts:b", full_name="任小满", birthday="1990-01-02", phone="13900000002",
                unionid="u1")  # fmt: skip
    company.add("wechat.followers:b", unionid="u1")
    company.resolve("first")
    return company


@pytest.fixture
def company(resolved: Company, tmp_path: Path, monkeypatch) -> Company:
    shutil.copytree(resolved.folder, tmp_path / "data")
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CUSTOMER360_CONFIG", str(tmp_path))
    monkeypatch.setenv("COMPANY", "acme")
    return Company(tmp_path / "data", dict(resolved.records), dict(resolved.identifiers))


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(identity, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_real_link_and_a_refused_one_are_explained_without_values(company):
    linked = call("explain", "wechat.followers:b", "crm.people:b").output
    assert "are one customer" in linked
    assert "over 2 links" in linked
    assert "unionid" in linked
    refused = call("explain", "crm.people:a", "crm.people:b").output
    assert "are two customers" in refused
    assert "in common: phone" in refused
    assert "names differ" in refused
    for value in ("任", "139", "1990"):
        assert value not in linked + refused


def test_customers_can_be_explained_by_their_ids(company):
    found = company.resolve("first")
    told = call("explain", found["crm.people:a"], found["crm.people:b"]).output
    assert "two customers" in told


def test_a_review_is_listed_decided_obeyed_and_taken_back(company):
    pending = json.loads(call("review", "list", "--json").stdout)["reviews"]
    asked = {frozenset((row["record_a"], row["record_b"])) for row in pending}
    assert any("call.tickets:ren" in pair for pair in asked)
    call("review", "accept", "call.tickets:ren", "crm.people:a", "--by", "vera")
    found = company.resolve("second")
    assert found["call.tickets:ren"] == found["crm.people:a"]
    why = call("explain", "call.tickets:ren", "crm.people:a").output
    assert "- decided by vera on " in why
    assert ": one customer (`identity review undo 1` takes it back)" in why
    left = json.loads(call("review", "list", "--json").stdout)["reviews"]
    assert {frozenset((row["record_a"], row["record_b"])) for row in left} < asked
    assert "must_link call.tickets:ren crm.people:a" in call("review", "list", "--decided").output
    call("review", "undo", "1", "--by", "vera")
    assert company.resolve("third")["call.tickets:ren"] != found["crm.people:a"]


def test_unknown_records_are_not_decided(company):
    with pytest.raises(Customer360Error, match=r"no record crm\.people:nobody"):
        call("review", "reject", "crm.people:nobody", "crm.people:a")


def test_a_preview_counts_shows_initials_and_changes_nothing(company, tmp_path):
    before = company.resolve("first")
    values = tmp_path / "values.csv"
    rich = before["crm.people:b"]
    lines = [f"{who},{100 if who == rich else 1}" for who in set(before.values())]
    values.write_text("\n".join(["customer_id,value", *lines]))
    with pytest.raises(Customer360Error, match="budget"):
        call("preview", "--set", "kinds.phone.link=none", "--set", "threshold=0.9999999",
             "--values", str(values))  # fmt: skip
    told = call("preview", "--set", "preview.max_changed_share=1",
                "--set", "kinds.unionid.link=none", "--values", str(values), "--json")  # fmt: skip
    found = json.loads(told.stdout)
    assert found["splitting"] == 1
    assert found["merging"] == 0
    assert found["high_value"] == 1
    assert found["examples"][0]["customers"] == [before["crm.people:b"]]
    assert "任小满" not in told.output
    assert company.resolve("second") == before


def test_nothing_to_change_changes_nothing(company):
    found = json.loads(call("preview", "--json").stdout)
    assert (found["merging"], found["splitting"]) == (0, 0)


def test_before_the_first_run_the_way_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTOMER360_DATA", str(tmp_path))
    with pytest.raises(Customer360Error, match="run the chain"):
        call("review", "list")
