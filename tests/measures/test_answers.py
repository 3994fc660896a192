"""The questions of the docs: what the snapshot answers is what the systems, and the truth, say."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from customer360 import pipeline
from customer360.declarations import declared_sources
from customer360.docs.questions import FOLDER, answer, listed, questions
from customer360.publish import snapshot_path
from customer360.scoring import corpora
from customer360.settings import load_settings
from customer360.vault import vault_of
from tests.faults.living import living
from tests.measures import systems_answers as systems

pytestmark = pytest.mark.timeout(900)

QUESTIONS = {question.name: question for question in questions()}


def test_there_are_25_questions_each_with_words_and_a_query():
    assert len(QUESTIONS) >= 25
    for question in QUESTIONS.values():
        assert question.text.endswith("?"), question.name
        assert question.sql.endswith(";"), question.name
    assert len({question.text for question in QUESTIONS.values()}) == len(QUESTIONS)
    page = (FOLDER.parent / "questions.md").read_text(encoding="utf-8")
    assert page == listed(list(QUESTIONS.values()))


class Asked:
    """A published demo company: its snapshot's answers, and its systems."""

    def __init__(
        self, snapshot: duckdb.DuckDBPyConnection, world: duckdb.DuckDBPyConnection, vault: Path
    ):
        self.snapshot = snapshot
        self.world = world
        self.vault = vault

    def told(self, name: str) -> list[tuple[Any, ...]]:
        return answer(self.snapshot, QUESTIONS[name])[1]

    def meant(self, query: str) -> list[tuple[Any, ...]]:
        return systems.ask(self.world, query)


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with living(seed=7) as layout, pytest.MonkeyPatch.context() as patch:
        reviews = corpora.corpus()  # a minute to learn from; no answer needs them all
        patch.setattr(corpora, "corpus", lambda: tuple(side[::12] for side in reviews))
        settings = load_settings()
        as_of = dt.date.fromisoformat(layout.clock.read_text().strip())
        for source in declared_sources(settings):
            pipeline.extract(settings, source.name, as_of)
        for step in (
            pipeline.begin, pipeline.load_raw, pipeline.resolve_identities,
            pipeline.build_marts,
        ):  # fmt: skip
            step(settings, as_of, "run")
        pipeline.audit(settings, as_of, "run", "marts")
        for step in (
            pipeline.train_if_needed, pipeline.score, pipeline.build_scored_marts,
            pipeline.engage,
        ):  # fmt: skip
            step(settings, as_of, "run")
        pipeline.audit(settings, as_of, "run", "scores")
        pipeline.publish(settings, as_of, "run")
        published = snapshot_path(settings)
        with (
            duckdb.connect(str(published), read_only=True) as snapshot,
            systems.open_systems(layout.root) as world,
        ):
            yield Asked(snapshot, world, vault_of(settings, published))


@pytest.mark.faults
@pytest.mark.parametrize("name", systems.EXACT)
def test_the_answer_is_that_of_the_systems_row_for_row(asked, name):
    assert asked.told(name) == asked.meant(systems.EXACT[name])


@pytest.mark.faults
def test_every_record_of_every_system_is_somebody_s(asked):
    told = {row[0]: row[1] for row in asked.told("12_records_by_source")}
    for source, records in systems.RECORDS.items():
        assert told[source] == asked.meant(f"select count(*) from {records}")[0][0], source


@pytest.mark.faults
def test_customers_and_what_they_do_are_near_the_truth_of_persons(asked):
    """Who is who is not known for sure, so that what is counted a person is near, not equal."""
    retention = {row[0]: row[1:3] for row in asked.told("06_retention_by_month")}
    again, active, came = 0, 0, 0.0
    for month, share in asked.meant(systems.RETENTION):
        again, active = again + retention[month][0], active + retention[month][1]
        came += share * retention[month][1]
        # In a month of few, three customers are more than six of a hundred.
        near = max(0.06 * retention[month][1], 3)
        assert retention[month][0] == pytest.approx(share * retention[month][1], abs=near), month
    assert again == pytest.approx(came, abs=0.05 * active)
    reached = sum(row[4] for row in asked.told("20_campaigns"))
    persons = asked.meant(
        "select count(distinct (campaign_id, person_id)) from world.campaign.sends as sends "
        "join truth.truth.records as records on records.system = 'campaign' "
        "and records.table_name = 'contacts' and records.record_key = sends.contact_id::varchar "
        "where status = 'delivered'"
    )[0][0]
    assert reached == pytest.approx(persons, rel=0.05)
    agreed = {row[0]: row[1] for row in asked.told("21_consent_by_channel")}
    for channel, records in asked.meant(
        "select channel, count(distinct person_no) from world.crm.consents "
        "where purpose = '营销' and status = 'granted' group by channel"
    ):
        assert agreed[channel] == pytest.approx(records, rel=0.1), channel


@pytest.mark.faults
def test_touches_say_how_their_text_sounds_and_the_vault_has_the_text(asked):
    felt = asked.snapshot.execute(
        "select detail_table, count(touches.sentiment), count(*) "
        "filter (touches.sentiment is distinct from scored.sentiment) "
        "from customer_touchpoints as touches join text_sentiment as scored using (text_key) "
        "group by detail_table order by all"
    ).fetchall()
    assert {row[0] for row in felt} == {"feedback", "service_cases", "survey_responses"}
    assert all(scored > 0 and wrong == 0 for _, scored, wrong in felt)
    asked.snapshot.execute(f"attach '{asked.vault}' as vault (read_only)")
    marts = asked.snapshot.execute(
        "select table_name from duckdb_columns() where column_name = 'text_key' "
        "and database_name <> 'vault' and schema_name = 'main'"
    ).fetchall()
    assert {("orders",), ("case_messages",), ("lead_activities",)} <= {*marts}
    for (mart,) in marts:
        missing = asked.snapshot.execute(
            f"select count(*) from {mart} where text_key is not null and text_key not in "
            "(select text_key from vault.main.personal_texts)"
        ).fetchall()
        assert missing == [(0,)], mart


@pytest.mark.faults
def test_answers_agree_with_each_other(asked):
    """What is told by tier, by month, by cohort or by source adds up to the same."""
    customers = asked.snapshot.execute("select count(*) from customers").fetchall()[0][0]
    assert sum(row[1] for row in asked.told("01_customers_by_tier")) == customers
    assert sum(row[1] for row in asked.told("11_systems_a_customer")) == customers
    taken = {row[0]: row[1:] for row in asked.told("04_spend_by_source")}
    tills = asked.told("05_anonymous_share")
    assert (sum(row[1] for row in tills), sum(row[2] for row in tills)) == taken["tills"]
    bought = asked.snapshot.execute(
        "select count(distinct customer_id) from orders where amount_cents >= 0"
    ).fetchall()[0][0]
    assert sum(row[1] for row in asked.told("07_cohorts")) == bought
    assert asked.told("28_checks_that_failed") == []
    for source, delivered, refused, on_time in asked.told("26_sync_rate"):
        if delivered:
            assert on_time == pytest.approx(1 - refused / delivered, abs=1e-4), source
    for name in QUESTIONS:
        # A small company may have none of these.
        assert asked.told(name) or name in ("28_checks_that_failed", "30_odd_orders"), name
