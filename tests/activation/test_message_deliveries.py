"""Messages for people: a line in chat, a mail to the owner; each once, none half filled."""

import json
import smtplib
from typing import Any

import pytest

from customer360.activation.receivers import mail
from tests.activation.worlds import World

EMPTY = "null"  # in the query of the rows
TEXT = {"msgtype": "text", "text": {"content": "{customer_id} has {score} points"}}


def test_a_line_in_chat_is_written_once_and_never_taken_back(world, receiver):
    world.declare(batch_size=1, message=TEXT)
    rows = [("a", "vip", 1), ("b", "vip", 2)]
    assert world.send(rows).counts["added"] == 2
    assert world.send(rows).status == "unchanged"
    assert world.send(rows[:1]).counts["removed"] == 1
    told = [body["text"]["content"] for _, body, _ in receiver.requests]
    assert told == ["a has 1 points", "b has 2 points"]


def test_a_message_without_its_variable_is_held_and_goes_when_it_is_there(world, receiver):
    world.declare(batch_size=1, message=TEXT)
    done = world.send([("a", "vip", EMPTY), ("b", "vip", 2)])
    assert done.counts["added"] == 1
    assert done.held == {"the message needs score, which is not there": 1}
    assert world.send([("a", "vip", 5), ("b", "vip", 2)]).counts["added"] == 1
    assert receiver.requests[-1][1]["text"]["content"] == "a has 5 points"


class Server:
    """A mail server that takes what it is told to."""

    sent: list[Any]
    refused: set[str]
    broken: set[str]

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send_message(self, message: Any) -> None:
        if message["To"] in self.refused:
            raise smtplib.SMTPRecipientsRefused({message["To"]: (550, b"no such user")})
        self.sent.append(message)
        if message["To"] in self.broken:
            raise smtplib.SMTPServerDisconnected("gone")


@pytest.fixture
def office(world, monkeypatch) -> World:
    Server.sent, Server.refused, Server.broken = [], set(), set()
    monkeypatch.setattr(mail.Mailer, "_open", lambda _: Server())
    known = {"post": {"conn_type": "smtp", "host": "mail.test",
                      "extra": {"from_email": "c360@shop.test"}}}  # fmt: skip
    (world.settings.data_dir / "connections.json").write_text(json.dumps(known))
    world.declare_only(
        {"title": "Mail", "owner": "care", "kind": "mail", "connection": "post",
         "from": "segment_members", "purpose": "care", "columns": {"score": "care"},
         "identifiers": {}, "owner_column": "customer_id",
         "to": {"a": "ann@shop.test", "b": "bob@shop.test"},
         "subject": "Look at {customer_id}", "text": "{score} points"}
    )  # fmt: skip
    return world


def test_each_owner_gets_a_mail_once_with_a_key_that_mail_programs_know(office):
    rows = [("a", "vip", 1), ("b", "vip", 2), ("c", "vip", 3)]
    done = office.send(rows)
    assert (done.counts["added"], sum(done.held.values())) == (2, 1)  # nobody reads for c
    assert [(each["To"], each["Subject"]) for each in Server.sent] == [
        ("ann@shop.test", "Look at a"), ("bob@shop.test", "Look at b"),
    ]  # fmt: skip
    assert len({each["Message-ID"] for each in Server.sent}) == 2
    assert office.send(rows).counts["added"] == 0
    assert len(Server.sent) == 2


def test_a_refused_address_is_tried_again_and_a_broken_connection_waits_for_a_person(office):
    Server.refused, Server.broken = {"ann@shop.test"}, {"bob@shop.test"}
    rows = [("a", "vip", 1), ("b", "vip", 2)]
    done = office.send(rows)
    assert (done.failed, done.unknown) == (1, 1)
    Server.refused, Server.broken = set(), set()
    assert office.send(rows).counts["added"] == 1
    assert [each["To"] for each in Server.sent] == ["bob@shop.test", "ann@shop.test"]
