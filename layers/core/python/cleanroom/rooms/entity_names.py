"""What column names say: cut into words, and read from the end. Pure; used by `entity_detection`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split(", "))


def _kinds(table: Mapping[str, str]) -> dict[str, str]:
    return {name: kind for kind, names in table.items() for name in names.split(", ")}


ID_WORDS = _words("guid, id, identifier, ids, key, nbr, no, nr, num, number, nummer, pk, sk, uid, uuid")
WEAK_ID_WORDS = _words("code, ref, reference")  # a code of few values is a category
DIGEST_WORDS = _words(
    "enc, encrypted, hash, hashed, hex, hsh, md5, pseudonymised, pseudonymized, sha, sha1, sha256, sha512"
)

# Whose id it is: the last word before the id word -> kind.
HOLDERS = _kinds(
    {
        "customer_id": "customer, cust, client, consumer, buyer, shopper, purchaser, kunde, kunden, cliente, "
        "cardholder",
        "user_id": "user, usr, login, profile, benutzer, usuario, utilisateur, viewer, rider, player, pseudo",
        "member_id": "member, subscriber, membership, loyalty, mitglied, adherent, policyholder, insured",
        "account_id": "account, acct, acc, konto",
        "patient_id": "patient, patienten, mrn",
        "person_id": "person, people, individual, contact, subject, participant, respondent, beneficiary, donor, "
        "voter, citizen, resident, tenant, passenger, applicant, borrower, taxpayer",
        "employee_id": "employee, emp, staff, worker, personnel",
        "student_id": "student, pupil",
        "driver_id": "driver",
        "household_id": "household, hh, haushalt",
        "device_id": "device, handset",
        "cookie_id": "cookie, visitor, browser, anonymous",
        "card_id": "card, creditcard, cc",
    }
)

# Names that say it without an id word: the words at the end of the name -> kind.
NAMES = _kinds(
    {
        "email": "email, e mail, mail, email address, e mail address, mail address, emailaddress, email addr, hem",
        "phone": "phone, phone number, phone no, phone num, telephone, telephone number, mobile, mobile number, "
        "mobile phone, cell, cellphone, cell phone, msisdn, tel, telefon, contact number, contact no",
        "us_ssn": "ssn, social security number, social security no, social security",
        "uk_nino": "nino, national insurance number",
        "es_dni": "dni",
        "br_cpf": "cpf",
        "pl_pesel": "pesel",
        "se_personnummer": "personnummer",
        "it_codice_fiscale": "codice fiscale",
        "national_number": "national id, national number, national identity number, personal number, personal id, "
        "identity number, taxpayer id, steuer id, aadhaar, aadhaar number, bsn, citizen number, nie, nif",
        "passport": "passport, passport number, passport no, passport num, passport id",
        "driver_license": "drivers license, driver license, driving licence, drivers license number, driver license "
        "number, driving licence number",
        "license_plate": "license plate, licence plate, licenseplate, number plate, plate number, plate no, "
        "kennzeichen, vehicle registration, registration plate",
        "aircraft_registration": "tail number, tail num, tail no, aircraft registration, aircraft, plane",
        "vin": "vin, vin number, vehicle identification number, chassis number",
        "iban": "iban, iban number",
        "mobile_ad_id": "maid, maids, idfa, gaid, aaid, adid, rida, mobile ad id, advertising id, "
        "mobile advertising id",
        "device_id": "imei, imsi, device serial, device serial number",
        "mac_address": "mac, mac address",
        "ip_address": "ip, ip address, ip addr, ipv4, ipv6",
        "user_id": "username, user name, userid, login name",
        "patient_id": "mrn, medical record number, nhs number",
    }
)
WHOLE_NAMES = {"uid": "user_id"}  # at the end of a longer name it is any id
# Holders whose id may be called like them, if its values are codes.
BARE_HOLDERS = _words("client, cust, customer, employee, household, member, patient, person, subscriber, user, visitor")

_CALLED = {
    "email": "e-mail address",
    "us_ssn": "US social security number",
    "uk_nino": "UK national insurance number",
    "iban": "IBAN",
    "vin": "vehicle identification number",
    "es_dni": "Spanish identity number",
    "br_cpf": "Brazilian taxpayer number",
    "pl_pesel": "Polish national number",
    "se_personnummer": "Swedish personal number",
    "it_codice_fiscale": "Italian tax code",
    "ip_address": "IP address",
    "mac_address": "MAC address",
    "mobile_ad_id": "mobile advertising id",
}


def called(kind: str) -> str:
    """Return what people call a kind, singular."""
    return _CALLED.get(kind, kind.replace("_", " "))


def name_words(name: str) -> tuple[str, ...]:
    """Return the words of a column's name, lower case: `fullVisitorId`, `o_custkey` -> full visitor id, o cust key."""
    spaced = re.sub(r"([a-z])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", name)
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]
    return tuple(part for word in words for part in _split_compact(word))


def _split_compact(word: str) -> tuple[str, ...]:
    numbered = re.fullmatch(r"([a-z]+)([0-9]+)", word)
    if numbered is not None and (numbered[1] in HOLDERS or numbered[1] in NAMES or numbered[1] in ID_WORDS):
        return (numbered[1], numbered[2])
    if word in HOLDERS or word in NAMES or word in ID_WORDS:
        return (word,)
    for suffix in ("identifier", "number", "nummer", "key", "num", "nbr", "uuid", "guid", "hash", "id", "no", "nr"):
        stem = word.removesuffix(suffix)
        if stem != word and (stem in HOLDERS or stem in ("tail", "plate", "phone", "mobile", "passport")):
            return (stem, suffix)
    for prefix in ("hashed", "sha256", "md5", "enc"):
        rest = word.removeprefix(prefix)
        if rest != word and (rest in NAMES or rest in HOLDERS):
            return (prefix, rest)
    return (word,)
