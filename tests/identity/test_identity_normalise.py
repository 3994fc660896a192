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


@pytest.mark.parametrize(
    ("written", "road", "estate"),
    [
        ("建设北路142号碧桂园24号楼2单元1902室", "建设北路|24|1902", "碧桂园|24|1902"),
        ("碧桂园24栋2单元1902（建设北路）", "建设北路|24|1902", "碧桂园|24|1902"),
        ("济南市槐荫区新华小区13-1-702", None, "新华小区|13|702"),
        ("珞喻路４６号锦绣江南１６号楼２单元１３０１室", "珞喻路|16|1301", "锦绣江南|16|1301"),
        ("陕西西安 和平路228号 锦绣江南23幢1202", "和平路|23|1202", "锦绣江南|23|1202"),
        ("人民大街291号广场", None, None),
        ("12 High Street", None, None),
    ],
)
def test_a_flat_has_one_key_in_every_writing(written, road, estate):
    assert normalise.home(written) == (road, estate)


def test_lunar_birthdays_become_solar_ones_of_the_same_year():
    assert normalise.lunar_text("1960年农历九月廿二") == "1960-09-22"
    assert normalise.lunar_text("1973年农历腊月三十") == "1973-12-30"
    assert normalise.lunar_text("1960-09-22") is None
    assert normalise.from_lunar("1960-09-22") == "1960-11-10"
    assert normalise.from_lunar("1970-12-20").startswith("1970-01")
    assert normalise.from_lunar("1970-13-02") is None


def test_what_a_name_is_not():
    assert normalise.split_name("志强") == ("志强", None)
    assert normalise.split_name("王强") == ("强", "王")
    assert normalise.english_beside_pinyin("Daniel Yang")
    assert not normalise.english_beside_pinyin("Yang Dan")
    assert not normalise.english_beside_pinyin("Ahmed Hassan")
    assert normalise.title_sex("苗女士") == "f"
    assert normalise.title_sex("苗强") is None
    assert normalise.english_beside_pinyin("Lisa Yang")
    assert not normalise.english_beside_pinyin("Yang Lisa")


@pytest.mark.parametrize(
    ("address", "family", "name"),
    [
        ("haibinwang_630777@example.cn", None, ("haibin", "wang")),
        ("weiyongxu_630777@example.cn", "xu", ("weiyong", "xu")),
        ("xuweiyong@example.cn", None, ("weiyong", "xu")),
        ("haibinwang161631@example.cn", "wang", ("haibin", "wang")),
        ("limeishi8333@example.cn", None, None),  # Li Meishi or Shi Limei
        ("limeishi8333@example.cn", "shi", ("limei", "shi")),
        ("weiyongxu_630777@example.cn", "wang", None),
        ("service@example.cn", None, None),
        ("wangluobumen@example.cn", None, None),
        ("124949224@qq.com", None, None),
        ("li.wei@example.cn", None, None),
        (None, None, None),
    ],
)
def test_a_chinese_address_names_its_owner_or_nobody(address, family, name):
    assert normalise.name_in_email(address, family) == name
