"""Attack: requests that are accepted and charged, and then fail: a 500, or a run that is lost."""

from __future__ import annotations

import pytest

from cleanroom.privacy import samplers
from cleanroom.privacy.noise import LARGEST_SCALE, DiscreteLaplace, can_be_drawn
from tests.house import furnished

ROOM = {"cleanroom_name": "room"}
FLIGHTS = "IDENTIFIER({{ source_table[0] }}) p"
FLEET = "IDENTIFIER({{ my_table[0] }}) c"
COUNTED_FLEET = f"(SELECT COUNT(*) AS n, -1 AS g, c.tailnum FROM {FLEET} GROUP BY g, c.tailnum) x"


def asked(sql, *, settings=None):
    house = furnished(settings=settings)
    house("airline", "provider", "add_custom_sql_template", **ROOM, template_name="asked", template=sql)
    return house.ask("agency", "consumer", "run_analysis", **ROOM, template_name="asked", provider_tables=["flights"],
                     consumer_tables=["fleet"], run_id="asked-once")  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT '30000-01-01'::DATE AS far, COUNT(*) AS n FROM {FLIGHTS} GROUP BY 1",
        f"SELECT 'infinity'::TIMESTAMP AS far, COUNT(*) AS n FROM {FLIGHTS} GROUP BY 1",
        f"SELECT CASE WHEN COUNT(*) > 0 THEN '5877642-06-25 (BC)'::DATE END AS far FROM {FLIGHTS}",
        f"SELECT 9 AS a, COUNT(*) AS n FROM {FLIGHTS} GROUP BY 1 ORDER BY a",
        f"SELECT 'x' AS a, COUNT(*) AS n FROM {FLIGHTS} GROUP BY 1 ORDER BY a, NULL, -1.5",
        f"SELECT COUNT(*) AS k FROM (SELECT COUNT(*) AS n, 7 AS g, p.tailnum FROM {FLIGHTS} GROUP BY g, p.tailnum) x",
        f"SELECT COUNT(*) AS k FROM {FLIGHTS} JOIN {COUNTED_FLEET} ON p.tailnum = x.tailnum",
        f"SELECT EXP(COUNT(*)) AS a, COUNT(*) / 0 AS b, COUNT(*) * 1e308 * 10 AS c FROM {FLIGHTS}",
    ],
)
def test_what_is_accepted_is_released(sql):
    """Before: a 500 for dates that Python has not, or an engine's error over a literal in ORDER BY or GROUP BY."""
    status, answer = asked(sql)
    assert (status, answer.get("state")) == (200, "released"), answer


@pytest.mark.parametrize("settings", [{}, {"differential": 1, "epsilon": 1.0}])
def test_noise_that_could_not_be_drawn_is_refused_before_it_is_charged(settings):
    """Before: charged, and a 500 at each attempt."""
    epsilon = "0.000000000000000000000000000002"
    status, answer = asked(
        f"SELECT cleanroom.addnoise(COUNT(*), {epsilon}, 0.5) AS n FROM {FLIGHTS}", settings=settings
    )
    assert (status, answer["error"]["rule"]) == (422, "too_much_noise")


def test_the_samplers_take_what_the_compiler_lets_through():
    assert samplers.LARGEST_SCALE == LARGEST_SCALE
    assert can_be_drawn(DiscreteLaplace(scale=samplers.Fraction(LARGEST_SCALE - 1)))
    assert not can_be_drawn(DiscreteLaplace(scale=samplers.Fraction(LARGEST_SCALE)))


def test_nothing_to_sum_is_no_error_with_dp_off():
    """B-42. Before: NULL failed the run, which told without noise whether there was a row."""
    for where in ("p.tailnum = 'N100AA'", "p.tailnum = 'nobody'"):
        status, answer = asked(f"SELECT cleanroom.addnoise(SUM(p.dep_delay), 1, 0.5) AS s FROM {FLIGHTS} WHERE {where}",
                               settings={})  # fmt: skip
        assert (status, len(answer["rows"])) == (200, 1)
        assert answer["rows"][0][0] is not None


def test_noise_for_a_callers_own_numbers_can_be_read_again():
    """Before: GET of such a run was a 500, for it has no table."""
    house = furnished()
    noised = house("agency", "consumer", "add_noise", **ROOM, values=[1.0, 2.0], sensitivity=1.0, epsilon=0.5,
                   run_id="own-numbers")  # fmt: skip
    assert house.get_run("agency", "own-numbers") == (200, noised)
