"""Qrlew/pyqrlew: the queries that it rewrites with differential privacy and runs."""

from __future__ import annotations

from tests.breadth.cases import Numbers, Suite, rewritten, supported

_FILE = "base_queries.sql"


def _at(numbers: str) -> Numbers:
    return {_FILE: numbers}


_POINTS = (
    supported(
        "counts, sums, averages, variances and deviations, with conditions",
        "SELECT COUNT(*) AS n, COUNT(age) AS c, SUM(age) AS s, AVG(age) AS a, VARIANCE(age) AS v, STDDEV(age) AS d "
        "FROM customers WHERE age > 0 AND age < 15",
        _at("1-6, 9, 57-58"),
    ),
    supported(
        "sums of expressions, whose ranges follow from the columns'",
        "SELECT SUM(age * price + 4 + LOG(10, age + 2)) AS a, SUM(age * price + 4 + LN(age + 3)) AS b, "
        "SUM(-100 * age) AS c FROM customers",
        _at("7, 10"),
    ),
    supported(
        "groups by one or two keys, numbers too, in an order, from a position on",
        "SELECT age, active, SUM(price) AS s, COUNT(1) AS n FROM customers GROUP BY age, active "
        "ORDER BY age DESC, active LIMIT 20 OFFSET 1",
        _at("8, 11-12, 29-31, 55-56"),
    ),
    supported(
        "HAVING with keys and with aggregates",
        "SELECT city, SUM(price / 10000) AS s, SUM(age) AS t FROM customers GROUP BY city "
        "HAVING NOT (city = 'X') AND SUM(age) > 1 ORDER BY s DESC LIMIT 10",
        _at("13-14, 21"),
    ),
    supported(
        "arithmetic, functions and CASE over aggregates",
        "SELECT POWER(AVG(age), 2) AS p, 1 + AVG(age) AS q, CASE WHEN SUM(age) > 90 THEN 90 WHEN SUM(age) < 10 THEN 10 "
        "ELSE SUM(age) END AS s, CASE WHEN COUNT(*) BETWEEN 0 AND 10 THEN 'small' ELSE 'large' END AS b FROM customers",
        _at("15-16, 47, 51-54"),
    ),
    supported(
        "aliases of tables, columns and keys, quoted ones too, used in GROUP BY and ORDER BY",
        'SELECT t.age AS "my age", 3 * COS(COUNT(*)) AS c, AVG(price) AS "my avg" FROM customers AS t '
        'GROUP BY "my age" ORDER BY "my age", "my avg"',
        _at("17, 22, 32, 44-46"),
    ),
    supported(
        "keys that are expressions, selected or not",
        "SELECT SUM(age) AS s, CASE WHEN age > 80 THEN 1 ELSE 0 END AS old FROM customers "
        "GROUP BY city, CASE WHEN age > 80 THEN 1 ELSE 0 END, LN(CASE WHEN age < 50 THEN 50 ELSE 1 END) ORDER BY s",
        _at("18-20, 23-26, 49-50"),
    ),
    supported(
        "CASE inside aggregates",
        "SELECT 2 * SUM(CASE WHEN age > 90 THEN 1 ELSE 0 END) AS a, SUM(age) AS b FROM customers",
        _at("27-28"),
    ),
    supported(
        "conditions with BETWEEN, IN and their opposites",
        "SELECT age, COUNT(*) AS n FROM customers WHERE age NOT BETWEEN 18 AND 30 AND age IN (20, 30) "
        "AND city NOT IN ('X', 'Y') GROUP BY age",
        _at("33-36, 48"),
    ),
    supported(
        "functions of keys, in the list or as the key",
        "SELECT CAST(age AS VARCHAR) AS a, UPPER(city) AS u, LOWER(city) AS l, POSITION('m' IN city) AS p, "
        "CHAR_LENGTH(city) AS c, TRIM(city) AS t, COALESCE(age, 1) AS o, COUNT(*) AS n FROM customers GROUP BY age, "
        "city",
        _at("37-43"),
    ),
    supported(
        "aggregates of released groups, in FROM or through CTEs",
        "WITH g AS (SELECT age, city, COUNT(*) AS n FROM customers GROUP BY age, city ORDER BY age, city), "
        "h AS (SELECT 2 * age AS double, city, n FROM g) SELECT double, COUNT(*) AS c, AVG(n) AS a FROM h "
        "GROUP BY double LIMIT 15",
        _at("59-61"),
    ),
    rewritten(
        "sums, averages and variances of each value once, beside counts of values",
        "SELECT active, COUNT(DISTINCT age) AS n, SUM(DISTINCT age) AS s, VARIANCE(DISTINCT age) AS v FROM customers "
        "GROUP BY active",
        _at("62-65, 67-73"),
        rule="distinct_values",
        rewrite="SELECT active, COUNT(age) AS n, SUM(age) AS s, AVG(age) AS a, VARIANCE(age) AS v, STDDEV(age) AS d "
        "FROM (SELECT active, age, COUNT(DISTINCT hashed_email) AS entities FROM customers GROUP BY active, age) q "
        "WHERE entities > 5 GROUP BY active HAVING COUNT(*) > 5 ORDER BY active LIMIT 5",
        why="the values are released as groups, and aggregated above; COUNT(DISTINCT x) alone is supported",
    ),
    rewritten(
        "DISTINCT above an aggregate",
        "SELECT DISTINCT SUM(age) AS s FROM customers",
        _at("66"),
        rule="unsupported_clause",
        rewrite="SELECT DISTINCT s FROM (SELECT SUM(age) AS s FROM customers) q",
        why="the grouped query becomes a subquery, and DISTINCT stands above it",
    ),
    rewritten(
        "a join of a private table with itself on another column; the peer joins on the entity as well",
        "WITH a AS (SELECT * FROM customers), b AS (SELECT * FROM customers) "
        "SELECT COUNT(*) AS n, COUNT(DISTINCT a.age) AS d FROM a JOIN b ON a.price = b.price",
        _at("74"),
        rule="join_without_entity",
        rewrite="WITH a AS (SELECT * FROM customers), b AS (SELECT * FROM customers) SELECT COUNT(*) AS n, "
        "COUNT(DISTINCT a.age) AS d FROM a JOIN b ON a.hashed_email = b.hashed_email AND a.price = b.price",
        why="a row would belong to two entities; the join says that it does not",
    ),
)

PYQRLEW = Suite(
    name="Qrlew",
    repository="Qrlew/pyqrlew",
    commit="b352078b69cc035fa4baa43f9a4d3606a78e2603",
    where="`tests/queries/<file>`; a position counts the lines that do not begin with `--`",
    cases={_FILE: "1-74"},
    rejected={},
    points=_POINTS,
)
