"""Peers of identity resolution: goldenmatch's automatic mode and recordlinkage's ECM.

What belongs here: each peer used as its own documentation shows, on the mapped fields, without
labels. Runs in an environment of its own (requirements-bench.txt) and knows nothing of
customer360.

    .venv-bench/bin/python tests/benchmarks/identity_peers.py ecm IN --mapping M.yml --out OUT.csv
"""

import argparse
import itertools
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

NAMES = ("given_name", "family_name", "full_name")


def load(path: Path, mapping: dict) -> pd.DataFrame:
    """Mapped columns as text, indexed by record id."""
    reader = pd.read_parquet if path.suffix == ".parquet" else pd.read_csv
    options = {} if path.suffix == ".parquet" else {"dtype": str, "skipinitialspace": True}
    table = reader(path, **options)
    table.columns = [column.strip() for column in table.columns]
    fields = {column: field for field, column in mapping["fields"].items() if field != "source"}
    table = table[list(fields)].rename(columns=fields)
    table = table.apply(lambda column: column.astype("string").str.strip().str.lower())
    return table.set_index("record_id").astype(object).where(table.set_index("record_id").notna())


def components(records: list[str], pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Connected components: record -> smallest record."""
    parent = {record: record for record in records}

    def root(record: str) -> str:
        while parent[record] != record:
            parent[record] = parent[parent[record]]
            record = parent[record]
        return record

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return {record: root(record) for record in records}


def ecm(table: pd.DataFrame) -> dict[str, str]:
    """recordlinkage: blocks on each name, birthday and postcode; ECM; connected components."""
    import recordlinkage

    index = recordlinkage.Index()
    blocks = ("given_name", "family_name", "full_name", "birthday", "postcode", "phone", "email")
    for field in blocks:
        if field in table:
            index.block(field)
    candidates = index.index(table)
    compare = recordlinkage.Compare()
    for field in table.columns:
        if field in NAMES or field in {"street", "address", "city"}:
            compare.string(field, field, method="jarowinkler", threshold=0.85, label=field)
        else:
            compare.exact(field, field, label=field)
    links = recordlinkage.ECMClassifier().fit_predict(compare.compute(candidates, table))
    return components(list(table.index), list(links))


def goldenmatch(table: pd.DataFrame) -> dict[str, str]:
    """goldenmatch: zero configuration."""
    import goldenmatch as package

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.csv"
        table.reset_index(drop=True).to_csv(path, index=False)
        result = package.dedupe(str(path))
    records = list(table.index)
    pairs = []
    for cluster in result.clusters.values():
        members = cluster["members"] if isinstance(cluster, dict) else cluster.members
        pairs += [(records[one], records[other]) for one, other in itertools.pairwise(members)]
    return components(records, pairs)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=["ecm", "goldenmatch"])
    parser.add_argument("records", type=Path)
    parser.add_argument("--mapping", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    started = time.perf_counter()
    table = load(options.records, yaml.safe_load(options.mapping.read_text(encoding="utf-8")))
    found = (ecm if options.peer == "ecm" else goldenmatch)(table)
    rows = pd.DataFrame({"record_id": list(found), "customer_id": list(found.values())})
    rows.to_csv(options.out, index=False)
    told = {
        "seconds": round(time.perf_counter() - started, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    sys.stdout.write("\n" + json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
