"""Warnings, tickets and leads."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from customer360.engagement import leads, service_warnings, tickets
from customer360.engagement.config import LeadRules, ServiceRules
from tests.engagement.conftest import DAY


def make_units(desk, batches, seed=0):
    """``batches``: (batch, units, chance of a fault)."""
    random = np.random.default_rng(seed)
    units, repairs = [], []
    for batch, count, chance in batches:
        for number in range(count):
            serial = f"{batch}-{number}"
            installed = DAY - dt.timedelta(days=int(random.integers(200, 400)))
            units.append({"serial_id": serial, "model": "RO", "batch": batch,
                          "installed_on": installed})  # fmt: skip
            if random.random() < chance:
                failed = installed + dt.timedelta(days=int(random.integers(10, 190)))
                repairs.append({"serial_id": serial, "reported_on": failed, "fault_code": "E1",
                                "repair_key": serial, "customer_id": "c1"})  # fmt: skip
    for name, rows in (("installed_products", units), ("repairs", repairs)):
        table = pa.Table.from_pylist(rows)
        desk.connection.register("rows_made", table)
        desk.connection.execute(f"create or replace table main.{name} as from rows_made")


def alarms(desk, rules=None):
    found = service_warnings.compare_batches(desk.connection, rules or ServiceRules(), DAY)
    return {row["name"] for row in found.to_pylist() if row["is_alarm"]}


def test_a_faulty_batch_is_found_among_sound_ones(desk):
    sound = [(f"A{number}", 60, 0.05) for number in range(20)]
    make_units(desk, [*sound, ("B7", 30, 0.4)])
    assert alarms(desk) == {"B7"}


def test_sound_batches_raise_hardly_an_alarm(desk):
    false_alarms = 0
    for seed in range(20):
        make_units(desk, [(f"A{number}", 40, 0.08) for number in range(15)], seed)
        false_alarms += bool(alarms(desk))
    assert false_alarms <= 3  # 5 % of 20 runs are expected at most


def test_a_line_that_is_too_thin_in_each_month_is_found_over_the_months(desk):
    sound = [(f"26{month:02}A{number}", 8, 0.03) for month in range(1, 7) for number in range(4)]
    make_units(desk, [*sound, *((f"26{month:02}B7", 4, 0.5) for month in range(1, 7))], seed=3)
    rules = ServiceRules(batch_groups={"line": "([A-Z][0-9])$"})
    assert "B7" in alarms(desk, rules)
    assert not any(name.endswith("A1") for name in alarms(desk, rules))


def test_benjamini_hochberg_is_as_in_the_paper():
    p = np.array([0.01, 0.04, 0.03, 0.5])
    assert service_warnings.adjust(p) == pytest.approx([0.04, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.5])


def test_late_answers_and_repeated_faults_have_an_owner_and_a_next_step(desk):
    desk.connection.execute(
        "drop table main.service_cases; create table main.service_cases as select * from (values "
        "('late', 'c1', 'urgent', 'open', timestamp '2026-06-30 15:20:00', null::timestamp), "
        "('fresh', 'c1', 'normal', 'open', timestamp '2026-06-30 15:20:00', null), "
        "('answered', 'c1', 'urgent', 'open', timestamp '2026-06-30 10:00:00', "
        "timestamp '2026-06-30 10:05:00')) "
        "as cases (case_key, customer_id, priority, status, opened_at, first_response_at); "
        "create table main.repairs as select * from (values "
        "('r1', 'c1', 's1', 'E1', date '2026-06-01'), ('r2', 'c1', 's1', 'E1', date '2026-06-25'), "
        "('r3', 'c1', 's1', 'E2', date '2026-06-26')) "
        "as visits (repair_key, customer_id, serial_id, fault_code, reported_on)"
    )
    service_warnings.warn(desk.connection, ServiceRules(), dt.datetime(2026, 6, 30, 16), DAY)
    assert desk.ask(
        "select kind, subject, reason from engagement.service_warnings order by kind"
    ) == [
        ("first_response_breach", "late",
         "unanswered for 40 minutes; the promise for urgent is 60"),
        ("repeat_fault", "r2", "fault E1 again after 24 days"),
    ]  # fmt: skip
    assert desk.ask(
        "select count(*) from engagement.service_warnings where owner = '' or next_step = ''"
    ) == [(0,)]


QUESTIONS = {
    "delivery": ("快递三天没有动静，什么时候送到", "101"),
    "quality": ("扫地机器人不回充，一直转圈", "102"),
    "price": ("刚买就降价了，能不能退差价", None),
}


def make_cases(desk, solved=12):
    rows, texts = [], []
    for number in range(solved * 3 + 1):
        topic = list(QUESTIONS)[number % 3]
        body, article = QUESTIONS[topic]
        last = number == solved * 3
        rows.append({"source": "cc", "case_id": str(number), "case_key": f"cc-{number}",
                     "customer_id": "c1", "topic": None if last else topic,
                     "priority": "normal",
                     "status": "open" if last else "closed",
                     "article_id": None if last else article, "satisfaction": 5,
                     "reopened_count": 0,
                     "opened_on": DAY - dt.timedelta(days=20 - number % 9)})  # fmt: skip
        tail = "，请尽快" if number % 2 else "，谢谢"
        text = "扫地机器人老是不回充怎么办" if last else body + tail
        texts.append(
            {"source": "cc", "kind": "case", "text_id": f"cc.tickets:{number}", "body": text}
        )
    for name, made in (("main.service_cases", rows), ("unify.union_texts", texts)):
        desk.connection.execute("create schema if not exists unify")
        desk.connection.register("made", pa.Table.from_pylist(made))
        desk.connection.execute(f"create or replace table {name} as from made")


def test_a_ticket_gets_topic_route_and_the_article_that_solved_the_like(desk):
    make_cases(desk)
    tickets.suggest(desk.connection, ServiceRules(routes={"quality": "technical"}), DAY)
    assert desk.ask(
        "select case_key, topic, route, article_id from engagement.ticket_suggestions"
    ) == [("cc-36", "quality", "technical", "102")]


def test_a_question_without_an_article_that_comes_again_is_a_gap(desk):
    make_cases(desk)
    tickets.suggest(desk.connection, ServiceRules(), DAY)
    assert desk.ask("select topic, cases from engagement.knowledge_gaps") == [("price", 12)]


def test_without_history_a_ticket_keeps_the_topic_that_it_came_with(desk):
    make_cases(desk, solved=1)
    tickets.suggest(desk.connection, ServiceRules(), DAY)
    assert desk.ask("select topic, topic_probability from engagement.ticket_suggestions") == [
        (None, None)
    ]


PEOPLE = [
    {"sales_id": "north", "province_code": "11", "product_line": "厨电", "open_leads": 0,
     "recent": 0, "win_rate": 0.2},
    {"sales_id": "south", "province_code": "44", "product_line": "厨电", "open_leads": 0,
     "recent": 0, "win_rate": 0.2},
    {"sales_id": "south2", "province_code": "44", "product_line": "厨电", "open_leads": 0,
     "recent": 0, "win_rate": 0.2},
]  # fmt: skip


def lead(key, **also):
    return {"lead_key": key, "customer_id": None, "province_code": "44", "product_line": "厨电",
            "value_cents": 100, "crm_sales_id": None, "kept_sales_id": None, "kept_on": None,
            "kept_score": None, **also}  # fmt: skip


def test_leads_go_to_the_region_and_are_shared_fairly():
    rows = leads.share_out([lead(str(number)) for number in range(10)], PEOPLE, LeadRules(), DAY)
    given = [row["sales_id"] for row in rows]
    assert given.count("south") == given.count("south2") == 5
    assert "sells in the region" in rows[0]["reason"]


def test_a_lead_stays_with_who_has_it_unless_they_left():
    kept = lead("a", kept_sales_id="north", kept_on=DAY - dt.timedelta(days=3), kept_score=1.0)
    gone = lead("b", kept_sales_id="left")
    rows = leads.share_out([kept, gone], PEOPLE, LeadRules(), DAY)
    assert (rows[0]["sales_id"], rows[0]["is_new"]) == ("north", False)
    assert rows[1]["sales_id"].startswith("south")


def test_nobody_gets_more_than_the_most_open_leads():
    waiting = [lead(str(number)) for number in range(5)]
    rows = leads.share_out(waiting, PEOPLE, LeadRules(max_open=1), DAY)
    assert [row["sales_id"] is None for row in rows] == [False] * 3 + [True] * 2
    assert "nobody is free" in rows[4]["reason"]
    assert [each["open_leads"] for each in PEOPLE] == [0, 0, 0]


def test_an_assignment_is_remembered(desk):
    desk.connection.execute(
        "create table main.leads as select 'l1' as lead_key, 'new' as status, '44' as "
        "province_code, null::timestamp as first_contact_at, timestamp '2026-06-30' as created_at; "
        "create table main.sales_people as select 'south' as sales_id, '44' as province_code, "
        "'厨电' as product_line, true as is_active"
    )
    memory = desk.memory()
    memory.keep([leads.assign_leads(desk.connection, LeadRules(), memory, DAY)])
    later = DAY + dt.timedelta(days=1)
    leads.assign_leads(desk.connection, LeadRules(), desk.memory(later), later)
    assert desk.ask("select sales_id, assigned_on, is_new from engagement.lead_assignments") == [
        ("south", DAY, False)
    ]
