"""What the documents point at is there: code, tests, rows of the behaviour, and every document that is linked."""

from __future__ import annotations

import re

import pytest

from tests.unit.docs.names import ROOT, all_tests, docstrings_in, document, missing_code, missing_test, quoted, rows

DOCUMENTS = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
ROWS = [
    *(f"B-{n:02}" for n in (*range(1, 8), *range(10, 23), *range(30, 48), *range(50, 57))),
    *(f"B-{n:02}" for n in (*range(60, 67), *range(70, 74), 80, 81)),
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_test_that_a_document_names_is_there(name):
    named = [text for text in quoted(document(name)) if text.startswith("tests/") and "::" in text]
    assert [why for text in named if (why := missing_test(text))] == []


@pytest.mark.parametrize("name", ["claims.md", "ownership.md", "attack_model.md"])
def test_every_piece_of_code_that_a_document_names_is_there(name):
    named = [
        t for t in quoted(document(name)) if re.match(r"[\w/]+\.(py|yaml)(::\w+)?$", t) and not t.startswith("tests/")
    ]
    assert len(named) > 10
    assert [why for text in named if (why := missing_code(text))] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_between_documents_leads_somewhere(name):
    links = re.findall(r"\]\(([^)#:]+)\)", document(name))
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_every_claim_has_source_code_and_test():
    claims = rows(document("claims.md"))
    assert len(claims) >= 20
    for claim, statement, source, code, tests in claims:
        assert statement, claim
        assert source, claim
        assert quoted(code), claim
        assert all("::" in test for test in quoted(tests)), claim
        assert quoted(tests), claim


def test_every_row_of_the_behaviour_is_listed_once_with_what_holds_and_who_proves_it():
    listed = {row: (holds, says, tests) for row, holds, says, tests in rows(document("behaviour.md"))}
    assert list(listed) == ROWS
    for row, (holds, says, tests) in listed.items():
        assert holds in {"yes", "partly", "not yet"}, row
        assert len(says) > 10, row
        assert quoted(tests) or holds == "not yet", f"{row} holds and no test is named"


def test_the_tests_that_a_row_names_name_the_row():
    for row, _, _, tests in rows(document("behaviour.md")):
        for test in quoted(tests):
            path, _, name = test.partition("::")
            assert row in docstrings_in(ROOT / path).get(name, ""), f"{test} does not say that it proves {row}"


def test_no_test_names_a_row_that_is_not_there():
    named = {row for says in all_tests().values() for row in re.findall(r"\bB-\d{2}\b", says)}
    assert named <= set(ROWS)


def test_every_class_of_attack_has_a_defence_and_a_test_or_says_that_it_has_none():
    attacks = rows(document("attack_model.md"))
    assert len(attacks) >= 30
    for attack, defence, code, tests in attacks:
        assert len(defence) > 10, attack
        assert quoted(tests) or tests == "none", attack
        assert quoted(code) or tests == "none", attack
