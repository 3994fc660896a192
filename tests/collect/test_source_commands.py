"""``customer360 source``: what a user sees of the sources, and adds without Python."""

import datetime as dt
import importlib.util
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result

from customer360 import pipeline, transform
from customer360.cli import cli
from customer360.demo.systems import postgres
from customer360.demo.systems.layout import Layout
from customer360.exceptions import ConfigError, SourceError
from customer360.personal import guess_class, mask
from customer360.settings import PROJECT, load_settings
from customer360.sources.inspection import guess_type, identifier

HAS_DATABASES = importlib.util.find_spec("customer360.sources.databases") is not None
needs_databases = pytest.mark.skipif(not HAS_DATABASES, reason="no connector for databases")
README = (PROJECT / "README.md").read_text(encoding="utf-8")

ORDERS = """order_no;member_no;buyer_name;mobile;paid_at;total;note
0001;M100001;张伟;13812345678;2017-10-20 10:00:00;12.50;请快点
0002;M100002;王小芳;13912345678;2017-10-21 11:30:00;7;
0003;M100001;张伟;13812345678;2017-10-28 09:15:00;199.99;"送; 货"
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=True)


def answer(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


@pytest.fixture
def project(company: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny company with a dbt project of its own, whose sources.yml people have commented."""
    shutil.copytree(
        transform.DBT_PROJECT,
        tmp_path / "dbt_project",
        ignore=shutil.ignore_patterns("target", "logs", transform.GENERATED),
    )
    monkeypatch.setattr(transform, "DBT_PROJECT", tmp_path / "dbt_project")
    sources = tmp_path / "config" / "sources.yml"
    text = sources.read_text(encoding="utf-8")
    sources.write_text(
        f"# ours\n{text}  # the last word of tiny\nother:  # another company\n"
        + text.partition("\n")[2].replace("till:", "till2:"),
        encoding="utf-8",
    )
    return tmp_path


@pytest.fixture
def drops(tmp_path: Path) -> Path:
    folder = tmp_path / "drops" / "outlet"
    folder.mkdir(parents=True)
    (folder / "orders.csv").write_text(ORDERS, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.EmbeddedServer]:
    """A PostgreSQL server of its own; not below pytest's folders, which it could not enter."""
    with tempfile.TemporaryDirectory(prefix="c360-") as folder:
        layout = Layout(Path(folder) / "systems")
        layout.root.mkdir()
        made = postgres.EmbeddedServer(layout)
        made.start()
        postgres.create_reader(made)
        with made.connect("postgres") as connection:
            connection.execute("create database helpdesk")
        with made.connect("helpdesk") as connection:
            connection.execute(TICKETS)
        yield made
        made.remove()


TICKETS = """
    create table tickets (
        "Ticket No" bigint primary key, customer_name text, caller text, kind varchar(20) not null,
        "order" integer, cost numeric(10, 2), opened_at timestamptz,
        updated_at timestamp not null, body text
    );
    insert into tickets select i, '李雷', '1381234' || 5000 + i, 'repair', i, i / 2.0,
        '2017-10-01 08:00+00', timestamp '2017-10-01' + i * interval '1 hour', '漏水'
        from generate_series(1, 40) as i;
    comment on column tickets.kind is 'What it is about';
    create schema back;
    create table back."Visits" (
        ticket bigint, line integer, engineer text, primary key (ticket, line));
    grant usage on schema back to customer360_reader;
    grant select on tickets, back."Visits" to customer360_reader;
    create table hidden (id integer)
"""


@pytest.fixture
def helpdesk(server: postgres.EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that the README names."""
    monkeypatch.setenv("AIRFLOW_CONN_TICKETS", server.reader_url("helpdesk"))


def section(name: str) -> str:
    return README.partition(f"## {name}\n")[2].partition("\n## ")[0]


def commands(source: str) -> list[list[str]]:
    """The README's commands for a source, word for word."""
    lines = re.findall(r"^customer360 (source .*)$", section("Add a source"), re.MULTILINE)
    return [shlex.split(line) for line in lines if f" {source}" in line]


def succeed(command: list[str], drops: Path | None = None) -> str:
    """Run one of the README's commands; its output."""
    words = [word.replace("/srv/drops/outlet", str(drops)) for word in command]
    done = run(*words)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_a_csv_source_is_added_by_the_readme(project: Path, drops: Path) -> None:
    before = (project / "config" / "sources.yml").read_text(encoding="utf-8")
    added, checked = [succeed(command, drops) for command in commands("outlet")]
    assert "mobile (contact)" in added
    assert "key: order_no (a guess)" in added
    for masked in ("张**", "138****5678", "2017-10-28 09:15:00"):
        assert masked in checked
    assert not re.search(r"张伟|13812345678|送; 货|M100001", added + checked)

    after = (project / "config" / "sources.yml").read_text(encoding="utf-8")
    start = before.index("  # the last word of tiny")
    # Nothing that was there has changed: the entry stands before the comment that ends the section.
    assert after.startswith(before[:start])
    assert after.endswith(before[start:])
    assert yaml.safe_load(after)["other"] == yaml.safe_load(before)["other"]
    declared = yaml.safe_load(after)["tiny"]["sources"]["outlet"]
    assert declared["owner"] == "outlet-team"
    orders = declared["tables"]["orders"]
    assert orders["delimiter"] == ";"
    assert {name: column["type"] for name, column in orders["columns"].items()} == {
        "order_no": "text", "member_no": "text", "buyer_name": "text", "mobile": "text",
        "paid_at": "timestamp", "total": "decimal(18,2)", "note": "text",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="has a source 'outlet' already"):
        raise_(
            run(*[word.replace("/srv/drops/outlet", str(drops)) for word in commands("outlet")[0]])
        )


@needs_databases
def test_a_postgresql_source_is_added_by_the_readme(project: Path, helpdesk: None) -> None:
    dry, added = [succeed(command) for command in commands("helpdesk")[:2]]
    assert not re.search("李雷|1381234|漏水", dry + added)
    assert "helpdesk_tickets" in added
    text = (project / "config" / "sources.yml").read_text(encoding="utf-8")
    for line in dry.partition("\n# ")[0].splitlines()[1:]:
        assert f"    {line}".rstrip() in text
    tickets = yaml.safe_load(text)["tiny"]["sources"]["helpdesk"]["tables"]["tickets"]
    assert tickets["key"] == ["Ticket No"]
    assert tickets["cursor"] == {"column": "updated_at", "look_back_days": 2}
    assert tickets["deletes"] == {"every_days": 7}
    columns = tickets["columns"]
    assert {name: column["type"] for name, column in columns.items()} == {
        "Ticket No": "bigint", "customer_name": "text", "caller": "text", "kind": "text",
        "order": "integer", "cost": "decimal(10,2)", "opened_at": "timestamp",
        "updated_at": "timestamp", "body": "text",
    }  # fmt: skip
    assert columns["kind"]["description"] == "What it is about"
    # By what the values are: the column is not called like one.
    assert columns["caller"]["personal"] == "contact"
    assert columns["customer_name"]["personal"] == "name"
    model = (
        project / "dbt_project" / "models" / "staging" / "helpdesk" / "stg_helpdesk__tickets.sql"
    )
    assert '"Ticket No" as ticket_no' in model.read_text(encoding="utf-8")
    assert '"order"' in model.read_text(encoding="utf-8")


@needs_databases
def test_every_table_that_the_user_may_read_is_found(project: Path, helpdesk: None) -> None:
    found = answer("source", "add", "desk", "--format", "postgres", "--connection", "tickets")
    assert set(found["tables"]) == {"tickets", "visits"}
    assert found["tables"]["visits"]["key"] == ["ticket", "line"]
    text = (project / "config" / "sources.yml").read_text(encoding="utf-8")
    declared = yaml.safe_load(text)["tiny"]["sources"]["desk"]["tables"]["visits"]
    assert declared["relation"] == "back.Visits"
    assert "cursor" not in declared


def test_sources_added_by_the_readme_come_out_of_the_snapshot(
    project: Path, drops: Path, helpdesk: None, chain: Any
) -> None:
    for command in commands("outlet"):
        succeed(command, drops)
    if HAS_DATABASES:
        for command in commands("helpdesk"):
            assert "1381234" not in succeed(command)
    status = chain()
    assert status["sources"]["outlet"]["loaded"] == 3
    path = load_settings().snapshots_dir / "current.duckdb"
    with duckdb.connect(str(path), read_only=True) as snapshot:
        rows = snapshot.execute("select * from outlet_orders order by order_no").fetchall()
        assert [name[0] for name in snapshot.description or []] == [
            "order_no", "member_no", "paid_at", "total",
        ]  # fmt: skip
        # 2017-10-20 10:00 in New York.
        assert rows[0][:3] == ("0001", "M100001", dt.datetime(2017, 10, 20, 14))
        listed = snapshot.execute("select name from snapshot_tables").fetchall()
        assert ("outlet_orders",) in listed
        if HAS_DATABASES:
            tickets = snapshot.execute("from helpdesk_tickets order by ticket_no").fetchall()
            assert len(tickets) == 40
            assert ("helpdesk_tickets",) in listed
    listed = answer("source", "list")
    outlet = listed["sources"]["outlet"]
    assert outlet["status"] == "fresh"
    assert outlet["tables"]["orders"]["rows"] == 3
    till = listed["sources"]["till"]["tables"]["transactions"]
    assert till["cursor"] == "transaction_timestamp"
    assert till["newest"].startswith("2017-10-")


def raise_(done: Result) -> None:
    """The error that a command ended with."""
    assert done.exit_code == 1
    assert done.exception
    raise done.exception


def test_source_list_knows_fresh_stale_and_never(company: Any) -> None:
    described = answer("source", "list")
    assert described["as_of"] is None
    assert {source["status"] for source in described["sources"].values()} == {"never"}
    settings = load_settings()
    late, last = dt.date(2017, 10, 20), dt.date(2017, 10, 29)
    pipeline.extract(settings, "till", late)
    for source in ("customer_file", "campaign_tool", "coupon_system"):
        pipeline.extract(settings, source, last)
    pipeline.begin(settings, last, "run")
    pipeline.load_raw(settings, last, "run")
    described = answer("source", "list")
    assert described["as_of"] == "2017-10-29"
    till = described["sources"]["till"]
    assert till["status"] == "stale"
    assert till["tables"]["transactions"]["as_of"] == "2017-10-20"
    assert till["tables"]["products"]["status"] == "stale"
    assert described["sources"]["customer_file"]["status"] == "fresh"
    shown = run("source", "list").output
    assert re.search(
        r"transactions +stale +by transaction_timestamp +[\d,]+ rows on 2017-10-20", shown
    )
    # What was read again and has not changed lands no new batch, and is fresh all the same.
    pipeline.extract(settings, "till", last)
    products = answer("source", "list")["sources"]["till"]["tables"]["products"]
    assert products["as_of"] == "2017-10-20"
    assert products["status"] == "fresh"


def test_check_says_drift_in_words_and_ends_with_one(company: Any) -> None:
    table = company.read("demographics")
    company.put("demographics", table.append_column("shoe_size", pa.array(["42"] * len(table))))
    found = answer("source", "check", "customer_file")
    assert found["ok"] is True
    demographics = found["tables"]["demographics"]
    assert demographics["notes"] == ["column shoe_size is new"]
    assert len(demographics["rows"]) == 10
    # An undeclared column may be anything; a declared one is masked by its class.
    assert demographics["rows"][0][-1] == "***"
    assert demographics["rows"][0][demographics["columns"].index("age")] == "***"
    company.put("demographics", table.rename_columns(["household", *table.column_names[1:]]))
    with pytest.raises(SourceError, match="household_id is now called household"):
        raise_(run("source", "check", "customer_file", "--table", "demographics"))
    (company.files / "demographics.parquet").unlink()
    with pytest.raises(SourceError, match=r"customer_file\.demographics: no file at"):
        raise_(run("source", "check", "customer_file"))
    for words in (["customer_files"], ["customer_file", "--table", "people"]):
        with pytest.raises(ConfigError, match=r"has no (source|table)"):
            raise_(run("source", "check", *words))


def test_files_by_day_are_one_table_and_gbk_is_noticed(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "till"
    folder.mkdir()
    for day in (28, 29):
        text = f"单号|商品名|金额\nA{day}|空调|12.5\nB{day}|冰箱|99\n"
        (folder / f"receipts-2017-10-{day}.csv").write_bytes(text.encode("gb18030"))
    (folder / "shops.csv").write_text("id,city\n1,Berlin\n", encoding="utf-8")
    (folder / "Shops.csv").write_text("id,city\n2,Bonn\n", encoding="utf-8")
    (folder / ".hidden.csv").write_text("x\n1\n", encoding="utf-8")
    found = answer("source", "add", "kasse", "--format", "csv", "--path", str(folder))
    assert set(found["tables"]) == {"receipts", "shops", "shops_2"}
    text = (project / "config" / "sources.yml").read_text(encoding="utf-8")
    receipts = yaml.safe_load(text)["tiny"]["sources"]["kasse"]["tables"]["receipts"]
    assert receipts["file"] == "receipts-*.csv"
    assert receipts["each_file"] == "once"
    assert receipts["day_in_name"] == "%Y-%m-%d"
    assert receipts["encoding"] == "gb18030"
    assert receipts["delimiter"] == "|"
    assert receipts["key"] == ["单号"]
    assert "空调" in run("source", "check", "kasse").output


@pytest.mark.parametrize("form", ["parquet", "json_lines", "excel"])
def test_other_kinds_of_files_are_looked_at_too(project: Path, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "visits"
    folder.mkdir()
    rows = [{"visit_no": number, "phone": f"1381234{5000 + number}"} for number in range(3)]
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "visits.parquet")
    elif form == "json_lines":
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / "visits.jsonl").write_text(text, encoding="utf-8")
    else:
        book = openpyxl.Workbook()
        assert book.active
        for line in (["visit_no", "phone"], *(list(row.values()) for row in rows)):
            book.active.append(line)
        book.save(folder / "visits.xlsx")
    answer("source", "add", "partner", "--format", form, "--path", str(folder))
    text = (project / "config" / "sources.yml").read_text(encoding="utf-8")
    visits = yaml.safe_load(text)["tiny"]["sources"]["partner"]["tables"]["visits"]
    assert visits["columns"]["visit_no"] == {"type": "bigint", "required": True}
    assert visits["columns"]["phone"] == {"type": "text", "personal": "contact"}
    shown = run("source", "check", "partner")
    assert shown.exit_code == 0, (shown.output, shown.exception)
    assert "138****5001" in shown.output


def test_a_table_called_like_an_entity_does_not_feed_it(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "products.csv").write_text("sku,price\nA,1.5\n", encoding="utf-8")
    found = answer("source", "add", "shop", "--format", "csv", "--path", str(folder))
    assert any(file.endswith("stg_shop__products_rows.sql") for file in found["files"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Web", "--format", "csv", "--path", "x"], "lower case"),
        (["outlet", "--format", "csv"], "needs --path"),
        (["outlet", "--format", "postgres"], "needs --connection"),
        (["till", "--format", "csv", "--path", "x"], "has a source 'till' already"),
        (["outlet", "--format", "csv", "--path", "/nowhere"], "there is no folder"),
        (
            ["outlet", "--format", "rest", "--connection", "c", "--table", "x"],
            "connection 'c' is not known",
        ),
    ],
)
def test_what_cannot_be_added_is_said_and_nothing_is_written(
    project: Path, words: list[str], message: str
) -> None:
    before = (project / "config" / "sources.yml").read_bytes()
    done = run("source", "add", *words)
    assert done.exit_code != 0
    assert message in f"{done.output}{done.exception}"
    assert "Traceback" not in done.output
    assert (project / "config" / "sources.yml").read_bytes() == before


def test_a_file_that_is_there_is_never_overwritten(project: Path, drops: Path) -> None:
    staging = project / "dbt_project" / "models" / "staging"
    model = staging / "outlet" / "stg_outlet__orders_rows.sql"
    model.parent.mkdir()
    model.write_text("select 1 as mine", encoding="utf-8")
    before = (project / "config" / "sources.yml").read_bytes()
    with pytest.raises(ConfigError, match=r"stg_outlet__orders_rows\.sql is there already"):
        raise_(run("source", "add", "outlet", "--format", "csv", "--path", str(drops)))
    assert model.read_text(encoding="utf-8") == "select 1 as mine"
    assert (project / "config" / "sources.yml").read_bytes() == before


@pytest.mark.parametrize(
    ("value", "found", "shown"),
    [
        ("张小明", "name", "张**"),
        ("13812345678", "contact", "138****5678"),
        ("zhang.wei@example.com", "contact", "z***@example.com"),
        ("12345", "contact", "***"),
        ("上海市浦东新区世纪大道1号", "address", "上海***"),
        ("1985-03-02", "birthday", "1985-**-**"),
        ("M100023", "identifier", "***23"),
        ("female", "profile", "***"),
        ("空调不冷,请联系张伟", "free_text", "***"),
        (None, "name", ""),
        ("paid", "none", "paid"),
    ],
)
def test_values_are_masked_by_class(value: str | None, found: Any, shown: str) -> None:
    assert mask(value, found) == shown


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("x1", ["13812345678", None, "13912345678"], "contact"),
        ("x2", ["a@b.cn", "c@d.com"], "contact"),
        ("x3", ["11010519491231002X"], "sensitive"),
        ("手机号", [], "contact"),
        ("收货人", [], "name"),
        ("customer_name", ["Ann Lee"], "name"),
        ("product_name", ["空调"], "none"),
        ("birth_date", [], "birthday"),
        ("member_no", ["M1"], "identifier"),
        ("delivery_address", [], "address"),
        ("gender", ["f"], "profile"),
        ("remark", ["ok"], "free_text"),
        ("amount", ["12.50"], "none"),
        ("order_no", ["20260630001"], "none"),
        ("status", ["paid"], "none"),
    ],
)
def test_personal_classes_are_guessed_by_name_and_content(
    name: str, values: list[str | None], found: str
) -> None:
    assert guess_class(name, values) == found


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["1", "-20"], "bigint"),
        (["007", "8"], "text"),
        (["1.5", "2", "3.125"], "decimal(18,3)"),
        (["1e6", "2"], "double"),
        (["true", "False"], "boolean"),
        (["2026-06-30", "2026/07/01"], "date"),
        (["2026-06-30 10:00", "2026-06-30T10:00:00.5+08:00"], "timestamp"),
        (['{"a": 1}'], "json"),
        (["1", "x"], "text"),
        ([], "text"),
        (["9" * 25], "text"),
    ],
)
def test_types_are_guessed_from_all_values(values: list[str], found: str) -> None:
    assert guess_type(values) == found


def test_names_become_identifiers() -> None:
    assert [identifier(text) for text in ("OrderLines", "2024 sales", "Ticket No", "客户")] == [
        "order_lines", "table_2024_sales", "ticket_no", "table",
    ]  # fmt: skip
