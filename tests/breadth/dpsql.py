"""lycorp-jp/DPSQL_Plus: the statements that its validator accepts and refuses."""

from __future__ import annotations

from tests.breadth.cases import Suite, no_meaning, rewritten, set_elsewhere, supported

_BAD_CTES, _BAD = "test_exception_privparser_ctes.py", "test_exception_privparser_non_ctes.py"
_CTES, _PLAIN = "test_privparser_ctes.py", "test_privparser_non_ctes.py"

_POINTS = (
    supported(
        "counts and sums, by groups or of all rows",
        "SELECT age, COUNT(hashed_email) AS b, SUM(price) AS s, COUNT(*) AS n FROM customers GROUP BY customers.age",
        {_PLAIN: "11-18, 23-29"},
    ),
    supported(
        "groups in an order, from one position on",
        "SELECT age, COUNT(hashed_email) AS n FROM customers c GROUP BY c.age ORDER BY c.age ASC LIMIT 10 OFFSET 5",
        {_PLAIN: "20"},
    ),
    rewritten(
        "an order by a column that the answer does not have",
        "SELECT COUNT(hashed_email) AS n FROM customers ORDER BY age ASC LIMIT 10 OFFSET 5",
        {_PLAIN: "19, 21-22"},
        rule="not_grouped",
        rewrite="SELECT COUNT(hashed_email) AS n FROM customers ORDER BY n LIMIT 10",
        why="the answer is one row, so that the order says nothing",
    ),
    rewritten(
        "a clamp as further arguments of an aggregate",
        "SELECT age, COUNT(hashed_email) AS n, SUM(spend, 0.0, 5.0) AS s FROM customers GROUP BY age",
        {_PLAIN: "30-31"},
        rule="not_sql",
        rewrite="SELECT age, COUNT(hashed_email) AS n, SUM(LEAST(GREATEST(spend, 0.0), 5.0)) AS s, "
        "AVG(LEAST(GREATEST(spend, 4.0), 10.0)) AS a, STDDEV(LEAST(GREATEST(spend, 2.4), 6.2)) AS d "
        "FROM customers GROUP BY age",
        why="LEAST and GREATEST say it in SQL",
    ),
    set_elsewhere(
        "epsilon, delta and a bound on contributions as options",
        "SELECT PRIVATE_QUERY OPTIONS(epsilon=3.0, delta=1e-5, contribution_bound=3) COUNT(age) AS n FROM customers",
        {_PLAIN: "32-33"},
        rule="not_sql",
        rewrite="SELECT COUNT(age) AS n, SUM(LEAST(GREATEST(age, 2), 6)) AS s FROM customers",
        why="the room's settings and the owner's policy say so",
    ),
    no_meaning(
        "queries of tables that are not private; the peer passes them on",
        "SELECT segment, COUNT(*) AS n FROM segments GROUP BY segment",
        {_PLAIN: "1-10"},
        rule="nothing_protected",
        why="there is nothing to release; own tables are queried at home",
    ),
    supported(
        "a CTE of rows or of per-entity aggregates with HAVING, or of a UNION ALL of them",
        "WITH p AS (SELECT hashed_email, city, AVG(age) AS a FROM customers WHERE age = 1 GROUP BY hashed_email, city "
        "HAVING AVG(age) > 3 UNION ALL SELECT hashed_email, city, AVG(age) FROM customers WHERE age = 2 "
        "GROUP BY hashed_email, city) "
        "SELECT city, COUNT(a) AS n, COUNT(DISTINCT a) AS d FROM p AS tbl GROUP BY tbl.city",
        {_CTES: "1, 3-5"},
    ),
    supported(
        "EXCEPT of per-entity aggregates",
        "WITH p AS (SELECT hashed_email, age FROM customers WHERE age > 1 EXCEPT SELECT hashed_email, age FROM "
        "customers WHERE age > 2) SELECT age, COUNT(*) AS n FROM p GROUP BY age",
        {_CTES: "2"},
    ),
    supported(
        "joins with a public table where the private side is kept, tables named with their owner",
        "WITH p AS (SELECT c.hashed_email, s.weight FROM segments s RIGHT JOIN airline.customers c "
        "ON c.hashed_email = s.email) SELECT weight, COUNT(*) AS n FROM p AS tbl GROUP BY tbl.weight",
        {_CTES: "6, 8"},
    ),
    rewritten(
        "a left join that keeps the public side whole",
        "WITH p AS (SELECT c.hashed_email, s.weight FROM segments s LEFT JOIN customers c ON c.hashed_email = s.email) "
        "SELECT weight, COUNT(*) AS n FROM p GROUP BY weight",
        {_CTES: "7"},
        rule="outer_join",
        rewrite="WITH p AS (SELECT c.hashed_email, s.weight FROM segments s JOIN customers c ON c.hashed_email = "
        "s.email) "
        "SELECT weight, COUNT(*) AS n FROM p GROUP BY weight",
        why="the unmatched rows have no entity, and the peer drops them too",
    ),
    supported(
        "two private tables joined on their entities, inner or outer, ON or USING, with further conditions and "
        "chains of "
        "CTEs; a CTE that is not used",
        "WITH p AS (SELECT a.email FROM flights a LEFT JOIN flights b USING (email, dest) RIGHT JOIN customers c "
        "ON a.email = c.hashed_email AND c.age = a.miles WHERE a.dest IN ('X', 'Y') GROUP BY a.email "
        "HAVING AVG(a.miles) > 1), q AS (SELECT email FROM p WHERE email = 'x'), u AS (SELECT nosuch FROM nowhere) "
        "SELECT COUNT(email) AS n, COUNT(DISTINCT email) AS d FROM q AS tbl",
        {_CTES: "9-17"},
    ),
    supported(
        "hints, as comments",
        "WITH p AS (SELECT /*+ REPARTITION(3) */ f.email FROM flights f) SELECT /* all */ COUNT(*) AS n FROM p",
        {_CTES: "18-21", _BAD_CTES: "31"},
    ),
    rewritten(
        "PIVOT, here of a private table; the peer lets it stand over public ones only",
        "SELECT COUNT(*) AS n FROM customers PIVOT(SUM(age) FOR city IN ('X', 'Y'))",
        {_CTES: "22-23", _BAD_CTES: "32-33"},
        rule="unsupported_clause",
        rewrite="SELECT SUM(CASE WHEN city = 'X' THEN age END) AS x, SUM(CASE WHEN city = 'Y' THEN age END) AS y "
        "FROM customers",
        why="an aggregate of a CASE for each value says the same",
    ),
    rewritten(
        "UNPIVOT",
        "SELECT COUNT(v) AS n FROM customers UNPIVOT(v FOR k IN (age, spend))",
        {_CTES: "24-26", _BAD_CTES: "34-36"},
        rule="unsupported_clause",
        rewrite="SELECT k, COUNT(v) AS n FROM (SELECT hashed_email, 'age' AS k, age AS v FROM customers UNION ALL "
        "SELECT hashed_email, 'spend' AS k, CAST(spend AS INTEGER) AS v FROM customers) u GROUP BY k",
        why="a UNION ALL of the columns says the same",
    ),
    supported(
        "rows multiplied by an array written out",
        "WITH p AS (SELECT c.hashed_email, a.value AS x, b.value AS y FROM customers c, "
        "LATERAL FLATTEN(input => ARRAY_CONSTRUCT(30, 60)) a, LATERAL FLATTEN(input => ARRAY_CONSTRUCT(40, 80)) b) "
        "SELECT x, COUNT(y) AS n, COUNT(DISTINCT y) AS d FROM p GROUP BY x",
        {_CTES: "27-28", _BAD_CTES: "37-38"},
    ),
    # refused by the peer
    supported(
        "the peer wants the entity in the list of each CTE, once and bare; here it comes along by itself",
        "WITH p AS (SELECT a.miles, a.email AS e, b.hashed_email AS f, LENGTH(a.email) AS l, s.email AS g "
        "FROM flights a JOIN customers b ON a.email = b.hashed_email JOIN segments s ON s.weight = a.miles) "
        "SELECT l, COUNT(miles) AS n FROM p GROUP BY l",
        {_BAD_CTES: "2, 4, 7-9, 11-12, 19, 27"},
    ),
    supported(
        "a CTE that aggregates the entities away is a measurement, and what stands above is free",
        "WITH p AS (SELECT city, AVG(age) AS a FROM customers WHERE age > 1 GROUP BY city) "
        "SELECT COUNT(a) AS n, COUNT(DISTINCT a) AS d FROM p AS tbl",
        {_BAD_CTES: "1, 5-6"},
    ),
    supported(
        "joins whose columns need no table in front, whose equalities are said twice, and CTEs of all columns",
        "WITH p AS (SELECT miles FROM flights JOIN customers ON hashed_email = flights.email AND flights.email = "
        "hashed_email), q AS (SELECT * FROM p) SELECT COUNT(miles) AS n FROM q",
        {_BAD_CTES: "16, 23, 25"},
    ),
    supported(
        "HAVING, keys that are not selected, and one column under two names",
        "SELECT age AS a, age AS b, COUNT(*) AS n FROM customers GROUP BY age, city HAVING COUNT(*) > 10",
        {_BAD: "5, 18, 20"},
    ),
    no_meaning(
        "two private tables joined without their entities, or not on them alone",
        "SELECT COUNT(*) AS n FROM flights a JOIN customers b ON a.email != b.hashed_email OR a.miles = b.age",
        {_BAD_CTES: "13-15, 17, 20, 26, 30"},
        rule="join_without_entity",
        why="a row would belong to two entities",
        rewrite="SELECT COUNT(*) AS n FROM flights a JOIN customers b ON a.email = b.hashed_email AND a.miles = b.age",
    ),
    no_meaning(
        "a table joined with itself under one name",
        "SELECT COUNT(*) AS n FROM flights JOIN flights ON flights.email = flights.email",
        {_BAD_CTES: "10, 18, 29"},
        rule="ambiguous_table",
        why="nothing says which of the two is meant",
        rewrite="SELECT COUNT(*) AS n FROM flights a JOIN flights b ON a.email = b.email",
    ),
    no_meaning(
        "conditions that are no truth values",
        "SELECT COUNT(*) AS n FROM flights a JOIN customers b ON a.email = b.hashed_email AND a.dest AND b.city",
        {_BAD_CTES: "21-22"},
        rule="type_mismatch",
        why="a text is not true or false",
        rewrite="SELECT COUNT(*) AS n FROM flights a JOIN customers b ON a.email = b.hashed_email AND a.dest = b.city",
    ),
    supported(
        "a column twice in USING says what it says once",
        "SELECT COUNT(*) AS n FROM flights a JOIN flights b USING (email, email)",
        {_BAD_CTES: "28"},
    ),
    no_meaning(
        "groups of one entity each",
        "SELECT hashed_email, COUNT(DISTINCT hashed_email) AS n FROM customers GROUP BY hashed_email",
        {_BAD_CTES: "3, 24", _BAD: "6, 11-12, 17"},
        rule="rows_released",
        why="each group is one entity",
        rewrite="SELECT age, COUNT(DISTINCT hashed_email) AS n FROM customers GROUP BY age",
    ),
    no_meaning(
        "rows, the entity's too",
        "SELECT hashed_email, age FROM customers WHERE age = 1",
        {_BAD: "4, 7, 9, 23-24"},
        rule="rows_released",
        why="every output is an aggregate or a group key",
    ),
    no_meaning(
        "all columns",
        "SELECT * FROM customers GROUP BY age",
        {_BAD: "10, 14"},
        rule="star",
        why="what a template releases is named in it",
    ),
    no_meaning(
        "columns that are neither grouped nor aggregated",
        "SELECT age, COUNT(DISTINCT hashed_email) AS n, hashed_email FROM customers GROUP BY age",
        {_BAD: "8, 13, 15-16, 19"},
        rule="not_grouped",
        why="it is no SQL",
    ),
    no_meaning(
        "a star with DISTINCT inside an aggregate",
        "SELECT SUM(DISTINCT *) AS s FROM customers",
        {_BAD: "1-3"},
        rule="distinct_values",
        why="it is no SQL",
    ),
    no_meaning(
        "a table declared private twice, in the text of a query",
        "ALTER TABLE customers SET TAG privacy = 'hashed_email'",
        {_BAD: "21-22"},
        rule="not_one_select",
        why="owners declare their tables when they link them",
    ),
)

DPSQL = Suite(
    name="DPSQL+",
    repository="lycorp-jp/DPSQL_Plus",
    commit="e1c09bf2119a9aa09f6e5bc7e7ef04a0945d5db1",
    where="`tests/validator/<file>`; a position counts the texts that are called `query`",
    cases={_BAD_CTES: "1-38", _BAD: "1-24", _CTES: "1-28", _PLAIN: "1-33"},
    rejected={_BAD_CTES: "1-38", _BAD: "1-24"},
    points=_POINTS,
)
