"""Functions give what Snowflake's documentation says; the page is named by its function."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import duckdb
import pytest
import sqlglot

from cleanroom.errors import TemplateRefusedError
from cleanroom.templates.expressions import translate
from cleanroom.templates.relations import RowScope
from cleanroom.templates.trees import to_sql

D, TS = date.fromisoformat, datetime.fromisoformat
EXAMPLES: list[tuple[str, str, Any]] = [
    ("add_months", "ADD_MONTHS('2016-05-15'::DATE, 2)", D("2016-07-15")),
    ("add_months", "ADD_MONTHS('2016-02-29'::DATE, 1)", D("2016-03-31")),
    ("add_months", "ADD_MONTHS('2016-05-31'::DATE, -1)", D("2016-04-30")),
    ("add_months", "ADD_MONTHS('2016-02-29 10:11:12'::TIMESTAMP_NTZ, 1)", TS("2016-03-31 10:11:12")),
    ("ascii", "ASCII('!')", 33),
    ("ascii", "ASCII('')", 0),
    ("bitand", "BITAND(5, 3)", 1),
    ("bitnot", "BITNOT(1)", -2),
    ("bitxor", "BITXOR(5, 3)", 6),
    ("cbrt", "ROUND(CBRT(-27), 9)", -3.0),
    ("ceil", "CEIL(135.135, 1)", 135.2),
    ("ceil", "CEIL(135.135, -2)", 200.0),
    ("ceil", "CEIL(-135.135, 1)", -135.1),
    ("charindex", "CHARINDEX('an', 'banana')", 2),
    ("charindex", "CHARINDEX('x', 'banana')", 0),
    ("chr", "CHR(8364)", "€"),
    ("chr", "CHR(0)", None),
    ("concat_ws", "CONCAT_WS(',', 'one', 'two', 'three')", "one,two,three"),
    ("concat_ws", "CONCAT_WS(',', 'one', NULL, 'three')", None),
    ("concat_ws", "CONCAT_WS(',', 'one')", "one"),
    ("contains", "CONTAINS('coffee', 'te')", False),
    ("date_from_parts", "DATE_FROM_PARTS(1977, 8, 7)", D("1977-08-07")),
    ("date_from_parts", "DATE_FROM_PARTS(2004, 1, 0)", D("2003-12-31")),
    ("date_from_parts", "DATE_FROM_PARTS(2004, 1, -1)", D("2003-12-30")),
    ("date_from_parts", "DATE_FROM_PARTS(2010, 1, 100)", D("2010-04-10")),
    ("date_from_parts", "DATE_FROM_PARTS(2010, 13, 1)", D("2011-01-01")),
    ("date_from_parts", "DATE_FROM_PARTS(2010, 0, 1)", D("2009-12-01")),
    ("date_part", "DATE_PART(quarter, '2013-05-08'::DATE)", 2),
    ("date_part", "DATE_PART(epoch_second, '2013-05-08 23:39:20.123'::TIMESTAMP_NTZ)", 1368056360),
    ("date_part", "DATE_PART(epoch_millisecond, '2013-05-08 23:39:20.123'::TIMESTAMP_NTZ)", 1368056360123),
    ("date_trunc", "DATE_TRUNC('quarter', '2015-05-08'::DATE)", D("2015-04-01")),
    ("date_trunc", "DATE_TRUNC('week', '2015-05-08'::DATE)", D("2015-05-04")),
    ("date_trunc", "DATE_TRUNC('minute', '2015-05-08 23:39:20'::TIMESTAMP_NTZ)", TS("2015-05-08 23:39:00")),
    ("dateadd", "DATEADD(month, 1, '2000-01-31'::DATE)", D("2000-02-29")),
    ("dateadd", "DATEADD('year', 2, '2013-05-08'::DATE)", D("2015-05-08")),
    ("dateadd", "DATEADD('hour', 2, '2013-05-08'::DATE)", TS("2013-05-08 02:00:00")),
    ("dateadd", "DATEADD('week', -1, '2013-05-08'::DATE)", D("2013-05-01")),
    ("datediff", "DATEDIFF(year, '2010-04-09'::DATE, '2013-05-08'::DATE)", 3),
    ("datediff", "DATEDIFF(hour, '2013-05-08 23:39:20'::TIMESTAMP_NTZ, '2013-05-10 01:00:00'::TIMESTAMP_NTZ)", 26),
    ("datediff", "DATEDIFF(month, '2017-01-31'::DATE, '2017-02-01'::DATE)", 1),
    ("datediff", "DATEDIFF(week, '2017-01-01'::DATE, '2017-01-02'::DATE)", 1),  # Sunday to Monday
    ("datediff", "DATEDIFF(day, '2020-01-02'::DATE, '2020-01-01'::DATE)", -1),
    ("dayname", "DAYNAME('2015-05-01'::DATE)", "Fri"),
    ("dayname", "DAYNAME('2015-05-03 10:00:00'::TIMESTAMP_NTZ)", "Sun"),
    ("decode", "DECODE(NULL, 1, 'one', 2, 'two', NULL, '-NULL-', 'other')", "-NULL-"),
    ("decode", "DECODE(4, 1, 'one', 2, 'two')", None),
    ("degrees", "ROUND(DEGREES(PI() / 3), 6)", 60.0),
    ("div0", "DIV0(1, 0)", 0.0),
    ("div0null", "DIV0NULL(1, NULL)", 0.0),
    ("editdistance", "EDITDISTANCE('future', 'past')", 6),
    ("editdistance", "EDITDISTANCE('Snow', 'snow')", 1),
    ("editdistance", "EDITDISTANCE('é', 'e')", None),
    ("endswith", "ENDSWITH('coffee', 'ee')", True),
    ("equal_null", "EQUAL_NULL(NULL::INT, NULL::INT)", True),
    ("floor", "FLOOR(135.135, 1)", 135.1),
    ("floor", "FLOOR(-135.135, -2)", -200.0),
    ("greatest", "GREATEST(1, 3, 0, 4)", 4),
    ("greatest", "GREATEST(1, NULL)", None),
    ("greatest_ignore_nulls", "GREATEST_IGNORE_NULLS(1, NULL, 3)", 3),
    ("haversine", "ROUND(HAVERSINE(40.7127, -74.0059, 34.0500, -118.2500), 9)", 3936.385096389),
    ("last_day", "LAST_DAY('2015-05-08 23:39:20'::TIMESTAMP_NTZ)", D("2015-05-31")),
    ("last_day", "LAST_DAY('2015-05-08'::DATE, 'year')", D("2015-12-31")),
    ("last_day", "LAST_DAY('2015-05-08'::DATE, 'quarter')", D("2015-06-30")),
    ("last_day", "LAST_DAY('2015-05-08'::DATE, 'week')", D("2015-05-10")),
    ("like_any", "'John Dddoe' LIKE ANY ('%Jo%oe%', 'T%e')", True),
    ("like_all", "'John Dddoe' LIKE ALL ('%Jo%oe%', 'J%n')", False),
    ("log", "LOG(10, 100)", 2.0),
    ("log", "LOG(1, 100)", None),
    ("lpad", "LPAD('123', 10, '*')", "*******123"),
    ("lpad", "LPAD('hello', 2, '*')", "he"),
    ("md5", "MD5('Snowflake')", "edf1439075a83a447fb8b630ddc9c8de"),
    ("mod", "MOD(-7, 3)", -1),
    ("monthname", "MONTHNAME('2015-05-01'::DATE)", "May"),
    ("next_day", "NEXT_DAY('2024-11-22'::DATE, 'Friday')", D("2024-11-29")),
    ("previous_day", "PREVIOUS_DAY('2024-11-22'::DATE, 'fr')", D("2024-11-15")),
    ("nvl2", "NVL2(NULL, 1, 2)", 2),
    ("position", "POSITION('an' IN 'banana')", 2),
    ("regexp_count", "REGEXP_COUNT('It was the best of times, it was the worst of times', 'was')", 2),
    ("regexp_like", "REGEXP_LIKE('Sacramento', 'san.*', 'i')", False),
    ("regexp_like", "'San Francisco' RLIKE 'San.*'", True),
    ("regexp_like", "REGEXP_LIKE('Sacramento', 'Sac')", False),  # the whole text has to match
    ("regexp_replace", "REGEXP_REPLACE('Customers - (NY)', '\\\\(|\\\\)', '')", "Customers - NY"),
    ("regexp_substr", "REGEXP_SUBSTR('a1b22', '[0-9]+')", "1"),
    ("regexp_substr", "REGEXP_SUBSTR('a1b22', 'x')", None),
    ("regexp_substr", "REGEXP_SUBSTR('key=value', '(\\\\w+)=(\\\\w+)', 1, 1, 'e', 2)", "value"),
    ("replace", "REPLACE('down', 'down', 'up')", "up"),
    ("replace", "REPLACE('abcd', 'bc')", "ad"),
    ("round", "ROUND(-2.5)", -3.0),
    ("sha2", "SHA2('a')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
    ("split_part", "SPLIT_PART('11.22.33', '.', 0)", "11"),
    ("split_part", "SPLIT_PART('11.22.33', '.', -1)", "33"),
    ("split_part", "SPLIT_PART('11.22.33', '.', 4)", ""),
    ("substr", "SUBSTR('testing 1 2 3', -3)", "2 3"),
    ("substr", "SUBSTR('abc', 0, 2)", "ab"),
    ("time_slice", "TIME_SLICE('2019-02-28'::DATE, 4, 'MONTH', 'START')", D("2019-01-01")),
    ("time_slice", "TIME_SLICE('2019-02-28'::DATE, 4, 'MONTH', 'END')", D("2019-05-01")),
    ("time_slice", "TIME_SLICE('1956-03-01'::DATE, 15, 'YEAR')", D("1955-01-01")),
    ("time_slice", "TIME_SLICE('1970-01-11'::DATE, 2, 'WEEK')", D("1969-12-29")),
    ("time_slice", "TIME_SLICE('1970-01-12'::DATE, 2, 'WEEK')", D("1970-01-12")),
    ("time_slice", "TIME_SLICE('2019-02-28 01:46:39'::TIMESTAMP_NTZ, 90, 'MINUTE')", TS("2019-02-28 01:30:00")),
    ("to_boolean", "TO_BOOLEAN('On')", True),
    ("to_boolean", "'n'::BOOLEAN", False),
    ("to_boolean", "TRY_TO_BOOLEAN('perhaps')", None),
    ("to_char", "TO_CHAR('2013-04-05'::DATE, 'YYYY-MM')", "2013-04"),
    (
        "to_char",
        "TO_CHAR('2013-04-05 01:02:03'::TIMESTAMP_NTZ, 'DY DD MON YYYY HH24:MI:SS')",
        "Fri 05 Apr 2013 01:02:03",
    ),
    ("to_date", "TO_DATE('2024.05.10', 'YYYY.MM.DD')", D("2024-05-10")),
    ("to_date", "TRY_TO_DATE('2024.5.10', 'YYYY.MM.DD')", None),
    ("to_decimal", "TO_NUMBER('12.3456', 10, 1)", 12.3),
    ("to_decimal", "2.5::INT", 3),
    ("to_decimal", "'2.5'::INT", 3),
    ("to_timestamp", "TO_TIMESTAMP('2024-05-10 12:00:01', 'YYYY-MM-DD HH24:MI:SS')", TS("2024-05-10 12:00:01")),
    ("translate", "TRANSLATE('❄a❄bX❄dYZ❄', 'XYZ❄', 'cef')", "abcdef"),
    ("trim", "LTRIM('000123', '0')", "123"),
    ("trunc", "TRUNC(135.135, 1)", 135.1),
    ("trunc", "TRUNC(-135.135, -2)", -100.0),
    ("trunc", "TRUNC(1.15, 2)", 1.15),
    ("unicode", "UNICODE('')", 0),
    ("unicode", "UNICODE('❄')", 10052),
    ("week", "WEEK('2016-01-02'::DATE)", 53),
    ("week", "YEAROFWEEKISO('2016-01-02'::DATE)", 2015),
    ("week", "DAYOFWEEK('2016-01-03'::DATE)", 0),
    ("week", "DAYOFWEEKISO('2016-01-03'::DATE)", 7),
    ("width_bucket", "WIDTH_BUCKET(290000, 200000, 600000, 4)", 1),
    ("width_bucket", "WIDTH_BUCKET(600000, 200000, 600000, 4)", 5),
    ("width_bucket", "WIDTH_BUCKET(199999.99, 200000, 600000, 4)", 0),
    ("data types: date + n", "'2024-02-28'::DATE + 2", D("2024-03-01")),
    ("data types: date - date", "'2024-03-01'::DATE - '2024-02-28'::DATE", 2),
    ("data types: interval", "'2024-01-31'::DATE + INTERVAL '1 month'", D("2024-02-29")),
    ("data types: interval", "'2024-01-31'::DATE - INTERVAL '90 minute'", TS("2024-01-30 22:30:00")),
]


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 1}) as made:
        made.execute("SET TimeZone = 'UTC'")
        yield made


@pytest.mark.parametrize(("page", "text", "expected"), EXAMPLES, ids=lambda v: str(v)[:60])
def test_a_function_means_what_its_page_says(connection, page, text, expected):
    (parsed,) = sqlglot.parse_one(f"SELECT {text}", read="snowflake").expressions
    sql = to_sql(translate(parsed, RowScope(())).sql)
    assert connection.execute(f"SELECT {sql}").fetchone() == (expected,), page


@pytest.mark.parametrize(
    "text",
    [
        *(
            "LPAD('a', 5000)",
            "LPAD('a', 5, '')",
            "SPLIT_PART('a', '', 1)",
            "SHA2('a', 512)",
            "ROUND(1, 2, 'HALF_TO_EVEN')",
        ),
        *("REGEXP_REPLACE('a', '(a)', '\\\\1')", "REGEXP_REPLACE('a', 'a*', 'b')", "REGEXP_SUBSTR('a', 'a', 1, 2)"),
        *(
            "TO_CHAR(1.5, '9.9')",
            "TO_CHAR('2024-01-01'::DATE, 'YYYY Q')",
            "TO_CHAR('2024-01-01'::DATE, 'MMMM')",
            "TO_TIMESTAMP(1)",
            "TO_DATE(1)",
            "DATE_TRUNC('decade', '2024-01-01'::DATE)",
        ),
        *(
            "DATEADD(nanosecond, 1, '2024-01-01'::DATE)",
            "TRANSLATE('a', 'aa', 'bc')",
            "'12:00:00'::TIME",
            "INITCAP('a')",
        ),
        *("CONVERT_TIMEZONE('UTC', '2024-01-01'::TIMESTAMP_NTZ)", "REVERSE('a')", "REPEAT('a', 3)", "PARSE_JSON('1')"),
        *("CURRENT_DATE", "CURRENT_TIMESTAMP()", "RANDOM()", "SEQ4()", "UUID_STRING()", "CURRENT_USER()", "HASH('a')"),
        *("ARRAY_CONSTRUCT(1)", "OBJECT_CONSTRUCT('a', 1)", "SYSTEM$TYPEOF(1)", '"haversine"(1, 2, 3, 4)', "1 DIV 2"),
    ],
)
def test_a_form_without_an_exact_meaning_is_refused(text):
    (parsed,) = sqlglot.parse_one(f"SELECT {text}", read="snowflake").expressions
    with pytest.raises(TemplateRefusedError):
        translate(parsed, RowScope(()))
