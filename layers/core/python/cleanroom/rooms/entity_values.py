"""What one value looks like: e-mail, phone, card, IBAN, national numbers, digests, device and vehicle ids. Pure.

Each test is total over text: it answers yes or no, whatever the value. Check digits are tested wherever the number has
one, for a pattern of digits alone fits amounts and order numbers too. Used by `entity_detection`.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DIGEST_BITS = {128: "md5", 160: "sha1", 256: "sha256", 512: "sha512"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueKind:
    """One thing that values may look like.

    Attributes:
        called: in evidence, plural.
        matches: the test of one value, without surrounding blanks.
        alone: True where values decide without the name.
    """

    called: str
    matches: Callable[[str], bool]
    alone: bool


def _pattern(text: str) -> Callable[[str], bool]:
    compiled = re.compile(text, re.ASCII)
    return lambda value: compiled.fullmatch(value) is not None


def _digits(value: str, *, of: tuple[int, ...]) -> list[int] | None:
    plain = value.replace(" ", "").replace("-", "")
    return [int(digit) for digit in plain] if plain.isascii() and plain.isdigit() and len(plain) in of else None


def _luhn(digits: list[int]) -> bool:
    # ISO/IEC 7812-1, annex B: every second digit from the right counts double, with its digits added.
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def is_card(value: str) -> bool:
    """Return whether it is a payment card number: 13 to 19 digits of a card issuer's range, with the Luhn digit."""
    digits = _digits(value, of=tuple(range(13, 20)))
    return digits is not None and digits[0] in (2, 3, 4, 5, 6) and len(set(digits)) > 2 and _luhn(digits)


def is_iban(value: str) -> bool:
    """Return whether it is an IBAN: ISO 13616, with the check of ISO 7064 (mod 97-10)."""
    plain = value.replace(" ", "")
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", plain, re.ASCII):
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def is_vin(value: str) -> bool:
    """Return whether it is a vehicle identification number (ISO 3779) with the check digit of 49 CFR 565."""
    if not re.fullmatch(r"[A-HJ-NPR-Z0-9]{8}[0-9X][A-HJ-NPR-Z0-9]{8}", value, re.ASCII):
        return False
    worth = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)), strict=True))
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    total = sum(
        weight * (int(character) if character.isdigit() else worth[character])
        for weight, character in zip(weights, value, strict=True)
    )
    return value[8] == ("X" if total % 11 == 10 else str(total % 11))


def is_spanish_dni(value: str) -> bool:
    """Return whether it is a Spanish DNI or NIE with its letter."""
    if not re.fullmatch(r"[0-9XYZ][0-9]{7}-?[A-Z]", value, re.ASCII):
        return False
    number = int(str("XYZ".find(value[0])) + value[1:8]) if value[0] in "XYZ" else int(value[:8])
    return value[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23]


def is_french_nir(value: str) -> bool:
    """Return whether it is a French social security number (NIR) with its key."""
    plain = value.replace(" ", "")
    if not re.fullmatch(r"[12][0-9]{2}(?:0[1-9]|1[0-2]|[2-9][0-9])[0-9AB]{2}[0-9]{8}", plain, re.ASCII):
        return False
    number = plain[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(plain[13:])


def is_brazilian_cpf(value: str) -> bool:
    """Return whether it is a Brazilian CPF with its two check digits."""
    digits = _digits(value.replace(".", ""), of=(11,))
    if digits is None or len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(digit * weight for digit, weight in zip(digits, range(length + 1, 1, -1), strict=False))
        if digits[length] != total * 10 % 11 % 10:
            return False
    return True


def is_polish_pesel(value: str) -> bool:
    """Return whether it is a Polish PESEL: a birth date, and the check digit."""
    digits = _digits(value, of=(11,))
    if digits is None or not (1 <= (digits[2] * 10 + digits[3]) % 20 <= 12 and 1 <= digits[4] * 10 + digits[5] <= 31):
        return False
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return sum(digit * weight for digit, weight in zip(digits, weights, strict=True)) % 10 == 0


def is_swedish_number(value: str) -> bool:
    """Return whether it is a Swedish personal number: a birth date, a sign, and the Luhn digit."""
    born = r"(?:19|20)?([0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))"
    match = re.fullmatch(born + r"[-+]([0-9]{4})", value, re.ASCII)
    return match is not None and _luhn([int(digit) for digit in match[1] + match[2]])


def is_phone(value: str) -> bool:
    """Return whether it could be a phone number in any writing: 7 to 15 digits with the usual signs between."""
    return (
        re.fullmatch(r"\+?[0-9(][0-9 ()./-]{5,24}[0-9]", value, re.ASCII) is not None
        and 7 <= sum(character.isdigit() for character in value) <= 15
    )


def digest_algorithm(value: str) -> str | None:
    """Return `md5`, `sha1`, `sha256` or `sha512` where the value has the form of such a digest, in hex or base64."""
    if re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", value, re.ASCII):
        return _DIGEST_BITS.get(4 * len(value)) if not value.isdigit() else None
    if len(value) in (24, 28, 44, 88) and value.endswith("="):
        try:
            raw = base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            return None
        return _DIGEST_BITS.get(8 * len(raw))
    return None


VALUE_KINDS: Mapping[str, ValueKind] = {
    "email": ValueKind(
        called="e-mail addresses",
        matches=_pattern(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,6}\.[A-Za-z]{2,24}"),
        alone=True,
    ),
    "iban": ValueKind(called="IBANs", matches=is_iban, alone=True),
    "payment_card": ValueKind(called="payment card numbers", matches=is_card, alone=True),
    "us_ssn": ValueKind(
        called="US social security numbers",
        matches=_pattern(r"(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}"),
        alone=True,
    ),
    "uk_nino": ValueKind(
        called="UK national insurance numbers",
        matches=_pattern(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"),
        alone=True,
    ),
    "es_dni": ValueKind(called="Spanish identity numbers", matches=is_spanish_dni, alone=True),
    "it_codice_fiscale": ValueKind(
        called="Italian tax codes",
        matches=_pattern(r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]"),
        alone=True,
    ),
    "fr_nir": ValueKind(called="French social security numbers", matches=is_french_nir, alone=True),
    "br_cpf": ValueKind(called="Brazilian taxpayer numbers", matches=is_brazilian_cpf, alone=True),
    "pl_pesel": ValueKind(called="Polish national numbers", matches=is_polish_pesel, alone=True),
    "se_personnummer": ValueKind(called="Swedish personal numbers", matches=is_swedish_number, alone=True),
    "in_pan": ValueKind(
        called="Indian tax numbers", matches=_pattern(r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]"), alone=True
    ),
    "phone": ValueKind(
        called="phone numbers",
        matches=_pattern(
            r"\+[1-9][0-9 ()-]{6,20}[0-9]"
            r"|\([2-9][0-9]{2}\) ?[0-9]{3}[-. ][0-9]{4}"
            r"|[2-9][0-9]{2}([-.])[0-9]{3}\1[0-9]{4}"
        ),
        alone=True,
    ),
    "aircraft_registration": ValueKind(
        called="US aircraft registrations",
        matches=_pattern(r"N[1-9](?:[0-9]{0,4}|[0-9]{0,3}[A-HJ-NP-Z]|[0-9]{0,2}[A-HJ-NP-Z]{2})"),
        alone=False,  # part numbers look the same
    ),
    "vin": ValueKind(called="vehicle identification numbers", matches=is_vin, alone=True),
    "mac_address": ValueKind(
        called="MAC addresses",
        matches=_pattern(r"[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"),
        alone=True,
    ),
    "ip_address": ValueKind(
        called="IP addresses",
        matches=_pattern(
            r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
            r"|[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){7}|(?=.*::)[0-9A-Fa-f:]{2,39}"
        ),
        alone=False,  # versions of four parts look the same
    ),
}
