"""What would not run on Spark is seen in the rendered text."""

import pytest

from customer360.portability import judge, not_portable


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("select sum(amount) from shop.orders where left(name, 2) in ('a', 'b')", []),
        ("select max_by(x, y) from t qualify rank() over (order by x) = 1", []),
        ("with a as (select 1 as x) select x from a union all select 2", []),
        ("select regexp_replace(name, r'\\s', '') from t", []),
        ("select list_sort(names) from t", ["list_sort()"]),
        ("select * from a union all by name select * from b", ["union by name"]),
        ("select regexp_replace(name, 'x', '', 'g') from t", ["regexp_replace() with options"]),
        ("select regexp_like(name, '\\d') from t", ["a backslash in a literal"]),
        ('select "order" from t', ["double quotes"]),
        ("select struct_pack(a := 1) from t", ["struct_pack()"]),
    ],
)
def test_what_is_not_spark_sql_is_named(sql, found):
    assert [each for each in not_portable(sql) if "does not parse" not in each] == found


def test_an_exception_is_listed_for_as_long_as_it_is_one():
    models = {"orders": ["unnest()"], "customers": []}
    assert judge(models, {"orders": ["unnest()"]}) == []
    assert "orders: unnest() is not Spark SQL" in judge(models, {})[0]
    assert "not there any more" in judge(models, {"orders": ["unnest()"], "customers": ["x()"]})[0]
