"""Identity resolution beside its reference and its peers: one table, one run.

What belongs here: which sets, who resolves them, the table. What does not: resolution,
and the peers (``identity_peers.py``, in an environment of its own).

    python -m tests.benchmarks.identity_bench [--data FOLDER] [--peers PYTHON] [--medium]
        [--million]

The demo company is resolved twice: by the nightly engine, which takes all that its systems say, and
by everybody as one table with one phone, e-mail and number a record. Public sets are read from
--data (or CUSTOMER360_BENCH_DATA); one that is absent is said to be and left out. No labels are
used but by the evaluation. Everybody is judged on the whole truth: a record that a resolver does
not return is a customer of its own. A resolver that needs more than LONGEST seconds is ended.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

from customer360.demo.world import generate
from customer360.identity.evaluate import evaluate
from tests.benchmarks.people import write_people
from tests.identity.demo_inputs import load_demo

LONGEST = 1200
"""Seconds after which a resolver is ended, and counted as having taken so long."""

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]

FEBRL = """fields: {record_id: rec_id, given_name: given_name, family_name: surname,
  street_number: street_number, street: address_1, address: address_2, city: suburb,
  postcode: postcode, region: state, birthday: date_of_birth%s}
date_format: "%%Y%%m%%d"
"""
WITH_ID = FEBRL % ", national_id: soc_sec_id"
WITHOUT_ID = FEBRL % ""
RLDATA = """fields: {record_id: unique_id, given_name: fname_c1, family_name: lname_c1,
  birth_year: by, birth_month: bm, birth_day: bd}
"""
FAKE = """fields: {record_id: unique_id, given_name: first_name, family_name: surname,
  birthday: dob, city: city, email: email}
"""
FEBRL_TRUTH = "trim(rec_id) AS record_id, regexp_extract(rec_id, 'rec-(\\d+)-', 1) AS person_id"
CLUSTER_TRUTH = "unique_id AS record_id, cluster AS person_id"
SETS = {
    "febrl1": ("febrl1.csv", WITH_ID, FEBRL_TRUTH),
    "febrl2": ("febrl2.csv", WITH_ID, FEBRL_TRUTH),
    "febrl3": ("febrl3.csv", WITH_ID, FEBRL_TRUTH),
    "febrl3 without soc_sec_id": ("febrl3.csv", WITHOUT_ID, FEBRL_TRUTH),
    "rldata500": ("rldata500.csv", RLDATA, CLUSTER_TRUTH),
    "fake_1000": ("fake_1000.csv", FAKE, CLUSTER_TRUTH),
}

DEMO = """fields: {record_id: record_id, full_name: full_name, birthday: birthday, sex: sex,
  city: city, region: province, address: address, phone: phone, email: email,
  member_no: member_no, unionid: unionid, openid: openid}
"""
# set, by, what is measured, what it must be
TARGETS = (
    ("febrl3", "customer360", "f1", ">=", 0.998),
    ("febrl3 without soc_sec_id", "customer360", "f1", ">=", 0.993),
    ("rldata500", "customer360", "wrong_or_missed", "<=", 4),
    ("fake_1000", "customer360", "f1", ">=", 0.93),
    ("demo small", "nightly", "precision", ">=", 0.995),
    ("demo small", "nightly", "recall", ">=", 0.95),
    ("demo medium", "nightly", "precision", ">=", 0.995),
    ("demo medium", "nightly", "recall", ">=", 0.95),
    ("demo medium", "nightly", "biggest", "<=", 4),
    ("demo medium", "nightly", "peak_mib", "<=", 3072),
    ("demo medium", "nightly", "increment_over_allowed", "<=", 1.0),
    ("made-up Chinese 1,000,000", "customer360", "seconds_to_reference", "<=", 1.2),
    ("made-up Chinese 1,000,000", "customer360", "cpu_to_reference", "<=", 1.2),
    ("made-up Chinese 1,000,000", "customer360", "peak_mib", "<=", 3072),
    ("made-up Chinese 1,000,000", "nightly", "peak_mib", "<=", 3072),
    ("made-up Chinese 1,000,000", "nightly", "increment_over_allowed", "<=", 1.0),
)


def commands(peers: str | None) -> dict[str, list[str]]:
    """Who resolves: name -> the command without its files."""
    own = [sys.executable, "-m", "customer360.cli", "identity", "resolve"]
    found = {"customer360": own, "Splink": [sys.executable, str(HERE / "splink_reference.py")]}
    if peers:
        for peer in ("goldenmatch", "ecm"):
            found[peer] = [peers, str(HERE / "identity_peers.py"), peer]
    return found


def run(command: list[str], records: Path, mapping: Path, out: Path) -> dict:
    """Seconds, seconds of processor and peak MiB of a resolution in processes of its own.

    With ``error`` where it failed; with ``ended`` where it was ended after LONGEST seconds.
    """
    probe = (
        "import resource, subprocess, sys, time; start = time.perf_counter(); "
        "code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "usage = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, "
        "usage.ru_maxrss // 1024); sys.exit(code)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "CUSTOMER360_THREADS": "2"}
    files = [str(records), "--mapping", str(mapping), "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-c", probe, *command, *files],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    ) as started:  # fmt: skip
        try:
            told, complaint = started.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)  # the probe and who it waits for
            return {"seconds": float(LONGEST), "ended": True}
    if started.returncode:
        lines = complaint.strip().splitlines() or ["no message"]
        return {"error": lines[-1][:60]}
    seconds, cpu, peak = told.split()[-3:]
    return {
        "seconds": round(float(seconds), 1), "cpu": round(float(cpu), 1), "peak_mib": int(peak)
    }  # fmt: skip


def judge(out: Path, truth: Path) -> dict:
    """Precision, recall and more over all records of the truth, whether ``out`` has them or not."""
    whole = out.with_name(f"{out.stem}-whole.parquet")
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute(
            f"""
            COPY (
                SELECT known.record_id, coalesce(customer_id, 'alone ' || record_id) AS customer_id
                FROM (SELECT trim(record_id::VARCHAR) AS record_id FROM '{truth}') AS known
                LEFT JOIN (SELECT trim(record_id) AS record_id, customer_id
                    FROM read_csv('{out}', all_varchar = true)) AS found USING (record_id)
            ) TO '{whole}' (FORMAT parquet)
            """
        )
        found = evaluate(con, whole, truth)
    return found["pairwise"] | {"biggest": found["biggest_wrong_merge_persons"]}


def compare(name: str, records: Path, mapping: Path, truth: Path, who: dict, folder: Path) -> list:
    """One line a resolver."""
    lines = []
    for resolver, command in who.items():
        out = folder / f"{resolver}.csv"
        line = {"set": name, "by": resolver, **run(command, records, mapping, out)}
        if not {"error", "ended"} & set(line):
            line |= judge(out, truth)
        show(line)
        lines.append(line)
    return lines


def nightly(name: str, records: Path, truth: Path, folder: Path, *more: str) -> list:
    """The nightly engine on the same records: everything, then one percent changed."""
    out = folder / "nightly.csv"
    command = [
        sys.executable, "-m", "tests.benchmarks.identity_nightly", str(records), str(out), *more
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=3600, check=False, cwd=PROJECT
    )
    if done.returncode:
        print(f"{name:26} nightly      {done.stderr.strip().splitlines()[-1][:60]}")
        return []
    runs = json.loads(done.stdout.splitlines()[-1])
    full, increment = runs["full"], runs["increment"]
    line = {"set": name, "by": "nightly", "seconds": full["wall"], "cpu": full["cpu"],
            "peak_mib": max(full["peak_mib"], increment["peak_mib"])}  # fmt: skip
    line |= judge(out, truth) | {"runs": runs}
    show(line)
    print(
        f"{'':26} one percent changed: {increment['wall']} s ({increment['cpu']} s of processor), "
        f"everything: {full['wall']} s ({full['cpu']} s)",
        flush=True,
    )
    return [line]


def demo(folder: Path, size: str, who: dict) -> list:
    """The demo company: all that its systems say, and one table of it for everybody."""
    world, answers = folder / "world.duckdb", folder / "answers.duckdb"
    generate(world, answers, size, 42)
    records, truth, mapping = (
        folder / name for name in ("demo.parquet", "demo_truth.parquet", "demo.yml")
    )
    firsts = ", ".join(
        f"min(value_normalised) FILTER (kind = '{kind}') AS {kind}"
        for kind in ("phone", "email", "member_no", "unionid", "openid")
    )
    with duckdb.connect(config={"threads": 2}) as con:
        load_demo(con, world, answers)
        con.execute(f"COPY truth TO '{truth}' (FORMAT parquet)")
        con.execute(
            f"COPY (SELECT records.*, held.* EXCLUDE record_id FROM records LEFT JOIN (SELECT "
            f"record_id, {firsts} FROM identifiers GROUP BY record_id) AS held USING (record_id) "
            f"WHERE entity = 'person') TO '{records}' (FORMAT parquet)"
        )
    mapping.write_text(DEMO, encoding="utf-8")
    lines = nightly(f"demo {size}", world, truth, folder, "--truth", str(answers))
    if size != "small":  # as one table it is no more than the made-up Chinese are
        return lines
    return lines + compare(f"demo {size}, one table", records, mapping, truth, who, folder)


def measured(lines: list[dict], name: str, by: str, what: str) -> float | None:
    """One figure of a target; None where it was not measured."""
    found = {(line["set"], line["by"]): line for line in lines if "error" not in line}
    line, reference = found.get((name, by)), found.get((name, "Splink"))
    if line is None:
        return None
    if what == "wrong_or_missed":
        return float(line["wrong_pairs"] + line["missed_pairs"])
    if what in ("seconds_to_reference", "cpu_to_reference"):
        measure = what.removesuffix("_to_reference")
        return line[measure] / reference[measure] if reference and measure in reference else None
    if what == "increment_over_allowed":
        runs = line["runs"]
        return runs["increment"]["wall"] / (0.05 * runs["full"]["wall"] + 10)
    return float(line[what])


def targets(lines: list[dict]) -> None:
    """Print what was to be reached, and whether it was."""
    ended = {(line["set"], line["by"]) for line in lines if "ended" in line}
    print(f"\n{'target':26} {'by':12} {'measure':24}   asked     found")
    for name, by, what, sign, asked in TARGETS:
        found = measured(lines, name, by, what)
        if found is None:
            said = "not measured"
        else:
            reached = found >= asked if sign == ">=" else found <= asked
            said = f"{found:9.4f}  {'reached' if reached else 'MISSED'}"
            if what.endswith("_to_reference") and (name, "Splink") in ended:
                said += f" (or less: the reference was ended after {LONGEST} s)"
        print(f"{name:26} {by:12} {what:24} {sign} {asked:<7} {said}")


def show(line: dict) -> None:
    """Print one line of the table."""
    start = f"{line['set']:26} {line['by']:12}"
    if "error" in line:
        print(f"{start} {line['error']}", flush=True)
        return
    if "ended" in line:
        print(f"{start} ended after {LONGEST} s, unfinished", flush=True)
        return
    print(
        f"{start} {line['precision']:9.4f} {line['recall']:7.4f} {line['f1']:7.4f} "
        f"({line['f1_low']:.4f}-{line['f1_high']:.4f}) {line['wrong_pairs']:6} "
        f"{line['missed_pairs']:6} {line['biggest']:7} {line['seconds']:8.1f} "
        f"{line['cpu']:8.1f} {line['peak_mib']:6}",
        flush=True,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("CUSTOMER360_BENCH_DATA", "")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--peers", help="Python of an environment with requirements-bench.txt")
    parser.add_argument("--medium", action="store_true", help="also the demo of 100,000 customers")
    parser.add_argument("--million", action="store_true", help="also 1,000,000 made-up records")
    parser.add_argument("--only", nargs="*", help="names of sets")
    parser.add_argument("--json", type=Path, help="also write the lines here")
    options = parser.parse_args()
    who = commands(options.peers)
    if not options.peers:
        print("peers are left out: name an environment with --peers")
    print(
        f"{'set':26} {'by':12} precision  recall      F1 (95 % interval)   wrong missed  "
        "biggest  seconds      cpu    MiB"
    )
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, (file, mapping, truth) in SETS.items():
            if options.only is not None and title not in options.only:
                continue
            records = options.data / file
            if not records.is_file():
                print(f"{title:26} absent: {file} is not in the data folder")
                continue
            (folder / "mapping.yml").write_text(mapping, encoding="utf-8")
            with duckdb.connect() as con:
                con.execute(
                    f"COPY (SELECT {truth} FROM read_csv('{records}', all_varchar=true)) "
                    f"TO '{folder}/truth.parquet' (FORMAT parquet)"
                )
            lines += compare(
                title, records, folder / "mapping.yml", folder / "truth.parquet", who, folder
            )
        for size, asked in (("small", True), ("medium", options.medium)):
            if asked if options.only is None else f"demo {size}" in options.only:
                lines += demo(folder, size, who)
        made = {"made-up Chinese 20,000": 20_000, "made-up Chinese 100,000": 100_000}
        if options.million:
            made["made-up Chinese 1,000,000"] = 1_000_000
        for title, count in made.items():
            if options.only is not None and title not in options.only:
                continue
            records, truth_file, mapping_file = write_people(folder, count, seed=11)
            # peers are not made for a million records
            few = {key: who[key] for key in ("customer360", "Splink")} if count > 50_000 else who
            lines += compare(title, records, mapping_file, truth_file, few, folder)
            lines += nightly(title, records, truth_file, folder)
    targets(lines)
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
