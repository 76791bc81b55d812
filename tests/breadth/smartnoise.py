"""opendp/smartnoise-sdk: the statements that its SQL parser, validator and rewriter are tested with."""

from __future__ import annotations

from tests.breadth.cases import Numbers, Suite, no_meaning, rewritten, set_elsewhere, supported

_CASES: Numbers = {
    "compare/compare.sql": "1-4",
    "parse/expressions.sql": "1-41",
    "parse/expressions_fail.sql": "1-11",
    "parse/groupby.sql": "1",
    "parse/groupby_fail.sql": "1",
    "parse/identifiers.sql": "1-16",
    "parse/identifiers_fail.sql": "1-9",
    "parse/join.sql": "1-12",
    "parse/join_fail.sql": "1-2",
    "parse/order.sql": "1-4",
    "parse/order_fail.sql": "1-2",
    "parse/stringfuncs.sql": "1-4",
    "parse/subqueries.sql": "1-4",
    "parse/subqueries_fail.sql": "1",
    "parse/test.sql": "1-13",
    "parse/top_k.sql": "1-2",
    "parse/top_k_fail.sql": "1",
    "parse/where.sql": "1-8",
    "parse/where_fail.sql": "1",
    "rewrite/rewrites.sql": "1-17",
    "run/run.sql": "1-14",
    "validate/valid.sql": "1",
    "validate/valid_fail.sql": "1-7",
    "validate_pums/validate_pums.sql": "1-14",
    "validate_pums/validate_pums_fail.sql": "1-10",
}

_POINTS = (
    supported(
        "counts, sums, averages and variances, of all rows or of those that a condition leaves",
        "SELECT COUNT(*) AS n, SUM(age) AS s, AVG(price) AS a, VARIANCE(age) AS v FROM customers "
        "WHERE city = 'X' AND NOT age > 53.1",
        {
            "parse/test.sql": "9-10, 12-13",
            "rewrite/rewrites.sql": "1, 4, 9-11",
            "run/run.sql": "1, 4-7",
            "validate/valid.sql": "1",
            "validate_pums/validate_pums.sql": "1-2, 6, 9-10, 12",
        },
    ),
    supported(
        "aggregates by groups, with conditions, an order, and keys that need not be selected",
        "SELECT city, COUNT(*) AS n, SUM(age) AS s, AVG(p.price) AS a FROM customers AS p WHERE city IN ('X', 'Y') "
        "GROUP BY active, city ORDER BY city DESC, a",
        {
            "compare/compare.sql": "3-4",
            "parse/expressions.sql": "10",
            "parse/test.sql": "7",
            "rewrite/rewrites.sql": "2-3, 5-8, 12, 16-17",
            "run/run.sql": "2-3, 8-9, 13-14",
            "validate_pums/validate_pums.sql": "3-4",
        },
    ),
    supported(
        "the number of entities, of all or by groups",
        "SELECT active, COUNT(DISTINCT hashed_email) AS n FROM customers GROUP BY active",
        {"parse/test.sql": "11", "rewrite/rewrites.sql": "13-15", "run/run.sql": "10-12"},
    ),
    supported(
        "the first groups in an order",
        "SELECT TOP 5 city, AVG(age) AS a FROM customers GROUP BY city ORDER BY a",
        {"validate_pums/validate_pums.sql": "5"},
    ),
    supported(
        "constants and keys beside aggregates, keys alone, and a CASE as a key",
        "SELECT 3 AS three, CASE WHEN age > 90 THEN 1 ELSE 0 END AS old, city FROM customers "
        "GROUP BY city, CASE WHEN age > 90 THEN 1 ELSE 0 END",
        {"validate_pums/validate_pums.sql": "7-8, 14"},
    ),
    supported(
        "each combination of columns once",
        "SELECT DISTINCT city, active FROM customers WHERE age = 1 OR age = 10 AND price = 11.9",
        {"parse/test.sql": "5-6"},
    ),
    supported(
        "arithmetic and functions over aggregates",
        "SELECT SUM(age) * 1 AS s, LN(COUNT(*)) AS l, CEIL(COUNT(*)) AS c, ATANH(1 / COUNT(*)) AS t, "
        "LOG(2, COUNT(*)) AS b FROM customers",
        {"parse/expressions.sql": "37-40", "validate_pums/validate_pums.sql": "11"},
    ),
    supported(
        "an order by an expression over aggregates",
        "SELECT COUNT(*) AS n, SUM(age) AS s FROM customers ORDER BY 2 * s / ((n + 300.11) / 2) DESC",
        {"parse/order.sql": "3"},
    ),
    supported(
        "the peer refuses expressions inside sums, subqueries of all columns, and constants beside counts",
        "SELECT SUM(age + price) AS s, SUM(CASE WHEN age > 90 THEN 1 ELSE 0 END) AS old, 1 + COUNT(hashed_email) AS n "
        "FROM (SELECT * FROM customers) q",
        {"validate/valid_fail.sql": "2", "validate_pums/validate_pums_fail.sql": "1, 4, 9-10"},
    ),
    supported(
        "a deviation, by the name that this dialect has for it",
        "SELECT STDDEV(age) AS d FROM customers",
        {"parse/expressions.sql": "36"},
    ),
    supported(
        "an order in a subquery, without LIMIT, says nothing",
        "SELECT COUNT(DISTINCT hashed_email) AS n FROM (SELECT hashed_email, SUM(age) AS s FROM customers "
        "GROUP BY hashed_email ORDER BY s DESC) q ORDER BY n",
        {"parse/order.sql": "4"},
    ),
    supported(
        "joins in brackets with a name, and all columns of one side",
        "SELECT city, SUM(miles) AS s FROM (SELECT f.miles, t.* FROM flights f JOIN (SELECT email, city FROM "
        "(segments JOIN (SELECT hashed_email AS email, city FROM customers) c USING (email)) AS q) AS t USING (email)) "
        "AS z GROUP BY city ORDER BY city",
        {"compare/compare.sql": "1-2"},
    ),
    rewritten(
        "sums and averages of each value once",
        "SELECT city, SUM(DISTINCT age) AS s, AVG(price) AS a, COUNT(city) AS n FROM customers GROUP BY city",
        {"parse/groupby.sql": "1"},
        rule="distinct_values",
        rewrite="SELECT city, SUM(age) AS s FROM (SELECT city, age, COUNT(DISTINCT hashed_email) AS n FROM customers "
        "GROUP BY city, age) v WHERE n > 5 GROUP BY city",
        why="the values are released as groups, and summed above",
    ),
    set_elsewhere(
        "bounds on contributions written out: clamps, and a sample of an entity's groups",
        "SELECT city, SUM(s) AS s FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY hashed_email ORDER BY RANDOM()) AS r "
        "FROM (SELECT hashed_email, city, SUM(age) AS s FROM customers GROUP BY hashed_email, city) g) q "
        "WHERE r <= 5 GROUP BY city",
        {"parse/subqueries.sql": "4"},
        rule="not_deterministic",
        rewrite="SELECT city, SUM(LEAST(GREATEST(age, 0), 10)) AS s FROM customers GROUP BY city",
        why="the owner's max_groups and max_rows say it, and contributions are scaled down to them",
    ),
    no_meaning(
        "rows, with conditions, functions and names of every spelling; the peer only parses these",
        "SELECT age, ROUND(price, 1) AS p FROM customers WHERE city NOT IN ('X') OR price IS NOT NULL",
        {
            "parse/expressions.sql": "1-7, 9, 11-19, 21-29, 31-35, 41",
            "parse/identifiers.sql": "1-14",
            "parse/join.sql": "1-2, 9-12",
            "parse/stringfuncs.sql": "1-4",
            "parse/subqueries.sql": "1-3",
            "parse/test.sql": "1-4",
            "parse/where.sql": "1-6",
            "validate/valid_fail.sql": "3",
            "validate_pums/validate_pums_fail.sql": "5, 8",
        },
        rule="rows_released",
        why="every output is an aggregate or a group key",
        rewrite="SELECT CASE WHEN age < 100 THEN 1 WHEN age < 200 THEN 2 ELSE 3 END AS bucket, "
        'AVG(ROUND(price, 1)) AS "âge", SUM(DEGREES(PI() / 4) + POWER(age, 2) - 1) AS d, '
        "COUNT_IF(IFF(age > 100, 'Big', 'Small') = 'Big') AS big FROM customers GROUP BY 1",
    ),
    no_meaning(
        "all columns, of one table or of several",
        "SELECT * FROM customers",
        {"parse/identifiers.sql": "15-16", "parse/join.sql": "3, 5-8", "parse/order.sql": "1"},
        rule="star",
        why="what a template releases is named in it",
        rewrite="SELECT COUNT(*) AS n FROM (SELECT * FROM customers) q",
    ),
    no_meaning(
        "rows of a join of seven tables without conditions",
        "SELECT 1 AS a, 2 AS b FROM flights f, customers c, segments s",
        {"parse/expressions.sql": "20"},
        rule="join_without_entity",
        why="a row would belong to several entities",
        rewrite="SELECT COUNT(*) AS n FROM flights f, customers c, segments s WHERE f.email = c.hashed_email",
    ),
    no_meaning(
        "the first rows of a table",
        "SELECT TOP 12 age FROM customers",
        {"parse/top_k.sql": "1-2"},
        rule="rows_released",
        why="rows leave, and which ones depends on all entities",
        rewrite="SELECT TOP 12 age, COUNT(*) AS n FROM customers GROUP BY age ORDER BY n DESC",
    ),
    no_meaning(
        "random numbers in the answer",
        "SELECT RANDOM() AS r, POWER(AVG(age), 2) AS p, PI() AS c FROM customers",
        {"parse/expressions.sql": "30", "validate_pums/validate_pums.sql": "13"},
        rule="not_deterministic",
        why="a run can be repeated from its record",
        rewrite="SELECT POWER(AVG(age), 2) AS p, PI() AS c FROM customers",
    ),
    no_meaning(
        "columns that are neither grouped nor aggregated",
        "SELECT active, COUNT(*) AS n FROM customers GROUP BY city",
        {
            "parse/expressions.sql": "8",
            "parse/join.sql": "4",
            "parse/order.sql": "2",
            "parse/where.sql": "7-8",
            "validate/valid_fail.sql": "1, 7",
            "validate_pums/validate_pums_fail.sql": "3, 6-7",
        },
        rule="not_grouped",
        why="it is no SQL",
        rewrite="SELECT active, COUNT(*) AS n FROM customers c ANTI JOIN segments s ON c.hashed_email = s.email "
        "GROUP BY city, active",
    ),
    no_meaning(
        "groups of one entity each",
        "SELECT hashed_email, COUNT(hashed_email) AS n FROM customers GROUP BY hashed_email",
        {"validate/valid_fail.sql": "4-6"},
        rule="rows_released",
        why="each group is one entity",
        rewrite="SELECT AVG(LEAST(n, 10)) AS a FROM (SELECT hashed_email, COUNT(*) AS n FROM customers "
        "GROUP BY hashed_email) q",
    ),
    no_meaning(
        "an aggregate of an aggregate",
        "SELECT SUM(SUM(age)) AS s FROM customers",
        {"validate_pums/validate_pums_fail.sql": "2"},
        rule="aggregate_not_allowed",
        why="it is no SQL",
        rewrite="SELECT SUM(s) AS s FROM (SELECT city, SUM(age) AS s FROM customers GROUP BY city) q",
    ),
    no_meaning(
        "a star where an aggregate needs a value",
        "SELECT AVG(*) AS a FROM customers GROUP BY city",
        {"parse/test.sql": "8"},
        rule="function_form",
        why="it is no SQL",
        rewrite="SELECT AVG(age) AS a FROM customers GROUP BY city",
    ),
    no_meaning(
        "what is no SQL: open quotes, missing names, clauses in the wrong place",
        "SELECT COUNT(*) AS n FROM customers WHERE",
        {
            "parse/expressions_fail.sql": "1-11",
            "parse/groupby_fail.sql": "1",
            "parse/identifiers_fail.sql": "1-9",
            "parse/join_fail.sql": "1-2",
            "parse/order_fail.sql": "1-2",
            "parse/subqueries_fail.sql": "1",
            "parse/top_k_fail.sql": "1",
            "parse/where_fail.sql": "1",
        },
        rule="not_sql",
        why="it cannot be read",
    ),
)

SMARTNOISE = Suite(
    name="SmartNoise SQL",
    repository="opendp/smartnoise-sdk",
    commit="81d1351b383b5d45b0818ae140a7291b4ce4a841",
    where="`sql/tests/query/queries/<file>`; a position counts the statements, lines that begin with `--` left out",
    cases=_CASES,
    rejected={file: numbers for file, numbers in _CASES.items() if file.endswith("_fail.sql")},
    points=_POINTS,
)
