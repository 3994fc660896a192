import datetime as dt
import random
import shutil
from pathlib import Path

import pytest

from customer360.demo.world import generate
from customer360.exceptions import ConfigError
from customer360.identity import decisions, ids
from customer360.identity.config import IdentityConfig
from customer360.settings import Settings
from tests.identity.company import DAY, GIVEN, SURNAMES, Company, add_crowd, customers, groups
from tests.identity.demo_inputs import load_demo

NEXT_DAY = DAY + dt.timedelta(days=1)


@pytest.fixture(scope="session")
def learned(tmp_path_factory) -> Company:
    """A company that has learned; tests take copies of it."""
    company = add_crowd(Company(tmp_path_factory.mktemp("learned")), 90)
    company.resolve("first")
    return company


@pytest.fixture
def company(learned: Company, tmp_path: Path) -> Company:
    shutil.copytree(learned.folder, tmp_path / "company")
    return Company(tmp_path / "company", dict(learned.records), dict(learned.identifiers))


def one(found: dict[str, str], *records: str) -> bool:
    return len({found[record] for record in records}) == 1


def test_the_demo_company_is_found_again(tmp_path):
    generate(tmp_path / "world.duckdb", tmp_path / "truth.duckdb", "tiny", 7)
    company = Company(tmp_path)
    con = company.connect()
    con.execute("DROP VIEW records; DROP VIEW identifiers")
    load_demo(con, tmp_path / "world.duckdb", tmp_path / "truth.duckdb")
    from customer360.identity.engine import resolve_company

    resolve_company(con, company.settings, company.engine, run_id="demo", as_of=DAY)
    right, found, true = con.execute(
        """
        WITH told AS (SELECT customer_id, person_id FROM identity.customer_records
            JOIN truth USING (record_id)),
        pairs AS (SELECT 'right' AS what, count(*) AS n FROM told GROUP BY customer_id, person_id
            UNION ALL SELECT 'found', count(*) FROM told GROUP BY customer_id
            UNION ALL SELECT 'true', count(*) FROM told GROUP BY person_id)
        SELECT sum(n * (n - 1) / 2) FILTER (what = 'right'),
            sum(n * (n - 1) / 2) FILTER (what = 'found'),
            sum(n * (n - 1) / 2) FILTER (what = 'true') FROM pairs
        """
    ).fetchall()[0]
    assert right / found >= 0.995
    assert right / true >= 0.88


def test_openid_leads_over_unionid_and_phone_to_the_member(company):
    company.add("wechat.followers:a", openid="o1", unionid="u1")
    company.add("wechat.followers:b", openid="o2", unionid="u1")
    company.add("shop.accounts:1", unionid="u1", phone="13900000001", full_name="任小满")
    company.add("loyalty.members:1", phone="13900000001", full_name="任小满", member_no="M1")
    found = company.resolve("second")
    assert one(found, "wechat.followers:a", "wechat.followers:b", "shop.accounts:1",
               "loyalty.members:1")  # fmt: skip


def test_a_family_on_one_phone_stays_apart_and_half_names_ask(company):
    for key, name, born in (("a", "任国强", "1960-05-06"), ("b", "任小满", "1990-01-02"),
                            ("c", "苗秀英", "1962-07-08")):  # fmt: skip
        company.add(f"crm.people:{key}", full_name=name, birthday=born, phone="13900000002")
    company.add("call.tickets:mrs", full_name="苗女士", phone="13900000002")
    company.add("call.tickets:ren", full_name="任先生", phone="13900000002")
    con = company.run("second")
    found = customers(con)
    assert len({found[f"crm.people:{key}"] for key in "abc"}) == 3
    assert one(found, "call.tickets:mrs", "crm.people:c")
    assert found["call.tickets:ren"] not in {found["crm.people:a"], found["crm.people:b"]}
    doubtful = con.execute(
        "SELECT count(*) FROM identity.identity_links WHERE verdict = 'review' AND "
        "list_contains(against, 'fits several') AND 'call.tickets:ren' IN (record_l, record_r)"
    ).fetchall()
    assert doubtful == [(2,)]


def test_a_half_name_goes_to_whom_the_phone_mostly_is(company):
    for number in range(4):
        company.add(f"service.visits:{number}", full_name="任国强", phone="13900000002",
                    birthday="1961-04-05")  # fmt: skip
    company.add("crm.people:b", full_name="任小满", phone="13900000002", birthday="1990-01-02")
    company.add("call.tickets:ren", full_name="任先生", phone="13900000002")
    found = company.resolve("second")
    assert one(found, "call.tickets:ren", "service.visits:0")
    assert found["crm.people:b"] != found["call.tickets:ren"]


def test_a_half_name_joins_what_two_identifiers_say_of_one_name(company):
    company.add("crm.people:a", full_name="任小满", phone="13900000002")
    company.add("campaign.contacts:a", full_name="任小满", order_no="o1")
    company.add("call.tickets:a", full_name="任女士", phone="13900000002", order_no="o1")
    found = company.resolve("second")
    assert one(found, "crm.people:a", "campaign.contacts:a", "call.tickets:a")


def test_a_family_name_misheard_is_forgiven_where_more_agrees(company):
    home = "建设路1号锦绣园2号楼303室"
    company.add("crm.people:a", full_name="黄丽燕", phone="13900000004", address=home)
    company.add("service.visits:a", full_name="王丽燕", phone="13900000004", address=home)
    company.add("shop.accounts:a", full_name="汪丽燕", phone="13900000004")
    found = company.resolve("second")
    assert one(found, "crm.people:a", "service.visits:a")


def test_a_nickname_links_only_where_each_source_has_it_once(company):
    company.add("shop.accounts:a", full_name="任小满", **{"nickname:shop": "追风老王51"})
    company.add("wechat.followers:a", openid="o1", **{"nickname:wx1": "追风老王51"})
    company.add("shop.accounts:b", full_name="苗雨欣", **{"nickname:shop": "晴天熊"})
    for openid in ("b0", "b1"):
        company.add(f"wechat.followers:{openid}", openid=openid, **{"nickname:wx1": "晴天熊"})
    found = company.resolve("second")
    assert one(found, "shop.accounts:a", "wechat.followers:a")
    assert len({found["shop.accounts:b"], *(found[f"wechat.followers:b{n}"] for n in (0, 1))}) == 3
    company.add("wechat.followers:c", openid="o2", **{"nickname:wx1": "追风老王51"})
    found = company.resolve("third")
    assert not one(found, "shop.accounts:a", "wechat.followers:a")


def test_a_lone_record_is_weighed_among_its_namesakes(tmp_path):
    company = Company(tmp_path)
    names = [surname + given for surname, given in zip(SURNAMES * 4, GIVEN * 2, strict=False)]
    for number, name in enumerate(names):
        city = ("杭州", "苏州", "成都", "西安")[number % 4]
        company.add(f"crm.people:{number}", full_name=name, city=city, sex="男",
                    birthday=f"19{60 + number % 40}-03-{10 + number % 19}",
                    phone=f"139{number:08}")  # fmt: skip
        company.add(f"callcentre.tickets:{number}", full_name=name)
    for city, born in (("苏州", "1971-05-06"), ("成都", "1988-09-10")):
        company.add(f"crm.people:{city}", full_name="鲁小川", city=city, birthday=born)
        company.add(f"crm.more:{city}", full_name="邓子墨", city=city, birthday=born)
    company.add("callcentre.tickets:placed", full_name="鲁小川", city="苏州")
    company.add("callcentre.tickets:bare", full_name="邓子墨")
    found = company.resolve("first")
    alone = [one(found, f"crm.people:{n}", f"callcentre.tickets:{n}") for n in range(len(names))]
    assert all(alone)
    assert one(found, "callcentre.tickets:placed", "crm.people:苏州")
    assert not one(found, "crm.people:苏州", "crm.people:成都")
    assert not one(found, "callcentre.tickets:bare", "crm.more:苏州")
    assert not one(found, "callcentre.tickets:bare", "crm.more:成都")


def test_a_name_in_an_email_address_counts(company):
    company.add("crm.people:a", full_name="王海斌", birthday="1990-01-02", phone="13900000001")
    company.add("crm.people:b", full_name="王国强", birthday="1961-04-05", phone="13900000001")
    company.add("voice.responses:a", email="haibinwang_77@example.cn", phone="13900000001")
    found = company.resolve("second")
    assert one(found, "voice.responses:a", "crm.people:a")
    assert found["crm.people:b"] != found["crm.people:a"]


def test_a_lone_record_goes_to_the_only_known_person_of_its_name(company):
    known = [
        (key, fields["full_name"]) for key, fields in company.records.items()
        if "birthday" in fields and len(fields["full_name"]) == 3
    ]  # fmt: skip
    for number, (_, name) in enumerate(known[:40]):
        company.add(f"voice.responses:{number}", full_name=name)
    company.add("crm.people:one", full_name="任小满", birthday="1990-01-02", city="杭州")
    company.add("voice.responses:one", full_name="任小满")
    for number, born in enumerate(("1990-01-02", "1961-04-05")):
        company.add(f"crm.people:two{number}", full_name="苗雨欣", birthday=born)
    company.add("voice.responses:two", full_name="苗雨欣")
    found = company.resolve("second", learn=True)
    assert one(found, "crm.people:one", "voice.responses:one")
    assert found["voice.responses:two"] not in {found["crm.people:two0"], found["crm.people:two1"]}
    company.add("crm.people:another", full_name="任小满", birthday="1971-12-30")
    assert not one(company.resolve("third"), "crm.people:one", "voice.responses:one")


def test_a_recycled_phone_changes_hands_at_a_date(company):
    company.add("crm.people:old", at="2019-03-01", full_name="任国强", phone="13900000003")
    company.add("crm.people:new", at="2025-02-01", full_name="苗小雨", phone="13900000003")
    con = company.run("second")
    found = customers(con)
    assert found["crm.people:old"] != found["crm.people:new"]
    held = con.execute(
        "SELECT record_id, held_from, held_to FROM identity.customer_identifiers "
        "WHERE value = '+8613900000003' AND learned_to IS NULL ORDER BY held_from"
    ).fetchall()
    assert held == [
        ("crm.people:old", dt.datetime(2019, 3, 1), dt.datetime(2025, 2, 1)),
        ("crm.people:new", dt.datetime(2025, 2, 1), None),
    ]


def test_a_dummy_phone_is_learned_and_joins_nobody(company):
    names = ["蒋文博", "薛嘉怡", "魏天佑", "阎春梅", "汤睿哲", "尹可心", "易凡星", "乔安然"]
    for number, name in enumerate(names):
        company.add(f"till.guests:{number}", full_name=name, phone="13800000000")
    company.add("till.guests:nobody", phone="13800000000")
    found = company.resolve("second", learn=True)
    assert len({found[f"till.guests:{number}"] for number in range(len(names))}) == len(names)
    assert [record for record, who in found.items() if who == found["till.guests:nobody"]] == [
        "till.guests:nobody"
    ]


def test_one_member_number_with_contradicting_persons_does_not_join_them(company):
    company.add("crm.people:x", full_name="任国强", birthday="1960-05-06", member_no="M9")
    company.add("shop.accounts:x", full_name="苗小雨", birthday="1999-11-12", member_no="M9")
    found = company.resolve("second")
    assert found["crm.people:x"] != found["shop.accounts:x"]


def test_no_customer_grows_over_the_cap(company):
    company.config = IdentityConfig(max_records=6)
    for number in range(20):
        company.add(f"till.guests:{number:02d}", full_name="任小满", member_no=f"M{number // 2}",
                    phone="13900000008", birthday="1990-01-02")  # fmt: skip
    found = company.resolve("second")
    assert max(len(group) for group in groups(found)) == 6


def test_a_lunar_birthday_is_the_solar_one(company):
    company.add("crm.people:l", full_name="任国强", birthday="1960年农历九月廿二", city="杭州",
                phone="13900000004")  # fmt: skip
    company.add("shop.accounts:l", full_name="任国强", birthday="1960-11-10", phone="13900000004")
    assert one(company.resolve("second"), "crm.people:l", "shop.accounts:l")


def test_organisations_join_by_code_and_name_and_stay_apart_by_code(company):
    for key, name, code in (("1", "杭州青岚科技有限公司", "91330100MA2ABCDE1X"),
                            ("2", "杭州青岚科技", None), ("3", "青岚电器", "91330100MA2ABCDE1X"),
                            ("4", "杭州青岚科技有限公司", "91330100MA9ZZZZZ9X")):  # fmt: skip
        company.records[f"crm.organisations:{key}"] = {
            "entity": "organisation", "organisation_name": name, "city": "杭州",
            "created_at": "2024-01-01", **({"credit_code": code} if code else {}),
        }  # fmt: skip
    found = company.resolve("second")
    assert one(found, "crm.organisations:1", "crm.organisations:3")
    assert found["crm.organisations:4"] != found["crm.organisations:1"]


def test_the_order_of_rows_and_a_repeated_run_change_nothing(company, tmp_path):
    first = company.resolve("first", order=1)
    assert company.resolve("first", order=2) == first
    other = add_crowd(Company(tmp_path / "other"), 90)
    assert other.resolve("another", order=3) == first


@pytest.mark.parametrize(
    "orders", [range(2), pytest.param(range(2, 12), marks=pytest.mark.faults)], ids=["two", "ten"]
)
def test_split_and_shuffled_orders_end_in_one_grouping(learned, tmp_path, orders):
    expected = groups(add_crowd(Company(tmp_path / "whole"), 90).resolve("only"))
    keys = sorted(learned.records)
    for order in orders:
        random.Random(order).shuffle(keys)
        company = Company(tmp_path / f"split-{order}")
        for part, size in enumerate((60, len(keys))):
            wanted = set(keys[:size])
            company.records = {key: learned.records[key] for key in sorted(wanted)}
            company.identifiers = {
                key: at for key, at in learned.identifiers.items() if key[0] in wanted
            }
            company.run(f"part-{part}", DAY + dt.timedelta(days=part), order=order)
        con = company.run("final", DAY + dt.timedelta(days=9), order=order, learn=True)
        found = customers(con)
        assert groups(found) == expected
        told = con.execute(
            "SELECT DISTINCT new_id FROM identity.identity_changes WHERE reason = 'new'"
        ).fetchall()
        present = {who for (past,) in told for who in ids.present_ids(company.engine, past)}
        assert present == set(found.values())


def test_a_merge_keeps_the_bigger_id_and_the_past_id_resolves(company):
    company.add("crm.people:m1", full_name="任小满", birthday="1990-01-02", member_no="M1")
    company.add("crm.people:m2", full_name="任小满", member_no="M1")
    company.add("shop.accounts:m3", full_name="任先生", phone="13900000005")
    before = company.resolve("second")
    assert before["shop.accounts:m3"] != before["crm.people:m1"]
    company.add("crm.people:m2", full_name="任小满", member_no="M1", phone="13900000005")
    con = company.run("third", NEXT_DAY)
    after = customers(con)
    assert after["shop.accounts:m3"] == after["crm.people:m1"] == before["crm.people:m1"]
    old = before["shop.accounts:m3"]
    assert ids.present_ids(company.engine, old) == [after["crm.people:m1"]]
    assert (old, after["crm.people:m1"], "merge") in con.execute(
        "SELECT old_id, new_id, reason FROM identity.customer_id_map"
    ).fetchall()
    learned = con.execute(
        "SELECT learned_from, learned_to FROM identity.customer_identifiers "
        "WHERE record_id = 'shop.accounts:m3' ORDER BY learned_from"
    ).fetchall()
    midnight = dt.datetime.combine(NEXT_DAY, dt.time())
    assert [row[1] for row in learned] == [midnight, None]
    assert learned[1][0] == midnight


def test_a_wrong_merge_is_undone_stays_undone_and_the_old_id_returns(company):
    company.add("crm.people:u1", full_name="任小满", birthday="1990-01-02", member_no="M1")
    company.add("crm.people:u2", full_name="任女士", phone="13900000006")
    before = company.resolve("second")
    company.add("crm.people:u1", full_name="任小满", member_no="M1", phone="13900000006")
    merged = company.resolve("third", day=NEXT_DAY)
    assert one(merged, "crm.people:u1", "crm.people:u2")
    decisions.decide(company.engine, "cannot_link", "crm.people:u1", "crm.people:u2", "vera")
    con = company.run("fourth", NEXT_DAY)
    after = customers(con)
    assert {after["crm.people:u1"], after["crm.people:u2"]} == {
        before["crm.people:u1"], before["crm.people:u2"]
    }  # fmt: skip
    assert company.summary["recomputed_records"] < 10
    assert company.resolve("fifth", day=NEXT_DAY, learn=True) == after
    changes = con.execute("SELECT reason FROM identity.identity_changes WHERE run_id = 'fourth'")
    assert changes.fetchall() == [("undo",)]
    led_on = con.execute("SELECT reason FROM identity.customer_id_map WHERE reason = 'merge'")
    assert led_on.fetchall() == []  # the old id is a customer again


def test_the_map_of_ids_can_be_followed_blindly_by_its_merges(company):
    """A into B, B taken apart: one merge row for A; what fell off is told as a split."""
    for key, born in (("a", "1990-01-02"), ("b", "1971-12-30")):
        for number in range(2 if key == "a" else 3):
            company.add(f"crm.people:{key}{number}", full_name="任小满", birthday=born,
                        member_no=f"M-{key}")  # fmt: skip
    company.add("shop.accounts:c", full_name="任小满", member_no="M-b", unionid="u1")
    before = company.resolve("second", day=NEXT_DAY)
    was_a, was_b = before["crm.people:a0"], before["crm.people:b0"]
    assert was_a != was_b
    decisions.decide(company.engine, "must_link", "crm.people:a0", "crm.people:b0", "vera")
    joined = company.resolve("third", day=NEXT_DAY + dt.timedelta(days=1))
    assert joined["crm.people:a0"] == was_b
    decisions.decide(company.engine, "cannot_link", "crm.people:b0", "shop.accounts:c", "vera")
    con = company.run("fourth", NEXT_DAY + dt.timedelta(days=2))
    after = customers(con)
    assert (after["crm.people:a0"], after["crm.people:b0"]) == (was_b, was_b)
    led = con.execute(
        "SELECT old_id, new_id, reason FROM identity.customer_id_map ORDER BY ALL"
    ).fetchall()
    fallen = after["shop.accounts:c"]
    assert sorted(led) == sorted(
        [(was_a, was_b, "merge"), (was_a, fallen, "split"), (was_b, fallen, "split")]
    )


def test_people_link_what_shares_nothing_and_may_take_it_back(company):
    company.add("crm.people:p1", full_name="任小满", birthday="1990-01-02")
    company.add("shop.accounts:p2", full_name="苗雨欣", birthday="1971-12-30")
    number = decisions.decide(company.engine, "must_link", "shop.accounts:p2", "crm.people:p1", "v")
    assert one(company.resolve("second"), "crm.people:p1", "shop.accounts:p2")
    with pytest.raises(ConfigError, match="undo"):
        decisions.decide(company.engine, "cannot_link", "crm.people:p1", "shop.accounts:p2", "v")
    decisions.undo(company.engine, number, "vera")
    found = company.resolve("third")
    assert found["crm.people:p1"] != found["shop.accounts:p2"]


def test_an_older_run_leaves_the_memory_alone(company):
    company.add("crm.people:late", full_name="任小满", member_no="M1")
    later = company.resolve("second", day=NEXT_DAY)
    company.remove("crm.people:late")
    earlier = company.resolve("backfill", day=DAY - dt.timedelta(days=30))
    assert {key: later[key] for key in earlier} == earlier
    company.add("crm.people:late", full_name="任小满", member_no="M1")
    assert company.resolve("third", day=NEXT_DAY) == later


def test_a_store_that_is_lost_or_damaged_is_rebuilt_with_the_same_ids(company):
    before = company.resolve("second")
    store = company.settings.data_dir / "identity.duckdb"
    store.write_bytes(b"not a database")
    assert company.resolve("third", day=NEXT_DAY) == before


def test_a_kill_between_memory_and_store_is_mended_by_the_rerun(company, monkeypatch):
    from customer360.identity import outputs

    company.add("crm.people:k1", full_name="任小满", member_no="M1")

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            company.resolve("second", day=NEXT_DAY)
    found = company.resolve("second", day=NEXT_DAY)
    assert "crm.people:k1" in found
    assert ids.customers_now(company.engine) == len(set(found.values()))


def test_inputs_of_another_shape_are_refused(company):
    con = company.connect()
    con.execute("CREATE VIEW cut AS SELECT record_id FROM records")
    from customer360.identity.engine import resolve_company

    with pytest.raises(ConfigError, match="entity"):
        resolve_company(con, company.settings, company.engine, run_id="x", as_of=DAY, records="cut")


def test_rules_are_checked(tmp_path, monkeypatch):
    from customer360.identity.config import load_identity_config

    monkeypatch.setenv("CUSTOMER360_CONFIG", str(tmp_path))
    settings = Settings("acme", tmp_path, threads=2, memory_limit="1GB")
    assert load_identity_config(settings) == IdentityConfig()
    (tmp_path / "identity.yml").write_text("acme: {threshold: 0.9, kinds: {badge: {link: strong}}}")
    loaded = load_identity_config(settings)
    assert loaded.threshold == 0.9
    assert loaded.kinds["badge"].link == loaded.kinds["unionid"].link == "strong"
    (tmp_path / "identity.yml").write_text("acme: {threshhold: 0.9}")
    with pytest.raises(ConfigError, match=r"acme\.threshhold: unknown key"):
        load_identity_config(settings)
