"""Companies, addresses, people and goods, put together at random."""

import random

from vqa.pages.words import Words

_LEGAL = ("SDN BHD",) * 6 + (
    "SDN. BHD.",
    "SDN BHD.",
    "BHD",
    "ENTERPRISE",
    "ENTERPRISE",
    "TRADING",
    "(M) SDN BHD",
    "S/B",
    "HOLDINGS SDN BHD",
    "PLT",
    "CO.",
    "& SONS",
    "MARKETING SDN BHD",
    "GROUP SDN BHD",
    "CORPORATION",
    "LTD",
)
_STATES = (
    "SELANGOR",
    "SELANGOR DARUL EHSAN",
    "JOHOR",
    "KUALA LUMPUR",
    "PERAK",
    "PENANG",
    "MELAKA",
    "PAHANG",
    "KEDAH",
    "SABAH",
    "SARAWAK",
    "NEGERI SEMBILAN",
)
_AREAS = ("TAMAN", "TAMAN", "TAMAN", "BANDAR", "KAMPUNG", "DESA", "SEKSYEN", "PUSAT BANDAR", "TMN")
_ROADS = ("JALAN", "JALAN", "JALAN", "JALAN", "JLN", "LORONG", "PERSIARAN", "LEBUH")
_UNITS = ("KG", "PCS", "ML", "G", "L", "CM", "MM", "PKT", "M", "INCH", "OZ")


def company(words: Words) -> str:
    """In capitals, one to six words."""
    rng = words.rng
    own = [_proper(words)]
    if rng.random() < 0.55:
        own.append(_proper(words))
    if rng.random() < 0.65:
        own.append(words.pick("trade"))
    if rng.random() < 0.1:
        own.insert(0, "restoran" if rng.random() < 0.5 else "kedai")
    if rng.random() < 0.1:
        own.insert(1, rng.choice(("&", "n")))
        own.insert(2, _proper(words))
    if rng.random() < 0.08:
        own = [rng.choice("ABCDEFGHKLMPRSTY") + "." for _ in range(2)] + own
    text = " ".join(own)
    if len(own) == 1 or rng.random() < 0.75:
        text += " " + rng.choice(_LEGAL)
    return text.upper()


def address(words: Words, widest: int) -> list[str]:
    """One to four lines of at most `widest` letters or so, in capitals."""
    rng = words.rng
    number = str(rng.randint(1, 399))
    if rng.random() < 0.3:
        number += rng.choice(("A", "B", "-G", f"-{rng.randint(1, 99)}", f" & {rng.randint(2, 99)}"))
    number = rng.choice(("NO.", "NO. ", "NO ", "LOT ", "", "", "UNIT ")) + number
    road = f"{rng.choice(_ROADS)} {words.pick('street')}"
    if rng.random() < 0.3:
        road += f" {words.pick('name')}"
    if rng.random() < 0.5:
        road += f" {rng.randint(1, 30)}"
        if rng.random() < 0.4:
            road += f"/{rng.randint(1, 60)}" + rng.choice(("", "", "A", "B"))
    area = f"{rng.choice(_AREAS)} {words.pick('name')} {words.pick('street')}"
    town = words.pick("town")
    if rng.random() < 0.3:
        town += f" {words.pick('name')}"
    town = f"{rng.randint(10000, 98999)} {town}"
    comma, space = rng.choice(((", ", "."), (", ", ""), (", ", ""), (" ", ""), (",", "")))
    parts = [number + comma + road]
    if rng.random() < 0.7:
        parts.append(area)
    parts.append(town)
    if rng.random() < 0.75:
        parts.append(rng.choice(_STATES))
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 2 <= widest and rng.random() < 0.55:
            lines[-1] += comma + part
        else:
            lines[-1] += comma.rstrip() if rng.random() < 0.8 else ""
            lines.append(part)
    return [(line if line is not lines[-1] else line + space).upper() for line in lines]


def person(words: Words) -> str:
    """One or two names, in capitals."""
    first = words.pick("person")
    return (f"{first} {words.pick('name')}" if words.rng.random() < 0.3 else first).upper()


def item(words: Words, widest: int) -> str:
    """What is sold, in capitals, of at most `widest` letters."""
    rng = words.rng
    parts = [words.pick("item")]
    if rng.random() < 0.6:
        parts.insert(0, words.pick("adjective"))
    if rng.random() < 0.3:
        parts.insert(0, words.invented(2))
    if rng.random() < 0.2:
        parts.append(words.pick("item"))
    if rng.random() < 0.35:
        parts.append(
            f"{rng.choice((1, 2, 5, 6, 10, 12, 25, 50, 100, 250, 500))}{rng.choice(_UNITS)}"
        )
    if rng.random() < 0.1:
        parts.append(f"({rng.choice('ABCDHLMS')})")
    while len(parts) > 1 and len(" ".join(parts)) > widest:
        parts.pop(rng.randrange(len(parts)))
    return " ".join(parts)[:widest].rstrip().upper()


def items(words: Words, count: int, widest: int) -> list[str]:
    """Different goods."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[item(words, widest)] = None
    return list(found)


def code(rng: random.Random) -> str:
    """A number as documents have them, with or without letters."""
    form = rng.choice(
        (
            "999999", "99999999", "9999", "A-99999", "AA99999999", "AA-999999", "A99999",
            "AAA/99999", "9-999999", "99-9999", "AA9/9999", "99999-999-9999", "A9999999A",
            "999999999999", "AAA-99-999999", "#99999", "AA 9999/9999",
        )
    )  # fmt: skip
    return filled(rng, form)


def filled(rng: random.Random, form: str) -> str:
    """A letter for each A of a form, a digit for each 9."""
    draw = {"A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "9": "0123456789"}
    return "".join(rng.choice(draw[c]) if c in draw else c for c in form)


def phone(rng: random.Random) -> str:
    """A telephone number as Malaysia writes them."""
    form = rng.choice(
        ("03-9999 9999", "03-99999999", "07-9999999", "019-999 9999", "012-9999999",
         "603-99999999", "+603 9999 9999", "04-999 9999", "(03) 9999 9999", "1-300-99-9999")
    )  # fmt: skip
    return filled(rng, form)


def titled(text: str) -> str:
    """Capitals at the start of words only; abbreviations stay."""
    return " ".join(map(_titled, text.split(" ")))


def _titled(word: str) -> str:
    bare = word.strip(".,:()*")
    return word.replace(bare, bare.capitalize()) if bare.isalpha() and bare not in _SHORT else word


_SHORT = {
    "GST",
    "RM",
    "SDN",
    "BHD",
    "ID",
    "SR",
    "ZRL",
    "TEL",
    "PLT",
    "QTY",
    "PC",
    "SST",
    "MYR",
}


def _proper(words: Words) -> str:
    roll = words.rng.random()
    if roll < 0.5:
        return words.pick("name")
    return words.invented(2 if roll < 0.75 else 3) if roll < 0.9 else words.pick("person")
