"""Procedures of the `add_noise` function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.edge import Procedure
from cleanroom.use_cases import arguments as a
from cleanroom.use_cases.direct_noise import add_noise_to_values

if TYPE_CHECKING:
    from cleanroom.edge import Routes
    from cleanroom.ports import NoiseServices

NOISE: Routes[NoiseServices] = {
    ("consumer", "add_noise"): Procedure(arguments=a.AddNoise, call=add_noise_to_values),
}
