"""Writes leads.csv beside this file: 300 invented leads, as messy as real lists are. The same every time."""

import csv
import io
import random
from pathlib import Path

ROWS = 300
HEADER = ["First Name", " Last Name", "E-Mail ", "Company", "Job Title", "Employees", "Country", "Message"]
# fmt: off
FIRST = [
    "Ada", "Benoît", "Carla", "Dmitri", "Elif", "Farid", "Grace", "Hanna", "Igor", "Jörg", "Kenji", "Lucía",
    "Marta", "Nils", "Olga", "Pavel", "Quinn", "Rosa", "Sören", "Tomás", "Uma", "Vera", "Wanda", "Xenia",
    "Yusuf", "Zoë",
]
LAST = [
    "Almqvist", "Bakker", "Castañeda", "Dubois", "Eklund", "Fischer", "García", "Hübner", "Ito", "Jansen",
    "Kowalski", "Lindqvist", "Müller", "Novak", "Okafor", "Pérez", "Quist", "Rossi", "Schäfer", "Tanaka",
    "Ueda", "Varga", "Weiß", "Yilmaz", "Zhang",
]
FIRM = [
    "Northwind", "Bluefin", "Cobalt", "Driftwood", "Evergreen", "Foxglove", "Granite", "Harbor", "Ironwood",
    "Juniper", "Kestrel", "Lantern", "Meridian", "Nimbus", "Orchard", "Pinecrest", "Quarry", "Ridgeline",
    "Saltmarsh", "Tidewater",
]
# fmt: on
KIND = [
    "Logistics",
    "Foods",
    "Software",
    "Energy",
    "Textiles",
    "Medical",
    "Robotics",
    "Travel",
    "Paper & Print",
    "Tools, Inc.",
]
TITLE = [
    "CEO",
    "CTO",
    "VP Operations",
    "Head of Sales",
    "Director of IT",
    "Operations Manager",
    "Team Lead",
    "Analyst",
    "Intern",
    "Founder",
    "",
]
COUNTRY = ["Germany", "Spain", "Poland", "Japan", "Sweden", "France", "USA", "Brazil", ""]
MESSAGE = [
    "Please call me back.",
    "We have a budget and want a demo.",
    "What is your pricing for 40 seats?",
    "Need this by next quarter, it is urgent.",
    "Hello,\nwe would like to migrate from our old system.\nBest regards",
    'A colleague said: "have a look at this", so here I am.',
    "Just curious; no plans yet.",
    "",
]
BAD_EMAILS = [
    "none",
    "n/a",
    "info@",
    "@example.com",
    "two words@example.com",
    "ada.example.com",
    "a@b",
    "x@@example.com",
    "",
    "call me",
    "hans@-example.com",
    "eva@exa mple.com",
]
PLAIN = str.maketrans("éîöüßäñíáóëêèçø", "eiousaniaoeeeco")


def main() -> None:
    """Write the file."""
    chance = random.Random(20_260_101)  # noqa: S311  the same list every time is the point
    places = chance.sample(range(10, ROWS), 60)
    bad, repeated, ragged, nameless, odd_size, windows = (
        set(places[:12]), places[12:26], places[26:32], set(places[32:38]), set(places[38:42]), set(places[42:54])
    )  # fmt: skip
    leads = [_lead(chance, number) for number in range(ROWS)]
    for number, email in zip(sorted(bad), BAD_EMAILS, strict=True):
        leads[number][2] = email
    for number in repeated:
        earlier = leads[chance.randrange(10)]
        leads[number][:3] = [earlier[0], earlier[1], f" {earlier[2].upper()}"]
    for number in nameless:
        leads[number][3] = "  "
    for number, size in zip(sorted(odd_size), ["about 50", "10-20", "-3", "many"], strict=True):
        leads[number][5] = size
    for index, number in enumerate(ragged):
        leads[number] = leads[number][: 3 + index] if index % 2 else [*leads[number], "extra", "cells"]
    encoded = [_encode(lead, "cp1252" if number in windows else "utf-8") for number, lead in enumerate(leads)]
    encoded[places[54]] = encoded[places[54]].replace(b",", b",\0", 1)
    encoded[places[55]] = b'"Opened, never closed' + encoded[places[55]]
    for number in places[56:]:
        encoded[number] = encoded[number].replace(b"\r\n", b"\n")
    Path(__file__).with_name("leads.csv").write_bytes(_encode(HEADER, "utf-8") + b"".join(encoded))


def _lead(chance: random.Random, number: int) -> list[str]:
    first, last, firm = chance.choice(FIRST), chance.choice(LAST), chance.choice(FIRM)
    name = f"{first}.{last}".lower().translate(PLAIN)
    size = str(chance.choice([3, 12, 40, 85, 240, 900, 1_500, 12_000])) if chance.random() < 0.9 else ""
    lead = [
        first, last, f"{name}.{number}@{firm.lower()}.example.com", f"{firm} {chance.choice(KIND)}",
        chance.choice(TITLE), size, chance.choice(COUNTRY), chance.choice(MESSAGE),
    ]  # fmt: skip
    return [f"  {cell} " if cell and chance.random() < 0.04 else cell for cell in lead]


def _encode(cells: list[str], encoding: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode(encoding)


if __name__ == "__main__":
    main()
