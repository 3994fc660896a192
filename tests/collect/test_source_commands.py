"""``customer360 source``: what a user sees of the sources, and adds without Python."""

import datetime as dt
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from click.testing import CliRunner, Result

from customer360 import transform
from customer360.cli import cli
from customer360.settings import PROJECT, load_settings

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
    folder = tmp_path / "drops" / "web"
    folder.mkdir(parents=True)
    (folder / "orders.csv").write_text(ORDERS, encoding="utf-8")
    return folder


def section(name: str) -> str:
    return README.partition(f"## {name}\n")[2].partition("\n## ")[0]


def commands(source: str) -> list[list[str]]:
    """The README's commands for a source, word for word."""
    lines = re.findall(r"^customer360 (source .*)$", section("Add a source"), re.MULTILINE)
    return [shlex.split(line) for line in lines if f" {source}" in line]


def test_a_csv_source_is_added_by_the_readme_and_comes_out_of_the_snapshot(
    project: Path, drops: Path, chain: Any
) -> None:
    before = (project / "config" / "sources.yml").read_text(encoding="utf-8")
    said = []
    for command in commands("web"):
        words = [word.replace("/srv/drops", str(drops.parent)) for word in command]
        done = run(*words)
        assert done.exit_code == 0, (done.output, done.exception)
        said.append(done.output)
    assert "mobile (contact)" in said[0]
    assert "key: order_no (a guess)" in said[0]
    for masked in ("张**", "138****5678", "2017-10-28 09:15:00"):
        assert masked in said[1]
    assert not re.search(r"张伟|13812345678|送; 货|M100001", said[1])

    after = (project / "config" / "sources.yml").read_text(encoding="utf-8")
    added_at = len(os.path.commonprefix([before, after]))
    assert after.endswith(before[added_at:])  # nothing that was there has changed
    assert "the last word of tiny" in before[added_at:]
    assert yaml.safe_load(after)["other"] == yaml.safe_load(before)["other"]
    declared = yaml.safe_load(after)["tiny"]["sources"]["web"]
    orders = declared["tables"]["orders"]
    assert declared["owner"] == "web-team"
    assert orders["delimiter"] == ";"
    assert {name: column["type"] for name, column in orders["columns"].items()} == {
        "order_no": "text", "member_no": "text", "buyer_name": "text", "mobile": "text",
        "paid_at": "timestamp", "total": "decimal(18,2)", "note": "text",
    }  # fmt: skip

    status = chain()
    assert status["sources"]["web"]["loaded"] == 3
    with duckdb.connect(
        str(load_settings().snapshots_dir / "current.duckdb"), read_only=True
    ) as it:
        rows = it.execute("select * from web_orders order by order_no").fetchall()
        assert [name[0] for name in it.description or []] == [
            "order_no", "member_no", "paid_at", "total",
        ]  # fmt: skip
        # 2017-10-20 10:00 in New York.
        assert rows[0][:3] == ("0001", "M100001", dt.datetime(2017, 10, 20, 14))
        assert ("web_orders",) in it.execute("select table_name from snapshot_tables").fetchall()

    listed = answer("source", "list")
    web = listed["sources"]["web"]
    assert web["status"] == "fresh"
    assert web["tables"]["orders"]["rows"] == 3
    assert listed["sources"]["till"]["tables"]["transactions"]["cursor"] == "transaction_timestamp"
