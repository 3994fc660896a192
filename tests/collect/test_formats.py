"""Formats: SQL macros give every value its one spelling, the same one as the matching engine."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import duckdb
import jinja2
import pytest

from customer360.identity import normalise
from customer360.settings import PROJECT


@pytest.fixture(scope="module")
def formatted() -> Callable[[str, str | None], Any]:
    """Render a macro of macros/formats.sql over a value, as DuckDB evaluates it."""
    source = (PROJECT / "dbt_project" / "macros" / "formats.sql").read_text(encoding="utf-8")
    environment = jinja2.Environment()
    environment.globals["return"] = lambda value: value
    environment.globals["adapter"] = SimpleNamespace(
        dispatch=lambda name: getattr(macros, f"default__{name}")
    )
    macros: Any = environment.from_string(source).module
    connection = duckdb.connect()

    def give(macro: str, value: str | None) -> Any:
        expression = getattr(macros, macro)("given")
        return connection.execute(
            f"select {expression} from (select ? as given)", [value]
        ).fetchall()[0][0]

    return give


PHONES = [
    ("13912345670", "+8613912345670"),
    ("１３９１２３４５６７０", "+8613912345670"),
    ("+86 139-1234-5670", "+8613912345670"),
    ("0086 139 1234 5670", "+8613912345670"),
    ("8613912345670", "+8613912345670"),
    ("0757-79760516", "+8675779760516"),
    ("(010) 8888 1234", "+861088881234"),
    ("+86 021 6464 7864", "+862164647864"),
    ("0571-8888123", "+865718888123"),
    ("0757-79760516转801", "+8675779760516"),
    ("400-820-1008", "+864008201008"),
    ("+1 415 555 2671", "+14155552671"),
    ("+852 2345 6789", "+85223456789"),
    ("12345", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("written", "meant"), PHONES)
def test_a_phone_number_has_one_spelling(formatted, written, meant):
    assert formatted("phone_e164", written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "13912345670",
        "１３９１２３４５６７０",
        "+86 139-1234-5670",
        "0086 139 1234 5670",
        "0757-79760516",
    ],
)
def test_phones_are_spelt_as_the_matching_engine_spells_them(formatted, written):
    assert formatted("phone_e164", written) == normalise.phone(written)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("+8613912345670", "mobile"),
        ("+8675779760516", "landline"),
        ("+864008201008", "service"),
        ("+14155552671", "foreign"),
        (None, None),
    ],
)
def test_a_number_has_a_kind(formatted, number, kind):
    assert formatted("phone_kind", number) == kind


@pytest.mark.parametrize("written", ["13800138000", "18888888888", "13000000000", "13912345678"])
def test_a_number_typed_to_get_past_a_form_is_no_number(formatted, written):
    assert formatted("phone_e164", written) is not None
    assert formatted("real_phone", written) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" Li.Ming@163.COM ", "li.ming@163.com"),
        ("ｙａｎ＠qq.com", "yan@qq.com"),
        ("mailto:a@b.cn", "a@b.cn"),
        ("no", None),
        ("li@ming", None),
    ],
)
def test_an_e_mail_address_has_one_spelling(formatted, written, meant):
    assert formatted("email_address", written) == meant


def test_an_e_mail_address_that_stands_for_none_is_none(formatted):
    assert [formatted("real_email", text) for text in ("test@test.com", "noreply@163.com")] == [
        None,
        None,
    ]
    assert formatted("real_email", "jing@163.com") == "jing@163.com"


@pytest.mark.parametrize(
    ("written", "family", "given"),
    [
        ("孙 子豪", "孙", "子豪"),
        ("欧阳琳", "欧阳", "琳"),
        ("王先生", "王", None),
        ("刘欣雯女士", "刘", "欣雯"),
        ("司马相如", "司马", "相如"),
        ("爱新觉罗溥仪", "爱新觉罗", "溥仪"),
    ],
)
def test_a_chinese_name_is_parted_as_the_matching_engine_parts_it(
    formatted, written, family, given
):
    name = formatted("person_name", written)
    assert (formatted("family_name", name), formatted("given_name", name)) == (family, given)
    assert normalise.split_name(written) == (given, family)


def test_a_latin_name_keeps_its_words(formatted):
    assert formatted("person_name", " ＬＩ  Ming ") == "LI  Ming"
    assert formatted("family_name", "LI Ming") is None


@pytest.mark.parametrize("surname", sorted(normalise.COMPOUND_SURNAMES))
def test_every_compound_family_name_is_known(formatted, surname):
    assert formatted("family_name", f"{surname}明") == surname


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2025-02-14", "2025-02-14"),
        ("2025.2.4", "2025-02-04"),
        ("2025/11/04 ", "2025-11-04"),
        ("20251104", "2025-11-04"),
        ("2026年2月21日", "2026-02-21"),
        ("２０２６年２月２１日", "2026-02-21"),
        ("2025-02-30", None),
        ("2月14日", None),
    ],
)
def test_a_day_is_read_as_people_type_it(formatted, written, day):
    found = formatted("typed_day", written)
    assert (str(found) if found else None) == day
