import json
import random
from collections import defaultdict

import duckdb
import pytest
from click.testing import CliRunner

from customer360.exceptions import ConfigError
from customer360.identity.commands import identity
from customer360.identity.explain import strongest_path

FIRST_NAMES = "anna bertil carla david erika felix greta henrik ines jonas klara ludwig"
LAST_NAMES = "lindqvist okafor moreau petrenko santos tanaka ulrich vargas weber xanthos"


def pairs_of(found: dict[str, str]) -> set[tuple[str, str]]:
    groups = defaultdict(list)
    for record, customer in sorted(found.items()):
        groups[customer].append(record)
    return {(a, b) for group in groups.values() for a in group for b in group if a < b}


def test_made_up_people_are_found_again(rows, resolved):
    truth = pairs_of({row["record_id"]: row["person_id"] for row in rows})
    found = pairs_of(resolved)
    scenes = {("one-1", "one-2"), ("one-1", "one-3"), ("one-2", "one-3")}
    truth |= scenes
    assert len(found & truth) / len(found) > 0.97
    assert len(found & truth) / len(truth) > 0.93


def test_one_name_in_four_writings_is_one_person(resolved):
    assert resolved["one-1"] == resolved["one-2"] == resolved["one-3"]


def test_a_family_on_one_phone_stays_three_people(resolved):
    assert len({resolved[f"fam-{number}"] for number in (1, 2, 3)}) == 3


def test_a_recycled_phone_does_not_join_its_owners(resolved):
    assert resolved["rec-1"] != resolved["rec-2"]


def test_a_dummy_phone_is_learnt_and_joins_nobody(resolved, folder):
    assert len({resolved[f"dum-{number}"] for number in range(7)}) == 7
    with duckdb.connect() as con:
        used = con.execute(
            f"SELECT count(*) FROM '{folder}/out.links.parquet' WHERE record_l LIKE 'dum-%' "
            "AND record_r LIKE 'dum-%' AND rule IS NOT NULL"
        ).fetchall()
    assert used == [(0,)]


def test_the_order_of_rows_and_columns_changes_nothing(tmp_path, rows, resolved, resolver):
    shuffled = [dict(random.Random(5).sample(list(row.items()), len(row))) for row in rows]
    random.Random(6).shuffle(shuffled)
    assert resolver(tmp_path, shuffled) == resolved


def test_people_overrule_the_model_both_ways(tmp_path, rows, resolver, resolved):
    assert resolved["one-1"] == resolved["one-2"]
    assert resolved["rec-1"] != resolved["rec-2"]
    decided = [("one-2", "one-1", "cannot_link"), ("rec-1", "rec-2", "must_link")]
    found = resolver(tmp_path, rows, constraints=decided)
    assert found["one-1"] != found["one-2"]
    assert found["rec-1"] == found["rec-2"]


def test_a_record_that_stands_there_a_thousand_times_is_one_person(tmp_path, resolver):
    said = {"given_name": "Jonas", "family_name": "Weber", "birthday": "1980-02-03", "city": "Bonn"}
    rows = [{"record_id": f"r{number}", **said} for number in range(1_800)]
    rows.append({"record_id": "other", **said, "given_name": "Klara", "birthday": "1991-07-08"})
    found = resolver(tmp_path, rows)
    assert len({found[f"r{number}"] for number in range(1_800)}) == 1
    assert found["other"] != found["r0"]


def test_a_table_of_nothing_but_addresses_links_the_same_ones(tmp_path, resolver):
    rows = [
        {"record_id": f"r{number}", "email": f"{number % 700}.{number % 7}@example.org"}
        for number in range(1_400)
    ]
    found = resolver(tmp_path, rows)
    assert all(found[f"r{number}"] == found[f"r{number + 700}"] for number in range(700))
    assert len(set(found.values())) == 700


@pytest.mark.parametrize(
    ("decided", "why"),
    [
        ([("one-1", "nobody", "must_link")], "line 2: one of its records is not in the table"),
        ([("one-1", "one-1", "must_link")], "line 2: a record is paired with itself"),
        ([("one-1", "one-2", "perhaps")], "line 2: kind is neither"),
        ([("one-1", "one-2", kind) for kind in ("must_link", "cannot_link")], "line 2: the pair"),
        (
            [
                ("one-1", "one-2", "must_link"),
                ("one-2", "rec-1", "must_link"),
                ("one-1", "rec-1", "cannot_link"),
            ],
            "line 4 keeps two records apart",
        ),
    ],
)
def test_decisions_that_cannot_be_obeyed_are_named(tmp_path, rows, resolver, decided, why):
    with pytest.raises(ConfigError, match=why):
        resolver(tmp_path, rows, constraints=decided)


def test_a_date_format_that_no_birthday_has_is_an_error(tmp_path, resolver):
    rows = [
        {"record_id": str(number), "full_name": "Ann Lee", "birthday": "in spring"}
        for number in range(3)
    ]
    mapping = """
        fields: {record_id: record_id, full_name: full_name, birthday: birthday}
        date_format: "%Y%m%d"
    """
    with pytest.raises(ConfigError, match="none of 3 birthdays"):
        resolver(tmp_path, rows, mapping)


def test_what_is_read_is_never_overwritten(tmp_path, rows):
    records, mapping = tmp_path / "people.csv", tmp_path / "people.yml"
    records.write_text("record_id,full_name\n1,Ann Lee\n", encoding="utf-8")
    mapping.write_text("fields: {record_id: record_id, full_name: full_name}", encoding="utf-8")
    for out in (records, mapping, tmp_path / "out.xlsx"):
        command = ["resolve", str(records), "--mapping", str(mapping), "--out", str(out)]
        assert isinstance(CliRunner().invoke(identity, command).exception, ConfigError), out
    assert records.read_text(encoding="utf-8").startswith("record_id,full_name")
    assert mapping.read_text(encoding="utf-8").startswith("fields")


def test_identifiers_alone_are_enough(tmp_path, resolver):
    rows = [
        {"record_id": "a", "unionid": "u1", "phone": ""},
        {"record_id": "b", "unionid": "u1", "phone": "13912345678"},
        {"record_id": "c", "unionid": "", "phone": "+8613912345678"},
        {"record_id": "d", "unionid": "u2", "phone": "13700000001"},
    ]
    found = resolver(tmp_path, rows)
    assert found["a"] == found["b"]
    assert found["d"] not in {found["a"], found["b"], found["c"]}


def test_latin_records_with_swapped_and_mistyped_fields(tmp_path, resolver):
    first = FIRST_NAMES.split()
    last = LAST_NAMES.split()
    rows = [
        {"record_id": f"p{one}{other}", "given_name": given, "family_name": family,
         "birthday": f"19{50 + 3 * one}-{other + 1:02d}-{(7 * one + other) % 28 + 1:02d}"}
        for one, given in enumerate(first) for other, family in enumerate(last)
    ]  # fmt: skip
    rows += [
        {**rows[17], "record_id": "swap", "given_name": rows[17]["family_name"],
         "family_name": rows[17]["given_name"]},
        {**rows[45], "record_id": "typo", "family_name": rows[45]["family_name"][:-1] + "s"},
        {**rows[88], "record_id": "copy"},
    ]  # fmt: skip
    found = resolver(tmp_path, rows)
    assert pairs_of(found) == {("p17", "swap"), ("p45", "typo"), ("copy", "p88")}


@pytest.mark.parametrize("count", [1, 2])
def test_tiny_tables_do_not_fail(tmp_path, resolver, count):
    rows = [{"record_id": str(number), "full_name": "王芳"} for number in range(count)]
    assert len(resolver(tmp_path, rows)) == count


def test_a_table_without_any_value_links_nobody(tmp_path, resolver):
    rows = [{"record_id": str(number), "full_name": "", "phone": "n/a"} for number in range(4)]
    assert len(set(resolver(tmp_path, rows).values())) == 4


def test_commands_resolve_evaluate_and_explain(tmp_path, folder, resolved, rows):
    truth = tmp_path / "truth.csv"
    truth.write_text(
        "record_id,person_id\n" + "".join(f"{r['record_id']},{r['person_id']}\n" for r in rows)
    )
    run = CliRunner().invoke
    evaluated = run(
        identity, ["evaluate", str(folder / "out.csv"), "--truth", str(truth), "--json"]
    )
    pairs = json.loads(evaluated.stdout)["pairwise"]
    assert pairs["f1_low"] <= pairs["f1"] <= pairs["f1_high"]
    told = run(identity, ["explain", "one-1", "one-3", "--in", str(folder / "out.csv")]).output
    assert "one customer" in told
    assert "sounds the same" in told
    refused = run(identity, ["explain", "rec-1", "rec-2", "--in", str(folder / "out.csv")]).output
    assert "two customers" in refused
    for name in ("欧阳", "贺明远", "139"):
        assert name not in told + refused


def test_of_chains_that_are_alike_the_explanation_takes_one():
    links = [
        {"record_l": one, "record_r": other, "weight": 20.0, "rule": rule}
        for one, other in (("a", "b"), ("b", "c")) for rule in ("phone", "email")
    ]  # fmt: skip
    path = strongest_path(links, "a", "c")
    assert [(link["record_l"], link["record_r"]) for link in path] == [("a", "b"), ("b", "c")]
