"""The sentences that come with noisy numbers: bounds, the smallest group, and rows of nobody."""

from tests.unit.templates.compiling import compiled


def test_sums_of_rows_say_what_one_entity_weighs_at_most() -> None:
    """An interval is about the noise, not about what was scaled down."""
    plan = compiled("SELECT status, COUNT(*) AS n FROM customers GROUP BY 1")
    (measurement,) = plan.measurements
    k = int(measurement.bounds["max groups per entity"])
    m = int(measurement.bounds["max rows per entity and group"])
    assert any(f"one hashed_email weighs at most {k * m} rows ({k} groups of {m})" in n for n in plan.notes)


def test_private_groups_say_from_which_size_on_they_appear() -> None:
    """In entities, whatever the steps of the column are."""
    plan = compiled("SELECT city, COUNT(DISTINCT hashed_email) AS n FROM customers GROUP BY 1")
    (measurement,) = plan.measurements
    assert measurement.partition_selection is not None
    (column,) = measurement.columns
    entities = round(measurement.partition_selection.tau * column.unit)
    assert f"groups with fewer than about {entities} different hashed_email are left out" in plan.notes
    assert 5 < entities < 10_000


def test_one_number_of_entities_needs_no_word_on_scaling() -> None:
    """Nothing is above one per entity, so nothing is scaled."""
    notes = compiled("SELECT COUNT(DISTINCT hashed_email) AS n FROM customers").notes
    assert not any("scaled" in note or "groups" in note for note in notes)


def test_rows_without_an_entity_are_told_to_count_for_nobody() -> None:
    """Said wherever the schema allows NULL there."""
    assert "rows whose email is NULL count for nobody" in compiled("SELECT COUNT(*) AS n FROM flights").notes
