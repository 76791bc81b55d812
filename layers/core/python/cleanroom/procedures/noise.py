"""Procedures of the `add_noise` function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanroom.edge import Procedure
from cleanroom.use_cases import arguments as a
from cleanroom.use_cases.direct_noise import add_noise_to_values
from cleanroom.use_cases.receipt_key import view_receipt_key

if TYPE_CHECKING:
    from cleanroom.edge import Routes
    from cleanroom.ports import NoiseServices

NOISE: Routes[NoiseServices] = {
    ("consumer", "add_noise"): Procedure(arguments=a.AddNoise, call=add_noise_to_values),
    ("consumer", "view_receipt_key"): Procedure(arguments=a.NoArguments, call=view_receipt_key),
    ("provider", "view_receipt_key"): Procedure(arguments=a.NoArguments, call=view_receipt_key),
}
