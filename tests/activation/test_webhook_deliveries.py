"""Rows to a web service: what differs, once, lawfully, whatever the receiver answers."""

import datetime as dt
import hashlib
import hmac
import json

import duckdb
import pytest
from click.testing import CliRunner

from customer360 import state
from customer360.activation import outbox, sending, stops, to_parcels
from customer360.activation.delivery_commands import sending as sending_commands
from customer360.config import load_config
from customer360.exceptions import (
    BusyError,
    ConfigError,
    Customer360Error,
    ReceiverUnavailableError,
    SendingStoppedError,
)
from tests.activation.worlds import NEXT, consents, members
from tests.publish.company import DAY


def test_what_differs_from_what_was_acknowledged_is_sent_and_nothing_else(world):
    first = world.send([("a", "vip", 1), ("b", "vip", 2), ("b", "new", 2)])
    assert first.counts == {"added": 3, "changed": 0, "removed": 0}
    again = world.send([("a", "vip", 1), ("b", "vip", 2), ("b", "new", 2)])
    assert again.status == "unchanged"
    assert len(world.receiver.requests) == 1
    second = world.send([("a", "vip", 9), ("b", "vip", 2), ("c", "vip", 3)], NEXT)
    assert second.counts == {"added": 1, "changed": 1, "removed": 1}
    sent = {(row["customer_id"], row["change"], row["score"])
            for row in world.receiver.requests[-1][1]["rows"]}  # fmt: skip
    assert sent == {("a", "changed", 9), ("c", "added", 3), ("b", "removed", None)}
    assert world.held() == {("a", "vip"), ("b", "vip"), ("c", "vip")}
    assert world.send([("a", "vip", 9)], DAY).status == "held_back"


def test_a_request_is_signed_and_carries_a_key_and_the_token(world):
    world.send([("a", "vip", 1)])
    key, body, headers = world.receiver.requests[0]
    assert len(key) == 32
    assert headers["Authorization"] == "Bearer token"
    stamp, _, digest = headers["X-Customer360-Signature"].partition(",v1=")
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    assert digest
    assert body["as_of"] == str(DAY)
    assert body["rows"][0]["delivery_id"]
    assert text
    from customer360.activation.receivers.webhook import signature

    assert (
        signature(b"k", b"body", 7)
        == "t=7,v1=" + hmac.new(b"k", b"7.body", hashlib.sha256).hexdigest()
    )
    assert stamp.startswith("t=")


def test_passing_faults_are_tried_again_with_the_same_key_and_have_one_effect(world):
    world.receiver.faults.extend(["429", "late"])
    done = world.send([("a", "vip", 1)])
    assert done.counts["added"] == 1
    keys = {key for key, _, _ in world.receiver.requests}
    assert len(world.receiver.requests) == 3
    assert len(keys) == 1
    assert len(world.receiver.effects) == 1


def test_a_receiver_that_would_take_it_twice_is_not_asked_twice(world):
    world.receiver.honours_key = False
    world.declare(honours_key=False)
    world.receiver.faults.extend(["late"])
    done = world.send([("a", "vip", 1)])
    assert (done.unknown, len(world.receiver.requests)) == (1, 1)
    assert world.ledger()["a", "vip"][0] == "unknown"
    world.send([("a", "vip", 1)])
    assert len(world.receiver.requests) == 1, "it waits for a person"


def test_a_refused_row_keeps_no_other_from_its_receiver_and_dies_in_the_end(world):
    world.receiver.always = "poison:c"
    rows = [(name, "vip", 1) for name in "abcdefg"]
    done = world.send(rows)
    assert (done.counts["added"], done.failed) == (6, 1)
    assert world.ledger()["c", "vip"][0] == "failed"
    done = world.send(rows)
    assert (done.counts["added"], done.failed, done.dead) == (0, 0, 1)
    before = len(world.receiver.requests)
    world.send(rows)
    assert len(world.receiver.requests) == before
    world.receiver.always = None
    with outbox.Outbox.open(world.settings, world.engine, "tool") as book:
        assert book.replay(None) == 1
    assert world.send(rows).counts["added"] == 1


def test_a_200_with_an_error_inside_is_no_acknowledgement(world):
    world.declare(answer={"path": "status", "equals": "ok"})
    world.receiver.faults.append("no")
    done = world.send([("a", "vip", 1)])
    assert (done.counts["added"], done.failed) == (0, 1)
    assert world.send([("a", "vip", 1)]).counts["added"] == 1


def test_rows_that_a_receiver_names_as_not_taken_stay_pending(world):
    world.declare(answer={"rejected": "rejected"})
    world.receiver.faults.append("partly:b")
    done = world.send([("a", "vip", 1), ("b", "vip", 1)])
    assert (done.counts["added"], done.failed) == (1, 1)
    assert done.reasons == {"not taken: no such contact": 1}
    assert world.send([("a", "vip", 1), ("b", "vip", 1)]).counts["added"] == 1
    assert world.held() == {("a", "vip"), ("b", "vip")}


def test_an_unreachable_receiver_costs_no_row_an_attempt(world):
    world.declare(retry={"attempts": 1, "first_wait": 0, "give_up_after": 1})
    world.receiver.stop()
    for _ in range(2):
        with pytest.raises(ReceiverUnavailableError, match="cannot be reached"):
            world.send([("a", "vip", 1)])
    assert world.ledger()["a", "vip"][0] == "failed"


def test_without_consent_nothing_is_sent_and_what_was_sent_is_removed(world):
    world.declare(purpose="offers", columns={"score": "offers"})
    rows = [("a", "vip", 1), ("b", "vip", 1), ("c", "vip", 1)]
    done = world.send(rows, consents=consents(a=True, b=False))
    assert done.held == {"no consent to marketing by sms": 2}
    assert world.held() == {("a", "vip")}
    assert world.ledger()["b", "vip"] == ["held", False, "no consent to marketing by sms"]
    world.send(rows, NEXT, consents=consents(a=False, b=True))
    assert world.held() == {("b", "vip")}


def test_a_column_without_a_basis_of_its_own_goes_empty(world):
    world.declare(columns={"score": "offers"})
    world.send([("a", "vip", 1), ("b", "vip", 2)], consents=consents(a=True))
    sent = {row["customer_id"]: row["score"] for row in world.receiver.requests[0][1]["rows"]}
    assert sent == {"a": 1, "b": None}


def test_who_is_suppressed_is_removed_everywhere(world):
    rows = [("a", "vip", 1), ("b", "vip", 1)]
    world.send(rows)
    stops.suppress(world.engine, ["a"], "erased", "asked for it")
    done = world.send(rows)
    assert done.counts["removed"] == 1
    assert world.held() == {("b", "vip")}


def test_sending_can_be_stopped_at_once_between_requests(world, monkeypatch):
    world.declare(batch_size=1)
    monkeypatch.setattr(to_parcels, "WINDOW_ROWS", 1)
    stops.stop_sending(world.engine, "wrong prices")
    published = world.publish([(name, "vip", 1) for name in "abc"])
    with pytest.raises(SendingStoppedError, match="wrong prices"):
        world.deliver(published)
    assert not world.receiver.requests
    stops.start_sending(world.engine)
    honest = to_parcels.Webhook.send

    def send_and_stop(self, parcels):
        stops.stop_sending(world.engine, "stop")
        return honest(self, parcels)

    monkeypatch.setattr(to_parcels.Webhook, "send", send_and_stop)
    with pytest.raises(SendingStoppedError):
        world.deliver(published)
    assert len(world.receiver.requests) == 1
    monkeypatch.setattr(to_parcels.Webhook, "send", honest)
    stops.start_sending(world.engine)
    assert world.deliver(published).counts["added"] == 2
    assert len(world.receiver.effects) == 3


def test_a_part_that_empties_or_grows_tenfold_waits_for_a_person(world):
    world.declare(guard={"part": "segment", "min_rows": 5, "min_before": 1})
    few = [("a", "vip", 1), ("a", "new", 1)]
    world.send(few)
    many = [("a", "new", 1), *((f"c{n}", "new", 1) for n in range(20))]
    published = world.publish(many)
    with pytest.raises(SendingStoppedError, match=r"new: 1 rows before, 21 now; vip: 1 .* 0 now"):
        world.deliver(published)
    assert len(world.receiver.requests) == 1
    assert stops.confirm_parts(world.engine, "tool") == 2
    assert world.deliver(published).counts == {"added": 20, "changed": 0, "removed": 1}
    assert not stops.stopped_parts(world.engine, "tool")


def test_a_message_for_people_lacks_no_value(world):
    world.declare(batch_size=1, message={"text": {"content": "{customer_id}: {score} points"}})
    done = world.send([("a", "vip", 1)], segment_members=members(("a", "vip", 1)) +
                      " union all select 'b', 'vip', null")  # fmt: skip
    assert [body for _, body, _ in world.receiver.requests] == [
        {"text": {"content": "a: 1 points"}}
    ]
    assert done.held == {"the message needs score, which is not there": 1}
    world.declare(batch_size=1, message={"text": "{nobody}"})
    with pytest.raises(ConfigError, match="nobody"):
        world.send([("a", "vip", 1)])


def test_what_would_be_sent_can_be_seen_before(world, tmp_path):
    world.send([("a", "vip", 1), ("b", "vip", 1)])
    published = world.publish([("a", "vip", 2)])
    out = tmp_path / "rows.json"
    plan, rows = sending.dry_run(
        world.settings, world.engine, load_config(world.settings), "tool", *published, out
    )
    assert plan.counts == {"added": 0, "changed": 1, "removed": 1}
    assert [(row["customer_id"], row["segment"], row["change"]) for row in rows] == [
        ("a", "vip", "changed"), ("b", "vip", "removed"),
    ]  # fmt: skip
    assert len(out.read_text().splitlines()) == 2
    assert len(world.receiver.requests) == 1
    assert world.deliver(published).counts == plan.counts


def test_an_overtaken_run_sends_nothing(world):
    published = world.publish([("a", "vip", 1)])
    world.publish([("b", "vip", 1)])
    with pytest.raises(BusyError, match="overtaken"):
        world.deliver(published)
    assert not world.receiver.requests


def test_what_may_have_arrived_keeps_its_key_in_the_next_run(world):
    world.receiver.faults.extend(["late", "500", "500"])
    assert world.send([("a", "vip", 1)]).failed == 1
    assert world.ledger()["a", "vip"][0] == "intended"
    assert world.send([("a", "vip", 1)]).failed == 0
    assert len({key for key, *_ in world.receiver.requests}) == 1
    assert len(world.receiver.effects) == 1
    # What has changed meanwhile goes once its fate is known, with a key of its own.
    world.receiver.faults.extend(["late", "500", "500", "500", "500", "500"])
    assert world.send([("a", "vip", 2)]).failed == 1
    assert world.send([("a", "vip", 3)]).failed == 0  # silent in two runs: it waits for a person
    assert world.ledger()["a", "vip"][0] == "dead"


def test_a_request_that_was_cut_off_is_repeated_as_it_was(world, monkeypatch):
    published = world.publish([("a", "vip", 1), ("b", "vip", 1)])

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outbox.Outbox, "answer", cut)
        with pytest.raises(KeyboardInterrupt):
            world.deliver(published)
    assert len(world.receiver.effects) == 2
    assert world.deliver(published).status == "unchanged"
    assert len(world.receiver.requests) == 2
    assert world.receiver.requests[0][:2] == world.receiver.requests[1][:2]
    assert len(world.receiver.effects) == 2


def test_a_cut_off_request_goes_again_without_whom_may_not_be_sent_any_more(world, monkeypatch):
    published = world.publish([("a", "vip", 1), ("b", "vip", 1)])

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(to_parcels.Webhook, "send", cut)
        with pytest.raises(KeyboardInterrupt):
            world.deliver(published)
    assert not world.receiver.requests
    stops.suppress(world.engine, ["a"], "erased", "asked for it")
    world.deliver(published)
    told = [row for _, body, _ in world.receiver.requests for row in body["rows"]]
    assert [(row["customer_id"], row["change"]) for row in told] == [
        ("b", "added"), ("a", "removed"),
    ]  # fmt: skip
    assert world.held() == {("b", "vip")}


def test_the_ledger_moves_from_the_store_of_the_version_before(settings):
    engine = state.engine(settings)
    state.ensure(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("drop table deliveries")
        connection.exec_driver_sql("alter table exports rename to deliveries")
        connection.exec_driver_sql("update state_info set value = '1' where key = 'schema_version'")
    state.ensure(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("select version, file_hash from exports")
        connection.exec_driver_sql("select payload_hash from deliveries")


def test_a_row_whose_day_is_over_is_not_taken_back(world, receiver):
    def plan(*rows: tuple[str, str]) -> str:
        listed = " union all ".join(f"select '{who}', '{who}', date '{on}'" for who, on in rows)
        return f"select * from ({listed}) as planned(customer_id, touch_id, plan_on)"

    world.declare(**{"from": "touch_plan"}, columns={}, passes="plan_on")
    next_day, day_after = DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)
    world.send((), DAY, touch_plan=plan(("a", next_day), ("b", next_day)))
    world.send((), DAY, touch_plan=plan(("a", next_day)))
    assert receiver.requests[-1][1]["rows"][0]["change"] == "removed"
    done = world.send((), next_day, touch_plan=plan(("c", day_after)))
    assert done.counts == {"added": 1, "changed": 0, "removed": 0}


def test_what_an_hour_plans_is_sent_at_once_and_stays_until_its_night(world, receiver):
    next_day, day_after = DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)

    def plan(*rows: tuple[str, dt.date, bool]) -> str:
        listed = ", ".join(f"('{who}', '{who}', date '{on}', {made})" for who, on, made in rows)
        return (
            f"select * from (values {listed}) as plan(customer_id, touch_id, plan_on, is_planned)"
        )

    def hour(at: int, *rows: tuple[str, dt.date, bool]) -> None:
        folder = world.settings.data_dir / "hourly" / f"{next_day}T{at:02}"
        folder.mkdir(parents=True)
        duckdb.sql(plan(*rows)).write_parquet(str(folder / "touch_plan.parquet"))
        (folder / "_SUCCESS").touch()

    def sent() -> list[tuple[str, str]]:
        rows = [row for _, body, *_ in receiver.requests for row in body["rows"]]
        return [(row["customer_id"], row["change"]) for row in rows]

    world.declare(
        **{"from": "touch_plan"}, where="is_planned", columns={}, passes="plan_on", hourly=True
    )
    night = world.publish((), DAY, touch_plan=plan(("a", next_day, True)))
    world.deliver(night)
    hour(14, ("b", next_day, True), ("c", next_day, False))
    world.deliver(night)
    hour(15, ("b", next_day, False), ("d", next_day, True))
    world.deliver(night)
    assert sent() == [("a", "added"), ("b", "added"), ("d", "added")]
    assert world.deliver(night).status == "unchanged"
    # The night after tells of its own day alone.
    world.send((), next_day, touch_plan=plan(("e", day_after, True)))
    assert sent()[3:] == [("e", "added")]


def test_who_is_suppressed_stays_so_when_merged_or_split(world, receiver):
    stops.suppress(world.engine, ["a"], stops.SUPPRESSED, "asked for it")
    merged = (
        "select unnest(['a', 'a']) as old_id, unnest(['b', 'c']) as new_id, "
        "unnest(['merge', 'split']) as reason"
    )
    world.send([("b", "vip", 1), ("c", "vip", 1), ("d", "vip", 1)], customer_id_map=merged)
    assert {who for who, _ in world.held()} == {"d"}
    assert stops.allow(world.engine, ["a"]) == 1
    world.send([("b", "vip", 1), ("c", "vip", 1), ("d", "vip", 1)], customer_id_map=merged)
    assert {who for who, _ in world.held()} == {"b", "c", "d"}


def test_only_known_customers_are_suppressed(world):
    world.publish([("a", "vip", 1)], customers="select 'a' as customer_id")
    done = CliRunner().invoke(sending_commands, ["suppress", "nobody", "--because", "x"])
    assert isinstance(done.exception, Customer360Error)
    assert "knows no customer nobody; nothing was changed" in str(done.exception)
    assert stops.suppressed(world.engine) == []
    done = CliRunner().invoke(sending_commands, ["suppress", "a", "--because", "x"])
    assert done.exit_code == 0, done.output
    assert stops.suppressed(world.engine) == [("a", "suppressed")]


def test_wording_alone_is_not_told_again(world, receiver):
    def rows(raised: str, words: str) -> str:
        return (
            f"select 'a' as customer_id, 'x' as segment, '{raised}' as raised_on, "
            f"'{words}' as reason"
        )

    world.declare(columns={"raised_on": "care", "reason": "care"}, again_on=["raised_on"])
    for raised, words in (("1", "7 days ago"), ("1", "8 days ago"), ("2", "9 days ago")):
        world.send((), segment_members=rows(raised, words))
    told = [row["reason"] for _, body, _ in receiver.requests for row in body["rows"]]
    assert told == ["7 days ago", "9 days ago"]
    world.declare(again_on=["nothing"])
    with pytest.raises(ConfigError, match="again_on: 'nothing' is none of"):
        world.send([("a", "vip", 1)])


def test_a_column_arrives_under_its_name_whatever_it_is(world, receiver):
    world.declare(columns={"reason": "care", "attempts": "care", "score": "care"})
    rows = "select 'a' as customer_id, 'x' as segment, 'why' as reason, 3 as attempts, 1 as score"
    world.send((), segment_members=rows)
    ((_, body, _),) = receiver.requests
    assert {"reason": "why", "attempts": 3, "score": 1}.items() <= body["rows"][0].items()
    world.declare(columns={"quick": "care"})
    with pytest.raises(ConfigError, match="'quick' is one of our own"):
        world.send([("a", "vip", 1)])


def test_only_the_touch_plan_has_hours(world):
    world.declare(hourly=True)
    with pytest.raises(ConfigError, match="hourly: an hour adds rows to touch_plan only"):
        world.send([("a", "vip", 1)])


def test_who_was_merged_is_removed_with_the_name_of_the_successor(world, receiver):
    world.send([("a", "vip", 1), ("b", "vip", 1)])
    merged = "select 'b' as old_id, 'c' as new_id, 'merge' as reason"
    world.send([("a", "vip", 1), ("c", "vip", 1)], customer_id_map=merged)
    told = {row["customer_id"]: row for row in receiver.requests[-1][1]["rows"]}
    assert (told["b"]["change"], told["b"]["successor_id"]) == ("removed", "c")
    assert "successor_id" not in told["c"]
