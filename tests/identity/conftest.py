"""A small made-up company's records, resolved once for all tests."""

import csv
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from customer360.identity.mapping import load_mapping
from customer360.identity.resolve import resolve, write


@pytest.fixture(scope="session")
def people_module() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "people.py"
    spec = importlib.util.spec_from_file_location("people", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resolve_rows(
    folder: Path, rows: list[dict], mapping: str | None = None, constraints: list | None = None
) -> dict[str, str]:
    """Resolve rows given as dictionaries; return record_id -> customer_id."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "in.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    text = mapping or "fields:\n" + "".join(
        f"  {name}: {name}\n" for name in columns if name != "person_id"
    )
    (folder / "in.yml").write_text(text, encoding="utf-8")
    decided = None
    if constraints:
        decided = folder / "decided.csv"
        decided.write_text(
            "record_a,record_b,kind\n" + "".join(f"{','.join(row)}\n" for row in constraints)
        )
    with duckdb.connect(config={"threads": 2}) as con:
        resolve(con, folder / "in.csv", load_mapping(folder / "in.yml"), constraints=decided)
        write(con, folder / "out.csv")
        return dict(con.execute("SELECT record_id, customer_id FROM customers").fetchall())


@pytest.fixture(scope="session")
def resolver() -> Callable[..., dict[str, str]]:
    return resolve_rows


@pytest.fixture(scope="session")
def crowd(people_module: ModuleType) -> list[dict]:
    """Some 350 records of made-up people, the ground on which the model is trained."""
    return people_module.make_people(350, seed=3).to_pylist()


def extra(number: str, **fields: str) -> dict:
    return {"record_id": number, "person_id": number, "source": "shop", **fields}


SCENES = [
    # a family: one phone, one address, three people
    extra("fam-1", full_name="周建国", birthday="1960-03-04", phone="13912345001", sex="男",
          address="杭州市文化路77号501室", city="杭州"),
    extra("fam-2", full_name="周雨桐", birthday="1992-07-15", phone="13912345001", sex="女",
          address="杭州市文化路77号501室", city="杭州"),
    extra("fam-3", full_name="孙淑兰", birthday="1962-11-23", phone="13912345001", sex="女",
          address="杭州市文化路77号501室", city="杭州"),
    # a recycled phone: another name and birthday years later
    extra("rec-1", full_name="贺明远", birthday="1975-01-30", phone="13912345002", sex="男"),
    extra("rec-2", full_name="白晓燕", birthday="1998-09-12", phone="13912345002", sex="女"),
    # one person: traditional characters, full width, a homophone, pinyin
    extra("one-1", full_name="欧阳志强", birthday="1983-05-06", phone="13912345003", sex="男"),
    extra("one-2", full_name="歐陽志強", birthday="1983/5/6", phone="+86 139-1234-5003"),
    extra("one-3", full_name="Ouyang Zhiqiang", birthday="1983-05-06",
          phone="１３９１２３４５００３"),
    # a dummy phone that seven people left at the till
    *(extra(f"dum-{number}", full_name=name, phone="18888888888", birthday=born)
      for number, (name, born) in enumerate(
          [("蒋文博", "1970-02-03"), ("薛嘉怡", "1981-12-01"), ("魏天佑", "1990-06-07"),
           ("阎春梅", "1966-08-18"), ("汤睿", "2001-04-25"), ("尹可心", "1999-10-10"),
           ("易凡", "1988-03-29")])),
]  # fmt: skip


@pytest.fixture(scope="session")
def rows(crowd: list[dict]) -> list[dict]:
    return [*crowd, *SCENES]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="session")
def resolved(folder: Path, rows: list[dict]) -> dict[str, str]:
    """record_id -> customer_id of ``rows``; the files are in ``folder``."""
    return resolve_rows(folder, rows)
