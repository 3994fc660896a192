"""SQL conditions that a user writes in configuration: what may stand in one, and what it reads.

What belongs here: parsing and refusing. What does not: which conditions there are (``config``) and
whether their columns exist (``transform``).
"""

import sqlglot
from sqlglot import expressions as exp

# What a segment's rule may be made of; everything else (subqueries, calls of unknown functions,
# statements) is refused, so that a rule can only look at the row of its customer.
RULE_NODES = (
    exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE,
    exp.In, exp.Between, exp.Is, exp.Null, exp.Boolean, exp.Column, exp.Identifier, exp.Literal,
    exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Coalesce, exp.Like, exp.Interval, exp.Var,
)  # fmt: skip


def checked(value: str) -> str:
    """The condition, written anew for DuckDB.

    Raises:
        ValueError: it is not one condition on the row of its customer.
    """
    try:
        statements = sqlglot.parse(value, read="duckdb")
    except sqlglot.errors.SqlglotError:
        raise ValueError(f"the rule is not an SQL condition: {value}") from None
    condition = statements[0]
    if len(statements) != 1 or condition is None:
        raise ValueError("a rule is one condition, without semicolons")
    for node in condition.walk():
        if not isinstance(node, RULE_NODES):
            raise ValueError(  # noqa: TRY004, pydantic turns ValueError into a message
                f"'{node.sql()}' may not stand in a rule: use columns, values, comparisons, "
                "and, or, not, in, between, like, coalesce"
            )
    return condition.sql(dialect="duckdb")


def columns_of(condition: str) -> frozenset[str]:
    """Columns that a condition reads."""
    tree = sqlglot.parse_one(condition, read="duckdb")
    return frozenset(column.name for column in tree.find_all(exp.Column))
