"""The nightly engine on one table of people: everything, then a day on which a part changed.

What belongs here: making the engine's two inputs of a table as ``people`` makes them, or of a
demo company's world, and the seconds and memory of both runs, printed as one JSON object. Run by
``identity_bench`` in a process of its own.

    python -m tests.benchmarks.identity_nightly PEOPLE OUT [--change 0.01] [--truth TRUTH]
"""

import argparse
import datetime as dt
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from customer360 import state
from customer360.identity.engine import resolve_company
from customer360.settings import Settings
from tests.identity.demo_inputs import load_demo

RECORDS = """
CREATE TABLE records AS
SELECT record_id, source, 'person' AS entity, full_name, birthday, sex, city, address,
    TIMESTAMP '2024-01-01' AS created_at
FROM people
"""
IDENTIFIERS = """
CREATE TABLE identifiers AS
SELECT record_id, kind, value AS value_normalised, TIMESTAMP '2024-01-01' AS first_seen_at
FROM (SELECT record_id, unnest(['phone', 'email']) AS kind, unnest([phone, email]) AS value
    FROM people) WHERE value IS NOT NULL
"""
# a day: some are new, some moved and changed their phone, some are gone
CHANGES = """
DELETE FROM records WHERE hash(record_id) % 1000 < {share} * 100;
UPDATE records SET address = replace(address, '号', '9号')
WHERE hash(record_id) % 1000 BETWEEN 500 AND 500 + {share} * 300 - 1;
UPDATE identifiers SET value_normalised = '139' || right(hash(record_id)::VARCHAR, 8)
WHERE kind = 'phone' AND hash(record_id) % 1000 BETWEEN 500 AND 500 + {share} * 300 - 1;
INSERT INTO records BY NAME
SELECT * REPLACE ('n' || record_id AS record_id) FROM records
WHERE hash(record_id) % 1000 BETWEEN 900 AND 900 + {share} * 600 - 1;
INSERT INTO identifiers BY NAME
SELECT * REPLACE ('n' || record_id AS record_id) FROM identifiers
WHERE hash(record_id) % 1000 BETWEEN 900 AND 900 + {share} * 600 - 1
"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("people", type=Path, help="a table of people, or a demo's world")
    parser.add_argument("out", type=Path, help="record_id, customer_id of the full run.")
    parser.add_argument("--change", type=float, default=0.01, help="share of records that change")
    parser.add_argument("--truth", type=Path, help="the truth of the demo whose world it is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        settings = Settings("bench", Path(name) / "bench", threads=2, memory_limit="1500MB")
        engine = state.engine(settings)
        con = duckdb.connect(
            str(Path(name) / "work.duckdb"), config={"threads": 2, "memory_limit": "500MB"}
        )
        if options.truth:
            load_demo(con, options.people, options.truth)
        else:
            con.execute(f"CREATE VIEW people AS FROM '{options.people}'")
            con.execute(RECORDS)
            con.execute(IDENTIFIERS)
        lines = {}
        for run, day in (("full", dt.date(2026, 7, 1)), ("increment", dt.date(2026, 7, 2))):
            if run == "increment":
                con.execute(CHANGES.format(share=options.change))
            started, used = time.perf_counter(), time.process_time()
            found = resolve_company(
                con, settings, engine, run_id=run, as_of=day,
                say=lambda text: print(text, file=sys.stderr, flush=True),
            )  # fmt: skip
            lines[run] = {
                **found,
                "wall": round(time.perf_counter() - started, 1),
                "cpu": round(time.process_time() - used, 1),
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
            if run == "full":
                con.execute(
                    "COPY (SELECT record_id, customer_id FROM identity.customer_records) "
                    f"TO '{options.out}' (HEADER)"
                )
        print(json.dumps(lines))


if __name__ == "__main__":
    main()
