"""Configuration: a mistake is one message with file, place and mend."""

import datetime as dt

import pytest
from pydantic import ValidationError

from customer360 import pipeline
from customer360.config import Segment, load_config
from customer360.exceptions import ConfigError


def test_the_companies_that_ship_are_valid(monkeypatch):
    from customer360.settings import load_settings

    monkeypatch.setenv("COMPANY", "complete_journey")
    assert load_config(load_settings()).sources.sources.keys() == {
        "till",
        "customer_file",
        "campaign_tool",
        "coupon_system",
    }
    monkeypatch.setenv("COMPANY", "demo")
    assert len(load_config(load_settings()).sources.sources) == 11


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda c: c["sources"]["sources"]["till"].update(pathh="x"), "till.pathh: unknown key"),
        (lambda c: c["sources"]["sources"]["till"].pop("owner"), "till.owner: Field required"),
        (lambda c: c["sources"].update(time_zone="Mars"), "'Mars' is not a time zone"),
        (
            lambda c: c["sources"]["sources"]["till"]["tables"]["products"].update(key=["sku"]),
            "names 'sku', which is not among the columns",
        ),
        (
            lambda c: c["audiences"]["segments"]["lapsed"].update(rule="drop table customers"),
            "segments.lapsed.rule",
        ),
        (lambda c: c["audiences"].update(value_tiers={"a": 5, "b": 9}), "highest sum down"),
        (lambda c: c["audiences"]["churn"]["alert"].update(owners={}), "owners: missing for tier"),
        (lambda c: c["policies"]["gates"].update(min_volume_ratio=2), "less than or equal to 1"),
        (
            lambda c: c["policies"]["snapshots"].update(keep_at_most=2),
            "less than keep_at_least (3)",
        ),
        (lambda c: c["policies"]["exports"].update(keep_days=-1), "greater than or equal to 0"),
        (lambda c: c["policies"]["exports"].update(lost_previous="skip"), "'fail' or 'restate'"),
        (
            lambda c: c["policies"]["service"]["calendar"]["hours"].update(
                monday=["18:00", "9:00"]
            ),
            "calendar.hours.monday",
        ),
        (
            lambda c: c["policies"]["service"]["calendar"]["hours"].update(
                monday=["18:00", "09:00"]
            ),
            "hours.monday: opens at 18:00, but closes at 09:00",
        ),
        (
            lambda c: c["policies"]["service"]["calendar"].update(
                holidays=["2017-05-01"], extra_days=["2017-05-01"]
            ),
            "2017-05-01 is both a holiday and an extra day",
        ),
        (lambda c: c["policies"]["money"].update(rates={"Euro": 1.1}), "money.rates.Euro"),
    ],
)
def test_a_mistake_says_where_and_what(company, spoil, says):
    spoil(company.config)
    company.write()
    with pytest.raises(ConfigError) as error:
        load_config(company.settings)
    assert says in str(error.value)
    assert ".yml: tiny" in str(error.value)


def test_broken_yaml_says_the_line(company):
    (company.root / "config" / "sources.yml").write_text("tiny:\n  a: [1\n")
    with pytest.raises(ConfigError, match=r"sources.yml, line \d"):
        load_config(company.settings)


def test_an_unknown_company_says_which_there_are(company, monkeypatch):
    monkeypatch.setenv("COMPANY", "acme")
    with pytest.raises(ConfigError, match="it has tiny"):
        load_config(company.settings)


@pytest.mark.parametrize(
    "rule",
    [
        "a = 1; drop table x",
        "exists(select 1)",
        "a = 'high",
        "a in (select b from c)",
        "read_csv('x') = 2",
        "a = 1 order by 1",
        "1 = 1 union select 2",
    ],
)
def test_a_rule_can_only_look_at_its_customer(rule):
    with pytest.raises(ValidationError):
        Segment(description="", owner="", rule=rule)


def test_a_rule_on_a_column_that_is_not_there_stops_before_anything_is_read(company):
    from customer360 import pipeline

    company.config["audiences"]["segments"]["lapsed"]["rule"] = "days_since_last_ordr > 91"
    company.write()
    with pytest.raises(ConfigError, match="segments.lapsed.rule.*did you mean days_since_last_or"):
        pipeline.extract(company.settings, "till", dt.date(2017, 5, 1))
    assert not company.settings.landing_dir.exists()


@pytest.mark.parametrize("day", [dt.date(2016, 12, 31), dt.date(2018, 1, 1)])
def test_a_day_without_data_is_refused_at_once(company, day):
    from customer360 import pipeline

    with pytest.raises(ConfigError, match="go from 2017-01-01 to 2017-12-31"):
        pipeline.extract(company.settings, "till", day)


def test_a_rule_names_its_columns():
    rule = Segment(description="", owner="", rule="a > 1 and coalesce(b, 0) in (1, 2)")
    assert rule.columns == {"a", "b"}


def test_a_wrong_section_of_identity_yml_is_found_before_anything_starts(company):
    company.write()
    pipeline.check_configuration(company.settings)
    file = company.root / "config" / "identity.yml"
    file.write_text("defaultz: {threshold: 0.9}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"identity\.yml: 'defaultz' is neither"):
        pipeline.check_configuration(company.settings)
    file.write_text("defaults: {treshold: 0.9}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"identity\.yml: tiny\.treshold: unknown key"):
        pipeline.check_configuration(company.settings)


def test_a_calendar_is_minutes_after_midnight(company):
    hours = {"monday": ["09:00", "18:00"], "sunday": ["00:00", "24:00"]}
    company.config["policies"]["service"]["calendar"]["hours"] = hours
    company.write()
    calendar = load_config(company.settings).policies.service.calendar
    assert calendar.minutes() == {1: (540, 1080), 7: (0, 1440)}
