"""Smart tickets: topic, urgency, route and article for an open case, learned from solved ones.

What belongs here: from texts of cases to suggestions and to questions that no article answers. What
does not: warnings (``service_warnings``), sentiment (``models.sentiment``).

Texts are compared as TF-IDF vectors of character n-grams (1 to 3), which need no segmenter and see
through typing errors. A suggestion says how many solved cases it stands on; no text leaves the run.
"""

import datetime as dt

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from customer360.engagement.config import ServiceRules
from customer360.engagement.tables import day, rows_of
from customer360.warehouse import literal

SUGGESTIONS = "engagement.ticket_suggestions"
GAPS = "engagement.knowledge_gaps"

LEARNED_FROM = 20_000
"""Solved cases, the newest."""
NEIGHBOURS = 8
MIN_CASES = 30
"""Fewer solved cases teach nothing: the topic and priority that the case came with stand."""
MIN_SIMILARITY = 0.15
GAP_DAYS = 90
GAP_CASES = 3
GAP_SIMILARITY = 0.6
STILL_NEW_DAYS = 3
"""Cases that were opened so lately get suggestions though they are closed already."""

SUGGESTION_SCHEMA = pa.schema(
    [
        ("case_key", pa.string()),
        ("topic", pa.string()),
        ("topic_probability", pa.float64()),
        ("urgency", pa.string()),
        ("urgency_probability", pa.float64()),
        ("article_id", pa.string()),
        ("article_score", pa.float64()),
        ("similar_cases", pa.int32()),
    ]
)


def suggest(connection: duckdb.DuckDBPyConnection, rules: ServiceRules, as_of: dt.date) -> None:
    """Write ``engagement.ticket_suggestions`` and ``engagement.knowledge_gaps``."""
    cases = _cases(connection, as_of)
    texts = cases.column("body").to_pylist()
    is_open = cases.column("is_open").to_numpy(zero_copy_only=False)
    vectors = _vectors(texts)
    solved = np.flatnonzero(~is_open)
    asked = np.flatnonzero(is_open)
    topic, topic_sure = _classify(vectors, cases.column("topic").to_pylist(), solved, asked)
    urgency, urgency_sure = _classify(vectors, cases.column("priority").to_pylist(), solved, asked)
    articles = cases.column("article_id").to_pylist()
    suggested = _articles(vectors, articles, cases.column("quality").to_numpy(), solved, asked)
    keys = cases.column("case_key").to_pylist()
    rows = [
        {
            "case_key": keys[place],
            "topic": topic[number],
            "topic_probability": topic_sure[number],
            "urgency": urgency[number],
            "urgency_probability": urgency_sure[number],
            **suggested[number],
        }
        for number, place in enumerate(asked)
    ]
    connection.register("tickets_read", pa.Table.from_pylist(rows, SUGGESTION_SCHEMA))
    routes = "".join(
        f" when {literal(name)} then {literal(team)}" for name, team in rules.routes.items()
    )
    route = f"case suggested.topic{routes} end" if routes else "cast(null as varchar)"
    connection.execute(
        f"""
        create or replace table {SUGGESTIONS} as
        select suggested.*, {route} as route, cases.customer_id
        from tickets_read as suggested
        left join {_service_cases(connection)} as cases on suggested.case_key = cases.case_key
        """
    )
    connection.unregister("tickets_read")
    _find_gaps(connection, cases, vectors, as_of)


def _service_cases(connection: duckdb.DuckDBPyConnection) -> str:
    return rows_of(
        connection,
        "service_cases",
        case_key="varchar",
        customer_id="varchar",
        source="varchar",
        case_id="varchar",
        topic="varchar",
        priority="varchar",
        status="varchar",
        article_id="varchar",
        satisfaction="integer",
        reopened_count="integer",
        opened_on="date",
    )


def _cases(connection: duckdb.DuckDBPyConnection, as_of: dt.date) -> pa.Table:
    """Texts of open and of the newest solved cases, in order of key."""
    texts = rows_of(
        connection,
        "union_texts",
        schema="unify",
        source="varchar",
        kind="varchar",
        text_id="varchar",
        body="varchar",
    )
    return connection.execute(
        f"""
        with told as (
            select
                cases.case_key,
                texts.body,
                cases.topic,
                cases.priority,
                cases.article_id,
                cases.opened_on,
                cases.status <> 'closed'
                or cases.opened_on > {day(as_of)} - {STILL_NEW_DAYS} as is_open,
                -- a case that ended well speaks for its article
                coalesce(cases.satisfaction, 4) / 5.0
                / (1 + coalesce(cases.reopened_count, 0)) as quality
            from {_service_cases(connection)} as cases
            inner join {texts} as texts
                on
                    cases.source = texts.source
                    -- a text is named by its record, such as call_centre.tickets:800007
                    and cases.case_id = regexp_replace(texts.text_id, '^.*:', '')
            where texts.kind = 'case' and texts.body <> '' and cases.opened_on <= {day(as_of)}
        )

        select * exclude (newness)
        from (
            select
                *,
                row_number() over (
                    partition by is_open order by opened_on desc, case_key
                ) as newness
            from told
        ) as ranked
        where newness <= {LEARNED_FROM}
        order by case_key
        """
    ).to_arrow_table()


def _vectors(texts: list[str]) -> sparse.csr_matrix:
    if not texts:
        return sparse.csr_matrix((0, 0))
    vectoriser = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=1, sublinear_tf=True)
    return vectoriser.fit_transform(texts)


def _classify(
    vectors: sparse.csr_matrix,
    labels: list[str | None],
    solved: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> tuple[list[str | None], list[float | None]]:
    """The likely label of each asked case and its probability; its own where nothing is learned."""
    known = [place for place in solved if labels[place] is not None]
    if not len(asked):
        return [], []
    if len(known) < MIN_CASES or len({labels[place] for place in known}) < 2:  # one class
        return [labels[place] for place in asked], [None] * len(asked)
    model = LogisticRegression(C=10.0, max_iter=300)
    model.fit(vectors[known], [labels[place] for place in known])
    chances = model.predict_proba(vectors[asked])
    best = chances.argmax(axis=1)
    return (
        [str(model.classes_[number]) for number in best],
        [round(float(row[number]), 4) for row, number in zip(chances, best, strict=True)],
    )


def _articles(
    vectors: sparse.csr_matrix,
    articles: list[str | None],
    quality: NDArray[np.float64],
    solved: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> list[dict[str, object]]:
    """The article that the most similar solved cases were answered with, weighed by their end."""
    with_article = np.array([place for place in solved if articles[place]], dtype=np.int64)
    nothing: dict[str, object] = {"article_id": None, "article_score": None, "similar_cases": 0}
    if not len(with_article) or not len(asked):
        return [nothing] * len(asked)
    likeness = (vectors[asked] @ vectors[with_article].T).tocsr()
    found = []
    for number in range(len(asked)):
        row = likeness.getrow(number)
        order = np.lexsort((row.indices, -row.data))[:NEIGHBOURS]
        votes: dict[str, float] = {}
        near = 0
        for place in order:
            if row.data[place] < MIN_SIMILARITY:
                continue
            near += 1
            case = with_article[row.indices[place]]
            name = str(articles[case])
            votes[name] = votes.get(name, 0.0) + float(row.data[place] * quality[case])
        if not votes:
            found.append(nothing)
            continue
        best = max(votes, key=lambda name: (votes[name], name))
        found.append(
            {
                "article_id": best,
                "article_score": round(votes[best] / sum(votes.values()), 4),
                "similar_cases": near,
            }
        )
    return found


def _find_gaps(
    connection: duckdb.DuckDBPyConnection,
    cases: pa.Table,
    vectors: sparse.csr_matrix,
    as_of: dt.date,
) -> None:
    """Questions that come again and again and that no article answers.

    Greedy leaders (Hartigan 1975): each case without an article joins the first group whose leader
    is like it, the oldest cases leading. A group is shown by its first case.
    """
    since = as_of - dt.timedelta(days=GAP_DAYS)
    opened = cases.column("opened_on").to_pylist()
    without = [
        place
        for place, (article, on) in enumerate(
            zip(cases.column("article_id").to_pylist(), opened, strict=True)
        )
        if article is None and on > since
    ]
    without.sort(key=lambda place: (opened[place], place))
    leaders: list[int] = []
    groups: dict[int, list[int]] = {}
    for place in without:
        home = place
        if leaders:
            likeness = (vectors[leaders] @ vectors[place].T).toarray().ravel()
            if likeness.max() >= GAP_SIMILARITY:
                home = leaders[int(likeness.argmax())]
        if home == place:
            leaders.append(place)
        groups.setdefault(home, []).append(place)
    keys = cases.column("case_key").to_pylist()
    topics = cases.column("topic").to_pylist()
    rows = [
        {
            "gap_id": f"q{keys[leader]}",
            "topic": topics[leader],
            "cases": len(members),
            "first_on": min(opened[place] for place in members),
            "last_on": max(opened[place] for place in members),
            "example_case_key": keys[leader],
        }
        for leader, members in groups.items()
        if len(members) >= GAP_CASES
    ]
    schema = pa.schema(
        [
            ("gap_id", pa.string()),
            ("topic", pa.string()),
            ("cases", pa.int32()),
            ("first_on", pa.date32()),
            ("last_on", pa.date32()),
            ("example_case_key", pa.string()),
        ]
    )
    connection.register("gaps_found", pa.Table.from_pylist(rows, schema))
    connection.execute(
        f"create or replace table {GAPS} as from gaps_found order by cases desc, gap_id"
    )
    connection.unregister("gaps_found")
