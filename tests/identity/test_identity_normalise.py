import pytest

from customer360.identity import normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("张伟", ("伟", "张")),
        ("張偉", ("伟", "张")),
        ("欧阳志强", ("志强", "欧阳")),
        ("歐陽 志強", ("志强", "欧阳")),
        ("王先生", (None, "王")),
        ("阿里木·买买提", ("阿里木", "买买提")),
        ("Zhang Wei", ("wei", "zhang")),
        ("Xiaoming Zhang", ("xiaoming", "zhang")),
        ("Cui Zhang", ("cui", "zhang")),
        ("Jane van der Berg", ("jane", "van der berg")),
        ("Smith, John", ("john", "smith")),
        ("Dr. José  García", ("josé", "garcía")),
        ("Martin Luther King Jr.", ("martin luther", "king")),
        ("N/A", (None, None)),
        ("未知", (None, None)),
    ],
)
def test_full_names_are_split(text, expected):
    assert normalise.split_name(text) == expected


@pytest.mark.parametrize(
    ("text", "surname", "expected"),
    [
        ("伟", False, "wei"),
        ("曾", True, "zeng"),
        ("曾", False, "ceng"),
        ("欧阳", True, "ouyang"),
        ("müller", True, "muller"),
        ("o brien", True, "obrien"),
    ],
)
def test_chinese_and_latin_names_meet_in_letters(text, surname, expected):
    assert normalise.latin(text, surname=surname) == expected


@pytest.mark.parametrize(
    "text",
    [
        "13912345678",
        "+86 139 1234 5678",
        "0086-139-1234-5678",
        "１３９１２３４５６７８",
        "139-1234-5678",
    ],
)
def test_one_phone_number_has_one_form(text):
    assert normalise.phone(text) == "+8613912345678"


def test_foreign_and_impossible_phones():
    assert normalise.phone("+44 20 7946 0958") == "+442079460958"
    assert normalise.phone("020 7946 0958", region="GB") == "+442079460958"
    assert normalise.phone("12") is None
    assert normalise.phone("999999999999999999") == "999999999999999999"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Ann.Lee+shop@Gmail.com ", "annlee@gmail.com"),
        ("mailto:a.b@firma.de", "a.b@firma.de"),
        ("ｗａｎｇ@qq.com", "wang@qq.com"),
        ("no-at-sign", None),
        ("@x.com", None),
    ],
)
def test_emails(text, expected):
    assert normalise.email(text) == expected


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("1983-05-06", {}, "1983-05-06"),
        ("1983年5月6日", {}, "1983-05-06"),
        ("19830506", {}, "1983-05-06"),
        ("05061983", {"order": "mdy"}, "1983-05-06"),
        ("6.5.1983", {}, "1983-05-06"),
        ("5/6/83", {"order": "mdy"}, "1983-05-06"),
        ("6 May 1983", {}, "1983-05-06"),
        ("May 6, 1983", {}, "1983-05-06"),
        ("19961372", {"form": "%Y%m%d"}, "1996-13-72"),
        ("1983-05-06 00:00:00", {}, "1983-05-06"),
        ("soon", {}, None),
    ],
)
def test_birthdays(text, options, expected):
    assert normalise.birthday(text, **options) == expected


def test_the_values_prove_the_order_of_day_and_month():
    assert normalise.date_order(["03/04/1990", "12/25/1980"]) == "mdy"
    assert normalise.date_order(["03/04/1990", "25/12/1980"]) == "dmy"


def test_identifiers_that_say_nothing():
    assert normalise.identifier("000000") is None
    assert normalise.identifier("null") is None
    assert normalise.identifier(" ab-12 ") == "AB12"
    assert normalise.identifier_or_digit("7") == "7"
