"""google/zetasql: the test data of ANONYMIZATION and DIFFERENTIAL_PRIVACY in analyzer, compliance and parser."""

from __future__ import annotations

from tests.breadth.cases import Numbers, Suite, no_meaning, rewritten, set_elsewhere, supported

A, D = "analyzer/anonymization", "analyzer/differential_privacy"
CA, CD = "compliance/anonymization", "compliance/differential_privacy"
PA, PD = "parser/anonymization.test", "parser/differential_privacy.test"
WHERE = "_subquery_in_where_clause.test"
IN_FROM = f"{D}_subquery_in_from_clause.test"
GROUPS = "_group_selection_strategy.test"
UNITS = f"{D}_privacy_unit_column.test"
COUNTS = "_thresholding_with_unique_counts.test"
SETS = f"{D}_set_operations"


def _same(rest: str, numbers: str) -> Numbers:
    return {f"{A}{rest}": numbers, f"{D}{rest}": numbers}


_CASES: Numbers = {
    f"{A}.test": "1-157",
    f"{A}_ddl.test": "1-11",
    f"{A}_disabled.test": "1-3",
    f"{A}_dml.test": "1-6",
    f"{A}{GROUPS}": "1-59",
    f"{A}_join.test": "1-40",
    f"{A}_max_rows_contributed.test": "1-16",
    f"{A}_set_operations.test": "1-9",
    f"{A}_subquery.test": "1-18",
    f"{A}{COUNTS}": "1-41",
    f"{A}_tvf.test": "1-31",
    f"{A}_with.test": "1-29",
    f"{D}.test": "1-93",
    f"{D}_array.test": "1-2",
    f"{D}_ddl.test": "1-11",
    f"{D}_disabled.test": "1",
    f"{D}_dml.test": "1-5",
    f"{D}{GROUPS}": "1-65",
    f"{D}_join.test": "1-40",
    f"{D}_max_groups_contributed.test": "1-12",
    f"{D}_max_rows_contributed.test": "1-15",
    f"{D}_options.test": "1-13",
    UNITS: "1-24",
    f"{D}_proto.test": "1-6",
    f"{D}_report.test": "1-36",
    f"{SETS}_basic.test": "1-3",
    f"{SETS}_complex.test": "1-2",
    f"{SETS}_userid_consistency.test": "1-4",
    f"{SETS}_userid_presence.test": "1-3",
    IN_FROM: "1-12",
    f"{D}{WHERE}": "1-18",
    f"{D}_tablesample.test": "1-5",
    f"{D}{COUNTS}": "1-51",
    f"{D}_tvf.test": "1-31",
    f"{D}_with.test": "1-30",
    f"{CA}.test": "1-152",
    f"{CA}_errors.test": "1-11",
    f"{CD}.test": "1-103",
    f"{CD}_errors.test": "1-14",
    PA: "1-14",
    PD: "1-24",
}

_REJECTED: Numbers = {
    f"{A}.test": "1-3, 10, 13-18, 20, 22-25, 28, 30, 35-37, 39, 41-42, 44, 47, 49, 56, 76, 82-84, 89, 102-113, 116, "
    "129-137, 141-143, 150-153, 157",
    f"{A}_ddl.test": "4, 6-7",
    f"{A}_disabled.test": "1-3",
    f"{A}{GROUPS}": "4-5, 13, 16, 18-28, 33, 37-39, 41, 43-45, 47, 49, 51-52",
    f"{A}_join.test": "1, 3-7, 9-11, 13, 16-17, 19, 21-24, 26-28, 35, 37, 39",
    f"{A}_max_rows_contributed.test": "4-16",
    f"{A}_set_operations.test": "1, 3-6",
    f"{A}_subquery.test": "1-2, 9, 11-12, 14, 16-17",
    f"{A}_tvf.test": "1, 8-10, 12, 18, 21, 28-30",
    f"{A}_with.test": "2-3, 6, 8-9, 15, 19, 27-28",
    f"{D}.test": "1-4, 10-11, 14, 16, 21-23, 28, 39-41, 46, 60-72, 74-75, 77-78, 80, 87-90",
    f"{D}_ddl.test": "4, 6-7",
    f"{D}_disabled.test": "1",
    f"{D}{GROUPS}": "2, 6-7, 19, 21-31, 36, 40-42, 44, 46-47, 50, 52, 54, 56-57",
    f"{D}_join.test": "1, 3-7, 9-11, 13, 16-17, 19, 21-24, 26-28, 35, 37, 39",
    f"{D}_max_groups_contributed.test": "4-9",
    f"{D}_max_rows_contributed.test": "1, 3-15",
    f"{D}_options.test": "4-13",
    UNITS: "6-10, 12, 14-16, 18-20, 22, 24",
    f"{D}_proto.test": "6",
    f"{D}_report.test": "1-3, 21-23, 26, 29-30, 36",
    f"{SETS}_userid_consistency.test": "1-4",
    f"{SETS}_userid_presence.test": "2",
    IN_FROM: "1-3, 5, 7-8, 10",
    f"{D}{WHERE}": "1-2, 9, 11-12, 14, 16-17",
    f"{D}{COUNTS}": "10",
    f"{D}_tvf.test": "1, 8-10, 12, 18, 21, 28-30",
    f"{D}_with.test": "2-3, 6, 8-9, 15, 19, 27-28",
    f"{CA}.test": "6-8, 49, 85, 91-92, 107, 111, 116, 120, 148-149",
    f"{CA}_errors.test": "4-11",
    f"{CD}.test": "7-8, 14, 56, 60, 64, 69, 73, 77, 98",
    f"{CD}_errors.test": "4-14",
    PA: "14",
    PD: "15-16, 20-21, 23",
}

_SETTINGS = "epsilon, delta and thresholds are the room's settings, agreed by both parties before any query"
_POLICY = "the owner's policy has max_groups and max_rows, which no query can raise"
_COUNT = "SELECT COUNT(*) AS n FROM flights"

_POINTS = (
    # aggregates
    supported(
        "counts, sums and averages of a column; bounds are declared, not guessed from the data",
        "SELECT COUNT(*) AS n, COUNT(miles) AS m, SUM(miles) AS s, AVG(miles) AS a FROM flights",
        {
            f"{A}.test": "4-8, 26, 48",
            f"{D}.test": "5-8, 12",
            f"{CA}.test": "9-15, 31-32, 55-61, 67-68",
            f"{CD}.test": "15-21, 27-28",
        },
    ),
    supported(
        "values clamped to a range that the query states",
        "SELECT dest, COUNT(*) AS n, SUM(LEAST(GREATEST(miles, 10), 100)) AS s, "
        "AVG(LEAST(GREATEST(miles, 2), 3)) AS a FROM flights GROUP BY dest",
        {
            f"{A}.test": "9",
            f"{D}.test": "9, 73",
            f"{CA}.test": "16-30, 33-34, 62-66, 69-70",
            f"{CD}.test": "9-13, 22-26, 29-30",
        },
    ),
    supported(
        "population variance and standard deviation, alone and beside a sum",
        "SELECT VAR_POP(miles) AS v, STDDEV_POP(miles) AS d, SUM(miles) AS s FROM flights",
        {f"{A}.test": "91-93, 95-98", f"{D}.test": "48-50, 52-55"},
    ),
    supported(
        "a deviation of values clamped by the query",
        "SELECT STDDEV_POP(LEAST(GREATEST(miles, 2), 3)) AS d FROM flights",
        {f"{A}.test": "94", f"{D}.test": "51", f"{D}_max_groups_contributed.test": "12"},
    ),
    supported(
        "percentiles, of all values or of clamped ones, and arithmetic on them",
        "SELECT ABS(PERCENTILE_CONT(0.4) WITHIN GROUP (ORDER BY miles) - 2) < 0.01 AS near, "
        "PERCENTILE_CONT(0.6) WITHIN GROUP (ORDER BY LEAST(GREATEST(miles, 1), 4)) AS p FROM flights",
        {f"{A}.test": "99-100", f"{D}.test": "56-58", f"{CA}.test": "50-52, 86-88", f"{CD}.test": "45-47"},
    ),
    rewritten(
        "several quantiles at once, as an array",
        "SELECT APPROX_QUANTILES(miles, 4) AS q FROM flights",
        {f"{A}.test": "101, 138", f"{D}.test": "59", f"{CA}.test": "93-96", f"{CD}.test": "50-53"}
        | {f"{D}_report.test": "24"},
        rule="aggregate_not_allowed",
        rewrite="SELECT PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY miles) AS q1, MEDIAN(miles) AS q2, "
        "PERCENTILE_CONT(0.75) WITHIN GROUP (ORDER BY miles) AS q3 FROM flights",
        why="there are no arrays; quantiles of one column share one measurement, so that several cost no more",
    ),
    supported(
        "the number of entities is the aggregate, and serves the threshold too",
        "SELECT dest, COUNT(DISTINCT email) AS n FROM flights GROUP BY dest",
        {
            f"{A}{COUNTS}": "1, 4-8, 11-17, 20-22, 41",
            f"{D}{COUNTS}": "1, 6-8, 11, 16-22, 28-30, 51",
        },
    ),
    supported(
        "sums of constants",
        "SELECT SUM(1) AS n, SUM(0) AS z, SUM(-1) AS m, SUM(1.0) AS d, SUM(1 + 1) AS t FROM flights",
        {f"{A}.test": "62-63", f"{D}.test": "29-30", f"{A}{COUNTS}": "23, 26, 29-34, 36, 40"}
        | {f"{D}{COUNTS}": "31, 36, 39-44, 46, 50"},
    ),
    no_meaning(
        "a sum of NULL",
        "SELECT SUM(NULL) AS n FROM flights",
        {f"{A}{COUNTS}": "35", f"{D}{COUNTS}": "45"},
        rule="missing_range",
        why="it sums no values, and nothing declares a range for it",
    ),
    supported(
        "expressions inside and around aggregates, with group keys beside them",
        "SELECT miles + COUNT(*) AS a, 1 + COUNT(miles + 1) AS b FROM flights GROUP BY miles",
        {f"{A}.test": "33-34, 52-53", f"{D}.test": "19-20, 26-27"},
    ),
    supported(
        "a condition inside an aggregate, and choosing between aggregates; rows joined with rows that the query brings",
        "SELECT CASE WHEN COUNT(*) > 0 THEN COUNT(*) ELSE COUNT(1 / (miles - 1)) END AS n, "
        "COUNT(IFF(TRUE, miles, NULL)) AS m FROM flights CROSS JOIN (VALUES (1), (2), (3)) AS v(x)",
        {f"{A}.test": "149, 156", f"{D}.test": "86, 93", f"{CA}.test": "35-36, 71-72, 138", f"{CD}.test": "31-32"},
    ),
    supported(
        "MAX beside a sum, with a private form",
        "SELECT SUM(miles) AS s, MAX(miles) AS m FROM flights",
        {f"{D}.test": "4"},
    ),
    no_meaning(
        "an aggregate that lists values",
        "SELECT ARRAY_AGG(miles) AS m FROM flights",
        {f"{A}.test": "157"},
        rule="aggregate_not_allowed",
        why="it gives values of single rows",
        rewrite="SELECT miles, COUNT(*) AS n FROM flights GROUP BY miles",
    ),
    no_meaning(
        "an aggregate of an aggregate",
        "SELECT SUM(COUNT(*)) AS n FROM flights",
        {f"{A}.test": "39", IN_FROM: "5"},
        rule="aggregate_not_allowed",
        why="it is no SQL; sums of noisy counts are taken above a subquery",
        rewrite="SELECT SUM(n) AS s FROM (SELECT dest, COUNT(*) AS n FROM flights GROUP BY dest) q",
    ),
    no_meaning(
        "a star where an aggregate needs a value",
        "SELECT SUM(*) AS s FROM flights",
        {f"{A}.test": "107-108, 131", f"{D}.test": "63-64", f"{D}_report.test": "21"},
        rule="function_form",
        why="it is no SQL",
        rewrite="SELECT SUM(miles) AS s FROM flights",
    ),
    no_meaning(
        "functions with the wrong arguments, or unknown ones",
        "SELECT ANON_COUNT(*) AS n FROM flights",
        {
            f"{A}.test": "2-3, 10, 47, 109-110, 116, 132-135",
            f"{A}_disabled.test": "2-3",
            f"{D}.test": "21-22, 68-72, 74-75, 80",
            f"{D}_report.test": "1-2, 22-23",
            PA: "12",
        },
        rule="function_not_allowed",
        why="aggregates have their usual names here, and are private because the table is",
        rewrite=_COUNT,
    ),
    # grouping
    supported(
        "groups by private keys, chosen by a threshold; keys alone too",
        "SELECT dest FROM flights GROUP BY dest",
        {
            f"{A}.test": "27, 29, 31-32",
            f"{D}.test": "13, 15, 17-18",
            f"{A}{GROUPS}": "1-3",
            f"{D}{GROUPS}": "1, 4-5",
            f"{CA}.test": "139",
            f"{CD}.test": "89",
        },
    ),
    no_meaning(
        "a column that is neither grouped nor aggregated",
        "SELECT dest, miles, COUNT(*) AS n FROM flights GROUP BY dest",
        {f"{A}.test": "30", f"{D}.test": "16"},
        rule="not_grouped",
        why="it is no SQL",
        rewrite="SELECT dest, miles, COUNT(*) AS n FROM flights GROUP BY dest, miles",
    ),
    no_meaning(
        "raw rows",
        "SELECT miles FROM flights",
        {f"{A}.test": "28", f"{D}.test": "2, 14", f"{A}_subquery.test": "10", f"{D}{WHERE}": "10"},
        rule="rows_released",
        why="every output is an aggregate or a group key",
        rewrite="SELECT AVG(miles) AS a FROM flights",
    ),
    supported(
        "grouping sets, which the peer refuses: each is a measurement",
        "SELECT dest, GROUPING(dest) AS g, SUM(miles) AS s FROM flights GROUP BY ROLLUP (dest)",
        {f"{A}.test": "102-104, 151-153", f"{D}.test": "60-62, 88-90"},
    ),
    rewritten(
        "GROUPING() in a plain grouping below the private query, or over a public table",
        "SELECT dest, SUM(m) AS s FROM (SELECT email, dest, GROUPING(dest) AS g, MAX(miles) AS m FROM flights "
        "GROUP BY email, dest) t GROUP BY dest",
        {f"{A}.test": "154-155", f"{D}.test": "91-92"},
        rule="aggregate_not_allowed",
        rewrite="SELECT dest, SUM(LEAST(GREATEST(m, 0), 5000)) AS s FROM (SELECT email, dest, 0 AS g, MAX(miles) AS m "
        "FROM flights GROUP BY email, dest) t GROUP BY dest",
        why="without grouping sets it is always 0",
    ),
    supported(
        "groups from a public table: all of them appear, none depends on the data",
        "SELECT s.segment, COUNT(*) AS n FROM flights f JOIN (SELECT DISTINCT email, segment FROM segments) s "
        "ON f.email = s.email GROUP BY s.segment",
        {f"{A}_join.test": "32", f"{D}_join.test": "32", f"{D}_max_groups_contributed.test": "2-3"},
    ),
    supported(
        "groups by rows that the query brings along, and totals of them",
        "SELECT x, COUNT(*) AS n FROM flights CROSS JOIN (SELECT 1 AS x UNION ALL SELECT 2 UNION ALL SELECT 3) v "
        "GROUP BY x ORDER BY x",
        {f"{CA}.test": "37, 73", f"{CD}.test": "33"},
    ),
    supported(
        "groups by the day of the week, which are known without a table of days",
        "SELECT DAYOFWEEK(since) AS d, COUNT(*) AS n FROM customers GROUP BY 1",
        {f"{A}{GROUPS}": "31-32", f"{D}{GROUPS}": "34-35"},
    ),
    rewritten(
        "public groups by an outer join that keeps the public table whole",
        "SELECT s.segment, COUNT(*) AS n FROM flights f RIGHT JOIN (SELECT DISTINCT segment, weight FROM segments) s "
        "ON f.miles = s.weight GROUP BY s.segment",
        {
            f"{A}{GROUPS}": "8-12, 14-15, 17, 29-30, 34-36, 40, 42, 48, 50, 53-59",
            f"{D}{GROUPS}": "3, 10-18, 20, 32-33, 37-39, 43, 45, 48-49, 53, 55, 58-63",
            f"{CA}.test": "141-142, 152",
            f"{CD}.test": "91-92, 101",
        },
        rule="outer_join",
        rewrite="SELECT s.segment, COUNT(*) AS n FROM flights f JOIN (SELECT DISTINCT segment, weight FROM segments) s "
        "ON f.miles = s.weight GROUP BY s.segment",
        why="rows of the public table without a match belong to no entity; an inner join gives the same groups, empty "
        "ones too, and does not count rows that nobody has",
    ),
    no_meaning(
        "outer joins whose unmatched rows belong to nobody",
        "SELECT COUNT(*) AS n FROM segments s LEFT JOIN flights f ON s.weight = f.miles",
        {
            f"{A}{GROUPS}": "13, 21, 26-28, 41",
            f"{D}{GROUPS}": "24, 29-31, 44",
            f"{A}_join.test": "17, 21, 23-24",
            f"{D}_join.test": "17, 21, 23-24",
        },
        rule="outer_join",
        why="a row without an entity has no owner",
        rewrite="SELECT COUNT(*) AS n FROM segments s JOIN flights f ON s.weight = f.miles",
    ),
    supported(
        "what the peer's rule for public groups forbids is no question here: keys are public where they are, "
        "and private ones get a threshold",
        "SELECT f.dest, s.segment, COUNT(*) AS n FROM flights f JOIN segments s ON f.email = s.email "
        "WHERE LENGTH(s.segment) < 5 GROUP BY f.dest, s.segment",
        {
            f"{A}{GROUPS}": "20, 22-24, 33, 37-38, 43-45, 47, 49, 51-52",
            f"{D}{GROUPS}": "23, 25-27, 36, 40-41, 46-47, 50, 52, 54, 56-57",
        },
    ),
    no_meaning(
        "public groups taken from another protected table without the entity in the join",
        "SELECT q.miles, COUNT(*) AS n FROM flights f RIGHT JOIN (SELECT DISTINCT miles FROM flights) q "
        "ON f.miles = q.miles GROUP BY q.miles",
        {f"{A}{GROUPS}": "25, 39", f"{D}{GROUPS}": "28, 42"},
        rule="join_noisy_with_table",
        why="the list of groups would be raw data",
        rewrite="SELECT miles, COUNT(*) AS n FROM flights GROUP BY miles",
    ),
    rewritten(
        "groups chosen by one noisy query, counted by another in the same run",
        "WITH g AS (SELECT dest FROM flights GROUP BY dest) "
        "SELECT g.dest, COUNT(*) AS n FROM flights f JOIN g ON f.dest = g.dest GROUP BY g.dest",
        {f"{CD}.test": "103"},
        rule="join_noisy_with_table",
        rewrite="SELECT dest, COUNT(*) AS n FROM flights GROUP BY dest",
        why="a query with private keys does both: it chooses its groups by a noisy number of entities, and counts them",
    ),
    # options
    set_elsewhere(
        "epsilon, delta, and the like as options of the query",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS (epsilon = 1, delta = 1e-6) COUNT(*) AS n FROM flights",
        {
            f"{A}.test": "11-12, 19, 21, 139",
            f"{D}_options.test": "1-3",
            f"{CA}_errors.test": "2-3",
            f"{CD}_errors.test": "2-3",
            PA: "1-6, 8, 13",
            PD: "1-6, 8, 22",
        },
        rule="not_sql",
        rewrite=_COUNT,
        why=_SETTINGS,
    ),
    no_meaning(
        "options that are unknown, given twice, of the wrong type, missing or out of range",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS (epsilon = -1) COUNT(*) AS n FROM flights",
        {
            f"{A}.test": "13-18, 20, 22-23, 105-106, 111-113, 129-130, 136-137, 141-143",
            f"{A}_disabled.test": "1",
            f"{A}{GROUPS}": "4-5, 16, 18-19",
            f"{D}.test": "65-67",
            f"{D}_disabled.test": "1",
            f"{D}{GROUPS}": "2, 6-7, 19, 21-22",
            f"{D}_options.test": "4-13",
            f"{D}_report.test": "3, 26, 29-30, 36",
            f"{CA}.test": "6-8, 49, 85, 91-92, 148-149",
            f"{CA}_errors.test": "4-11",
            f"{CD}.test": "7-8, 14, 98",
            f"{CD}_errors.test": "4-12",
            PA: "14",
            PD: "13-16, 20-21, 23-24",
        },
        rule="not_sql",
        rewrite=_COUNT,
        why=_SETTINGS + "; they are checked when they are set",
    ),
    no_meaning(
        "more epsilon for the parts than the whole has",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS (epsilon = 1.1) dest, COUNT(*, epsilon => 1.3) AS n FROM flights "
        "GROUP BY dest",
        {f"{CD}_errors.test": "13-14"},
        rule="not_sql",
        rewrite="SELECT dest, cleanroom.addnoise(COUNT(*), 1.3, RANDOM()) AS n FROM flights GROUP BY dest",
        why="the price is the sum of the parts; a run that costs more than remains is refused before data is read",
    ),
    set_elsewhere(
        "epsilon for one aggregate",
        "SELECT dest, COUNT(*, epsilon => 0.5) AS n FROM flights GROUP BY dest",
        {f"{CD}.test": "102"},
        rule="unsupported_clause",
        rewrite="SELECT dest, cleanroom.addnoise(COUNT(*), 0.5, RANDOM()) AS n, ROUND(AVG(miles), 3) AS a "
        "FROM flights GROUP BY dest",
        why="addnoise gives the aggregates inside it an epsilon of their own",
    ),
    set_elsewhere(
        "how many groups and rows one entity may weigh, as options",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS (max_groups_contributed = 3) dest, COUNT(*) AS n FROM flights "
        "GROUP BY dest",
        {
            f"{D}_max_groups_contributed.test": "1, 10-11",
            f"{A}_max_rows_contributed.test": "1-3",
            f"{D}_max_rows_contributed.test": "2",
            f"{CA}.test": "135-137",
            f"{CD}.test": "36",
        },
        rule="not_sql",
        rewrite="SELECT dest, COUNT(*) AS n FROM flights GROUP BY dest",
        why=_POLICY,
    ),
    no_meaning(
        "such options out of range, twice, or in combinations that the peer has not",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS (max_rows_contributed = 0) COUNT(*) AS n FROM flights",
        {
            f"{D}_max_groups_contributed.test": "4-9",
            f"{A}_max_rows_contributed.test": "4-16",
            f"{D}_max_rows_contributed.test": "1, 3-15",
            f"{D}{COUNTS}": "10",
        },
        rule="not_sql",
        rewrite=_COUNT,
        why=_POLICY,
    ),
    set_elsewhere(
        "the strategy for choosing groups, without GROUP BY",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS (group_selection_strategy = PUBLIC_GROUPS) COUNT(*) AS n FROM "
        "flights",
        {f"{A}{GROUPS}": "6-7", f"{D}{GROUPS}": "8-9", f"{CA}.test": "140", f"{CD}.test": "90"},
        rule="not_sql",
        rewrite=_COUNT,
        why="whether keys are public follows from the columns' domains",
    ),
    set_elsewhere(
        "a smallest number of entities per group",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS (min_privacy_units_per_group = 3) dest, SUM(miles) AS s "
        "FROM flights GROUP BY dest",
        {f"{CA}.test": "143-147, 150-151", f"{CD}.test": "93-97, 99-100"},
        rule="not_sql",
        rewrite="SELECT dest, SUM(miles) AS s FROM flights GROUP BY dest",
        why="the room's threshold_value and the owner's min_entities say so, for all queries",
    ),
    set_elsewhere(
        "reports with confidence intervals",
        "SELECT COUNT(*, report_format => 'JSON') AS n FROM flights",
        {
            f"{A}.test": "114-115, 117-128, 140",
            f"{A}{COUNTS}": "2-3, 9-10, 18-19, 24-25, 27-28, 37-39",
            f"{D}{COUNTS}": "2-5, 12-15, 24-27, 32-35, 37-38, 47-49",
            f"{D}_report.test": "4-20, 25, 27-28, 31-35",
            f"{CA}.test": "97-106, 108-110, 112-115, 117-119, 121-134",
            f"{CD}.test": "1, 54-55, 57-59, 61-63, 65-68, 70-72, 74-76, 78-88",
            PD: "12",
        },
        rule="unsupported_clause",
        rewrite=_COUNT,
        why="every released number comes with its interval",
    ),
    no_meaning(
        "bounds guessed from too little data make the peer's run fail",
        "SELECT SUM(DATEDIFF('day', since, seen)) AS s FROM customers WHERE age > 1000",
        {f"{CA}.test": "107, 111, 116, 120", f"{CD}.test": "56, 60, 64, 69, 73, 77"},
        rule="missing_range",
        why="a refusal never depends on rows: bounds are declared, and an empty table gives noise around 0",
        rewrite="SELECT SUM(LEAST(GREATEST(DATEDIFF('day', since, seen), -9), 9)) AS s FROM customers WHERE age > 1000",
    ),
    set_elsewhere(
        "the column that says whose a row is, as an option",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS (privacy_unit_column = email) COUNT(*) AS n FROM flights",
        {UNITS: "1, 3-5, 11, 13, 21", f"{D}{GROUPS}": "64-65", f"{D}{COUNTS}": "9, 23"},
        rule="not_sql",
        rewrite=_COUNT,
        why="the owner of the table pins it when linking; a query cannot choose another",
    ),
    no_meaning(
        "another entity column than the owner's, or none that exists",
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS (privacy_unit_column = nosuch) COUNT(*) AS n FROM flights",
        {UNITS: "6-10, 12, 14-16, 18-20, 22, 24"},
        rule="not_sql",
        rewrite=_COUNT,
        why="only the owner says whose the rows are",
    ),
    # subqueries, CTEs
    supported(
        "subqueries and CTEs below an aggregation; the entity comes along where they do not select it",
        "WITH t1 AS (SELECT * FROM flights), t2 AS (SELECT * FROM t1) "
        "SELECT COUNT(q.miles) AS n FROM (SELECT a.miles FROM (SELECT b.miles, b.email FROM t2 b) a) q",
        {
            f"{A}.test": "35-38",
            f"{A}_with.test": "1, 3-5, 13, 22-24, 26-27, 29",
            f"{D}_with.test": "1, 3-5, 13, 22-24, 26-27, 29-30",
            IN_FROM: "1-4",
        },
    ),
    supported(
        "aggregates per entity below the private one",
        "SELECT COUNT(*) AS n FROM (SELECT y, COUNT(*) AS c FROM (SELECT email AS x, email AS y FROM flights) z "
        "GROUP BY x, y) q",
        {f"{A}.test": "40, 42-43", IN_FROM: "6, 8-9"},
    ),
    supported(
        "an aggregation without the entity is a measurement, and what stands above is free",
        "SELECT SUM(c) AS n FROM (SELECT SUBSTR(email, 1, 3) AS x, COUNT(*) AS c FROM flights "
        "GROUP BY SUBSTR(email, 1, 3)) q",
        {
            f"{A}.test": "41, 44, 67, 76, 82-84",
            f"{D}.test": "39-41",
            f"{D}_proto.test": "6",
            IN_FROM: "7, 10",
            f"{A}_with.test": "9, 25",
            f"{D}_with.test": "9, 25",
            f"{CA}.test": "38-40, 74-76",
            f"{CD}.test": "34-35",
        },
    ),
    no_meaning(
        "which rows of a per-entity aggregate come first, among those of all entities",
        "SELECT COUNT(*) AS n FROM (SELECT email, COUNT(*) AS c FROM flights GROUP BY email ORDER BY c LIMIT 10) q",
        {f"{A}.test": "45", IN_FROM: "11", f"{A}{GROUPS}": "46", f"{D}{GROUPS}": "51"}
        | {f"{A}_with.test": "28", f"{D}_with.test": "28"},
        rule="limit_on_protected",
        why="which rows remain depends on other entities; the peer drops the order or trusts the count of rows",
        rewrite="SELECT COUNT(*) AS n FROM (SELECT email, miles FROM flights "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY email ORDER BY miles) <= 10) q",
    ),
    rewritten(
        "noisy numbers joined with public rows",
        "SELECT COUNT(*) AS n FROM (SELECT COUNT(*) AS m FROM flights) q CROSS JOIN segments",
        {f"{A}.test": "46", IN_FROM: "12"},
        rule="join_noisy_with_table",
        rewrite="SELECT COUNT(*) AS n FROM (SELECT COUNT(*) AS m FROM flights) q "
        "CROSS JOIN (VALUES ('e0', 'wide', 1.0), ('e1', 'slim', 2.0)) AS segments(email, segment, weight)",
        why="what is released is computed by a function that can read no table; the reader's rows stand in the text, "
        "as arguments of the template",
    ),
    rewritten(
        "public rows that appear or not as a noisy number says",
        "SELECT weight FROM segments WHERE 123 IN (SELECT SUM(miles) FROM flights)",
        {f"{A}_subquery.test": "3, 15", f"{D}{WHERE}": "3, 15"},
        rule="join_noisy_with_table",
        rewrite="SELECT weight FROM (VALUES (1.0), (2.0)) AS segments(weight) WHERE 123 IN (SELECT SUM(miles) FROM "
        "flights)",
        why="likewise",
    ),
    rewritten(
        "protected rows joined with noisy numbers of the same query, or kept as they say",
        "SELECT COUNT(*) AS n FROM flights WHERE miles < (SELECT AVG(miles) FROM flights)",
        {f"{D}.test": "77-78", f"{A}_subquery.test": "16-17", f"{D}{WHERE}": "16-17"},
        rule="join_noisy_with_table",
        rewrite="SELECT COUNT(*) AS n FROM flights WHERE miles < 345.0",
        why="no run reads a table after its noise is drawn: in two runs, the number of the first is an argument of the "
        "second, and both are charged",
    ),
    no_meaning(
        "a query of public rows beside an unused protected one",
        "WITH t1 AS (SELECT * FROM flights), t2 AS (SELECT weight FROM segments) SELECT weight FROM t2",
        {
            f"{A}.test": "24",
            f"{A}_set_operations.test": "1",
            f"{A}_with.test": "2, 10-11",
            f"{D}.test": "3, 10",
            f"{D}_with.test": "2, 10-11",
            f"{SETS}_userid_presence.test": "2",
        },
        rule="nothing_protected",
        why="nothing protected is read, so there is nothing to release; own tables are queried at home",
    ),
    supported(
        "two private results as the parts of a UNION, outermost",
        "SELECT COUNT(*) AS n FROM flights UNION ALL (SELECT COUNT(*) FROM customers) UNION SELECT 2 FROM customers "
        "GROUP BY active ORDER BY n LIMIT 9",
        {
            f"{A}.test": "64",
            f"{D}.test": "76",
            f"{SETS}_basic.test": "1",
            f"{CA}.test": "42-43, 47-48, 78-79, 83-84",
            f"{CD}.test": "38-39, 43-44",
        },
    ),
    supported(
        "INTERSECT and EXCEPT of two private results",
        "SELECT COUNT(*) AS n FROM flights INTERSECT (SELECT COUNT(*) AS n FROM customers EXCEPT SELECT COUNT(*) "
        "FROM planes)",
        {f"{A}.test": "65-66", f"{SETS}_basic.test": "2-3"},
    ),
    no_meaning(
        "a private result beside the exact one, to compare them",
        "SELECT a.v, b.v AS exact FROM (SELECT VAR_POP(miles) AS v FROM flights) a CROSS JOIN (SELECT miles AS v "
        "FROM flights) b",
        {
            f"{A}_with.test": "12",
            f"{D}_with.test": "12",
            f"{D}.test": "79",
            f"{CA}.test": "41, 44-46, 53-54, 77, 80-82, 89-90",
            f"{CD}.test": "37, 40-42, 48-49",
        },
        rule="join_noisy_with_table",
        why="the exact one is what must not leave",
    ),
    no_meaning(
        "recursion",
        "WITH RECURSIVE t AS (SELECT miles, email FROM flights UNION ALL SELECT miles + 1, email FROM t) "
        "SELECT COUNT(*) AS n FROM t",
        _same("_with.test", "6-8"),
        rule="unsupported_clause",
        why="a query has an end that can be told from its text",
        rewrite=_COUNT,
    ),
    supported(
        "conditions by subqueries over public rows, nested too",
        "SELECT COUNT(*) AS n FROM flights WHERE EXISTS (SELECT weight FROM segments WHERE 3 IN (SELECT weight FROM "
        "segments))",
        {f"{A}_subquery.test": "6, 13", f"{D}{WHERE}": "6, 13"},
    ),
    no_meaning(
        "conditions by subqueries over other entities' rows",
        "SELECT COUNT(*) AS n FROM flights WHERE EXISTS (SELECT miles FROM flights)",
        {
            f"{A}.test": "150",
            f"{D}.test": "87",
            f"{A}_subquery.test": "1-2, 9, 11-12, 14",
            f"{D}{WHERE}": "1-2, 9, 11-12, 14",
        },
        rule="subquery_entity",
        why="one entity's row would depend on all others; about the same entity it may",
        rewrite="SELECT COUNT(*) AS n FROM flights f WHERE EXISTS (SELECT 1 FROM customers c WHERE c.hashed_email = "
        "f.email)",
    ),
    no_meaning(
        "public rows that appear if there are protected ones; the peer leaves such queries to the caller",
        "SELECT weight FROM segments WHERE EXISTS (SELECT 1 FROM flights)",
        {f"{A}_subquery.test": "4-5, 18", f"{D}{WHERE}": "4-5, 18"},
        rule="subquery_entity",
        why="they would say exactly whether there are any",
    ),
    # joins
    supported(
        "two protected tables joined on the entity, with further conditions, ON, USING or WHERE",
        "SELECT COUNT(*) AS n FROM flights a JOIN flights b USING (email) JOIN customers c "
        "ON c.hashed_email = a.email AND c.age = a.miles, segments s WHERE s.email = a.email",
        {
            f"{A}_join.test": "2, 8-10, 14-15, 33-34, 36, 38, 40",
            f"{D}_join.test": "2, 8-10, 14-15, 33-34, 36, 38, 40",
            f"{A}_with.test": "14, 18",
            f"{D}_with.test": "14, 18",
        },
    ),
    supported(
        "joins with public rows: crossed, on a condition, outer where the protected side is kept",
        "SELECT COUNT(*) AS n FROM segments s RIGHT JOIN (SELECT f.miles FROM flights f LEFT JOIN segments t "
        "ON f.miles = t.weight CROSS JOIN segments u) q ON s.weight = q.miles",
        {f"{A}_join.test": "18, 20", f"{D}_join.test": "18, 20"}
        | {f"{A}_with.test": "16-17, 20-21", f"{D}_with.test": "16-17, 20-21"},
    ),
    supported(
        "per-entity aggregates joined with one another, with rows, and with an aggregate of public rows",
        "SELECT COUNT(*) AS n FROM (SELECT email, COUNT(*) AS t FROM flights GROUP BY email) a "
        "JOIN (SELECT email, MAX(miles) AS t FROM flights GROUP BY email) b ON a.email = b.email, "
        "(SELECT COUNT(*) AS t FROM segments) c",
        {f"{A}_join.test": "29-31", f"{D}_join.test": "29-31"},
    ),
    supported(
        "columns of the side that an outer join of two protected tables may leave out",
        "SELECT COUNT(*) AS n FROM (SELECT a.email FROM flights a RIGHT JOIN customers b ON a.email = "
        "b.hashed_email) q",
        {f"{A}_join.test": "19, 22, 35, 37", f"{D}_join.test": "19, 22, 35, 37"},
    ),
    rewritten(
        "a full join of two protected tables on the entity",
        "SELECT COUNT(*) AS n FROM flights a FULL JOIN customers b ON a.email = b.hashed_email",
        {f"{A}_join.test": "25-26", f"{D}_join.test": "25-26"},
        rule="outer_join",
        rewrite="SELECT COUNT(*) AS n FROM (SELECT a.email FROM flights a LEFT JOIN customers b ON a.email = "
        "b.hashed_email UNION ALL SELECT b.hashed_email FROM customers b ANTI JOIN flights a ON a.email = "
        "b.hashed_email) u",
        why="it is a left join and the rows of the other side that match nothing",
    ),
    supported(
        "joins in brackets",
        "SELECT COUNT(*) AS n FROM ((segments a CROSS JOIN segments b) CROSS JOIN flights c) "
        "JOIN customers d ON c.email = d.hashed_email",
        {f"{A}_join.test": "12", f"{D}_join.test": "12"},
    ),
    no_meaning(
        "two protected tables joined without the entity",
        "SELECT COUNT(*) AS n FROM flights a JOIN flights b ON a.miles = b.miles OR a.email = b.email",
        {
            f"{A}_join.test": "1, 3-7, 11, 13, 16, 39",
            f"{D}_join.test": "1, 3-7, 11, 13, 16, 39",
            f"{A}_with.test": "15, 19",
            f"{D}_with.test": "15, 19",
        },
        rule="join_without_entity",
        why="a row would belong to two entities",
        rewrite="SELECT COUNT(*) AS n FROM flights a JOIN flights b ON a.email = b.email AND a.miles = b.miles",
    ),
    no_meaning(
        "two protected tables whose entities are not of one kind",
        "SELECT COUNT(*) AS n FROM flights a JOIN planes b ON a.email = b.tailnum",
        {f"{A}_join.test": "27", f"{D}_join.test": "27"},
        rule="different_entities",
        why="their owners say that they are different things",
    ),
    # set operations
    supported(
        "UNION and UNION ALL of one kind of entity, nested, and crossed with public rows",
        "SELECT COUNT(*) AS n FROM (SELECT * FROM flights UNION ALL (SELECT * FROM flights UNION SELECT * FROM "
        "flights)) "
        "u CROSS JOIN (SELECT weight FROM segments UNION ALL SELECT weight FROM segments) v",
        {
            f"{A}_set_operations.test": "7-9",
            f"{SETS}_complex.test": "1-2",
            f"{SETS}_userid_presence.test": "3",
        },
    ),
    supported(
        "rows of one table that are, or are not, in another",
        "SELECT COUNT(*) AS n FROM (SELECT * FROM flights EXCEPT SELECT * FROM flights WHERE miles > 300) u",
        {f"{A}_set_operations.test": "2", f"{SETS}_userid_presence.test": "1"},
    ),
    no_meaning(
        "UNION of tables whose entities differ, or with rows of nobody",
        "SELECT COUNT(*) AS n FROM (SELECT email FROM flights UNION ALL SELECT tailnum FROM planes) u",
        {f"{A}_set_operations.test": "3-6", f"{SETS}_userid_consistency.test": "1-4"},
        rule="different_entities",
        why="one bound cannot hold for both; each can be counted alone",
        rewrite="SELECT SUM(n) AS n FROM (SELECT COUNT(*) AS n FROM flights UNION ALL SELECT COUNT(*) AS n FROM "
        "planes) u",
    ),
    # windows
    no_meaning(
        "a window over all entities",
        "SELECT COUNT(*) AS n FROM (SELECT RANK() OVER (ORDER BY miles) AS r FROM flights) q",
        {f"{A}.test": "56", f"{D}.test": "28"},
        rule="window_over_entities",
        why="a row's rank depends on the rows of others",
        rewrite="SELECT COUNT(*) AS n FROM (SELECT RANK() OVER (PARTITION BY email ORDER BY miles) AS r FROM "
        "flights) q",
    ),
    # what is no query of tables
    no_meaning(
        "SELECT without FROM",
        "SELECT COUNT(*) AS n",
        {f"{A}.test": "1", f"{D}.test": "1", PA: "7", PD: "7"},
        rule="no_from",
        why="there is nothing to protect",
        rewrite=_COUNT,
    ),
    no_meaning(
        "statements that create or change something",
        "CREATE TABLE n AS SELECT COUNT(*) AS n FROM flights",
        {
            f"{A}_ddl.test": "1-11",
            f"{A}_dml.test": "1-6",
            f"{D}_ddl.test": "1-11",
            f"{D}_dml.test": "1-5",
            f"{CA}.test": "1-5",
            f"{CA}_errors.test": "1",
            f"{CD}.test": "2-6",
            f"{CD}_errors.test": "1",
            PA: "9-11",
            PD: "9-11",
        },
        rule="not_one_select",
        why="a template releases numbers and changes nothing",
        rewrite=_COUNT,
    ),
    no_meaning(
        "functions that give tables",
        "SELECT COUNT(*) AS n FROM TABLE(flights_of('AA'))",
        _same("_tvf.test", "1-31") | {f"{A}_subquery.test": "7", f"{D}{WHERE}": "7"},
        rule="unsupported_source",
        why="there are none: FROM names tables that their owners linked",
        rewrite=_COUNT,
    ),
    no_meaning(
        "samples of the rows",
        "SELECT COUNT(*) AS n FROM flights SAMPLE (10)",
        {f"{A}.test": "57-61", f"{D}_tablesample.test": "1-5"},
        rule="unsupported_clause",
        why="a sample adds error and takes nothing off the price; one by blocks or a number of rows depends on others",
        rewrite=_COUNT,
    ),
    supported(
        "columns that hold arrays, and their elements as rows",
        "SELECT f.value, COUNT(*) AS n FROM customers c INNER JOIN UNNEST(c.tags) AS f(value) ON TRUE GROUP BY f.value",
        {f"{A}.test": "54-55", f"{D}_array.test": "1-2"},
    ),
    supported(
        "rows of an array written out, if there is a private result, or if it is among them",
        "SELECT u FROM UNNEST([1, 60]) AS u WHERE EXISTS (SELECT COUNT(*) FROM flights) "
        "AND u IN (SELECT COUNT(*) FROM flights)",
        {f"{A}.test": "69-70", f"{D}.test": "32-33"},
    ),
    supported(
        "an array of a private result, made rows of",
        "SELECT n FROM UNNEST(ARRAY(SELECT COUNT(*) FROM flights)) AS n",
        {f"{A}.test": "68", f"{D}.test": "31"},
    ),
    rewritten(
        "a group key that is a subquery over an array written out, of two rows where one value is wanted",
        "SELECT dest, (SELECT a FROM UNNEST([1, 2]) AS e(a)) AS x, SUM(miles) AS s FROM flights GROUP BY 1, 2",
        {f"{A}.test": "144-145, 148", f"{D}.test": "81-82, 85"},
        rule="subquery_expression",
        rewrite="SELECT dest, (SELECT MAX(a) FROM UNNEST([1, 2]) AS e(a)) AS x, SUM(miles) AS s FROM flights "
        "GROUP BY 1, 2",
        why="it would fail when it runs; an aggregate gives one value",
    ),
    rewritten(
        "an array filtered by a lambda, as a group key or beside one",
        "SELECT dest, ARRAY_TO_STRING(FILTER(SPLIT(dest, ','), e -> e = 'x'), ',') AS x, SUM(miles) AS s FROM flights "
        "GROUP BY 1, 2",
        {f"{A}.test": "146-147", f"{D}.test": "83-84"},
        rule="function_not_allowed",
        rewrite="SELECT dest, CASE WHEN ARRAY_CONTAINS('x', SPLIT(dest, ',')) THEN 'x' ELSE '' END AS x, "
        "SUM(miles) AS s FROM flights GROUP BY 1, 2",
        why="ARRAY_CONTAINS asks for an element; FLATTEN in FROM and WHERE filter them",
    ),
    no_meaning(
        "groups of one entity each, where an array of its own overlaps with one written out",
        "SELECT c.hashed_email, COUNT(*) AS n FROM customers c WHERE ARRAYS_OVERLAP(c.tags, ['a', 'b']) GROUP BY 1",
        {f"{A}_subquery.test": "8", f"{D}{WHERE}": "8"},
        rule="rows_released",
        why="each group is one entity",
        rewrite="SELECT AVG(LEAST(n, 9)) AS a FROM (SELECT hashed_email, COUNT(*) AS n FROM customers "
        "WHERE ARRAYS_OVERLAP(tags, ['a', 'b']) GROUP BY 1) q",
    ),
    no_meaning(
        "structs, protocol buffers and value tables, as columns, entities or results",
        "SELECT c.other.a AS a, COUNT(*) AS n FROM customers c GROUP BY 1",
        {
            f"{A}.test": "25, 50, 71-75, 77-81, 87-90",
            f"{A}_join.test": "28",
            f"{D}.test": "11, 24, 34-38, 44-47",
            f"{D}_join.test": "28",
            f"{D}_proto.test": "1-5",
            UNITS: "2, 17, 23",
        },
        rule="unknown_column",
        why="columns have simple types; the owner links the fields as columns",
    ),
    no_meaning(
        "groups of one entity each",
        "SELECT * FROM (SELECT email, COUNT(*) AS n FROM flights GROUP BY email) a "
        "JOIN (SELECT email, SUM(miles) AS s FROM flights GROUP BY email) b ON a.email = b.email",
        {f"{A}.test": "85", f"{D}.test": "42"},
        rule="star",
        why="no threshold lets a group of one appear",
        rewrite="SELECT AVG(LEAST(GREATEST(s / n, 0), 5000)) AS a FROM (SELECT email, COUNT(*) AS n, SUM(miles) AS s "
        "FROM flights GROUP BY email) a",
    ),
    supported(
        "the whole query in brackets",
        "(SELECT COUNT(miles) AS n FROM flights)",
        {f"{A}.test": "86", f"{D}.test": "43"},
    ),
    no_meaning(
        "hints for an engine",
        "SELECT @{hint=1} COUNT(*) AS n FROM flights",
        {f"{A}.test": "51", f"{D}.test": "25", PD: "17-19"},
        rule="not_sql",
        why="the query is generated anew, and the engine decides",
        rewrite=_COUNT,
    ),
    rewritten(
        "DISTINCT above aggregates",
        "SELECT DISTINCT COUNT(miles) AS n FROM flights",
        {f"{A}.test": "49", f"{D}.test": "23"},
        rule="unsupported_clause",
        rewrite="SELECT DISTINCT n FROM (SELECT COUNT(miles) AS n FROM flights) q",
        why="the grouped query becomes a subquery, and DISTINCT stands above it",
    ),
)

ZETASQL = Suite(
    name="ZetaSQL",
    repository="google/zetasql",
    commit="2d8f7b7db9e4ede0557664d256f49804069356e5",
    where="`zetasql/<folder>/testdata/<file>`; a position counts the blocks between lines of `==`; empty blocks are "
    "none",
    cases=_CASES,
    rejected=_REJECTED,
    points=_POINTS,
)
