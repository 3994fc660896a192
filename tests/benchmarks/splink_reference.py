"""The frozen reference that identity resolution is measured against: plain Splink, used well.

What belongs here: sensible Splink comparisons for whatever standard fields a table has, EM
without labels, connected components at .95. What does not: anything of customer360 (no shared
code, so that a change there cannot move the reference), and any tuning to a data set. It was
written before customer360's own resolution and is not changed to make that look better.

Run it:
    python tests/benchmarks/splink_reference.py IN --mapping M.yml --out OUT.csv
"""

import argparse
import json
import logging
import resource
import sys
import time
from pathlib import Path

import duckdb
import splink.comparison_library as cl
import yaml
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

THRESHOLD = 0.95
SMALL = 50_000
"""Up to this many records single fields block; above, pairs of fields."""

IDENTIFIERS = ("national_id", "member_no", "unionid", "openid", "phone", "email")


def load(con: duckdb.DuckDBPyConnection, path: Path, mapping: dict) -> list[str]:
    """Make table ``records`` with trimmed, lower-case standard fields; return those it has."""
    text = str(path).replace("'", "''")
    reader = (
        f"read_parquet('{text}')"
        if path.suffix == ".parquet"
        else f"read_csv('{text}', all_varchar=true, header=true)"
    )
    columns = {
        name.strip(): name
        for name, *_ in con.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()
    }
    wanted = dict(mapping["fields"])

    def clean(field: str) -> str:
        return f"""nullif(trim(lower("{columns[wanted[field]]}"::VARCHAR)), '')"""

    select = [f'trim("{columns[wanted["record_id"]]}"::VARCHAR) AS unique_id']
    fields = []
    for field in wanted:
        if field in {"record_id", "source", "birth_year", "birth_month", "birth_day", "birthday"}:
            continue
        select.append(f"{clean(field)} AS {field}")
        fields.append(field)
    if "birthday" in wanted:
        shape = mapping.get("date_format", "%Y-%m-%d")
        select.append(
            f"strftime(try_strptime({clean('birthday')}, '{shape}'), '%Y-%m-%d') AS birthday"
        )
        fields.append("birthday")
    elif "birth_year" in wanted:
        parts = [
            f"lpad({clean(part)}, {width}, '0')"
            for part, width in (("birth_year", 4), ("birth_month", 2), ("birth_day", 2))
            if part in wanted
        ]
        select.append(f"{' || $$-$$ || '.join(parts)} AS birthday")
        fields.append("birthday")
    con.execute(f"CREATE TABLE records AS SELECT {', '.join(select)} FROM {reader}")
    return fields


def comparison(field: str):
    """A comparison as Splink's own documentation would take for the field."""
    if field in {"given_name", "family_name", "full_name"}:
        return cl.NameComparison(field).configure(term_frequency_adjustments=True)
    if field == "birthday":
        return cl.DateOfBirthComparison(field, input_is_string=True)
    if field == "email":
        return cl.EmailComparison(field)
    if field in {"phone", "national_id", "postcode", "street_number"}:
        return cl.DamerauLevenshteinAtThresholds(field, [1, 2])
    if field in {"city", "region", "occupation"}:
        return cl.JaroWinklerAtThresholds(field, [0.9]).configure(term_frequency_adjustments=True)
    if field in {"address", "street"}:
        return cl.JaroWinklerAtThresholds(field, [0.95, 0.88])
    return cl.ExactMatch(field)


def blocking(fields: list[str], rows: int) -> list:
    """Blocking rules over the fields that are there."""
    candidates = [(field,) for field in IDENTIFIERS]
    names = ["full_name"] if "full_name" in fields else ["given_name", "family_name"]
    if rows <= SMALL:
        candidates += [(name,) for name in names]
        candidates += [("birthday",), ("address",), ("street",), ("postcode", "region")]
    else:
        candidates += [tuple(names)]
        for name in names:
            candidates += [(name, "birthday"), (name, "postcode"), (name, "street")]
            candidates += [(name, "address"), (name, "city", "region")]
        candidates += [("birthday", "postcode"), ("birthday", "city"), ("birthday", "address")]
    kept = [rule for rule in candidates if set(rule) <= set(fields)]
    return [block_on(*rule) for rule in kept or [(field,) for field in fields]]


def training_rules(fields: list[str]) -> list:
    """Two or three rules such that every comparison is trained by at least one."""
    names = ["full_name"] if "full_name" in fields else ["given_name", "family_name"]
    rules = [tuple(name for name in names if name in fields)]
    rules += [("birthday",), ("phone",), ("email",), ("national_id",), ("postcode", "street")]
    kept = [rule for rule in rules if rule and set(rule) <= set(fields)]
    return [block_on(*rule) for rule in kept[:3]]


def resolve(path: Path, mapping: dict, out: Path, threads: int = 2) -> dict:
    """Resolve the table at ``path``; write ``record_id, customer_id`` to ``out``."""
    started = time.perf_counter()
    logging.getLogger("splink").setLevel(logging.ERROR)
    con = duckdb.connect(config={"threads": threads})
    fields = load(con, path, mapping)
    rows = con.execute("SELECT count(*) FROM records").fetchone()[0]
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[comparison(field) for field in fields],
        blocking_rules_to_generate_predictions=blocking(fields, rows),
        retain_matching_columns=False,
    )
    api = DuckDBAPI(connection=con)
    linker = Linker(api.register("records"), settings, log_level=logging.ERROR)
    strict = [rule for rule in IDENTIFIERS if rule in fields]
    names = ["full_name"] if "full_name" in fields else ["given_name", "family_name"]
    names = [name for name in names if name in fields]
    deterministic = [block_on(field, *names[:1]) for field in strict]
    if "birthday" in fields:
        deterministic.append(block_on(*names, "birthday"))
    elif not deterministic:
        deterministic.append(block_on(*fields[:3]))
    try:
        linker.training.estimate_probability_two_random_records_match(deterministic, recall=0.7)
        found = linker.misc.save_model_to_json()["probability_two_random_records_match"]
    except ValueError:  # the rules found more pairs than their recall allows
        found = 0.0
    if not 0 < found < 1:  # the rules say nothing: every record has one duplicate, say
        settings.probability_two_random_records_match = 1 / rows
        linker = Linker(api.register("records"), settings, log_level=logging.ERROR)
    linker.training.estimate_u_using_random_sampling(max_pairs=2e6, seed=42)
    for rule in training_rules(fields):
        try:
            linker.training.estimate_parameters_using_expectation_maximisation(
                rule, estimate_without_term_frequencies=rows > SMALL
            )
        except Exception as error:  # noqa: BLE001, a rule without pairs trains nothing
            print(f"no training on {rule}: {type(error).__name__}", file=sys.stderr)
    edges = linker.inference.predict(threshold_match_probability=THRESHOLD, warning_mode="never")
    clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(edges, THRESHOLD)
    con.execute(
        f"COPY (SELECT unique_id AS record_id, cluster_id AS customer_id "
        f"FROM {clusters.physical_name}) TO '{out}' (HEADER)"
    )
    return {
        "records": rows,
        "seconds": round(time.perf_counter() - started, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path)
    parser.add_argument("--mapping", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    mapping = yaml.safe_load(options.mapping.read_text(encoding="utf-8"))
    print(json.dumps(resolve(options.records, mapping, options.out)))


if __name__ == "__main__":
    main()
