"""Answers from the texts of a page by plain rules: what a user would write in an afternoon."""

import re
from dataclasses import dataclass
from typing import Any

from rapidfuzz import fuzz

DATE = re.compile(
    r"(?<![\d.,])(\d{1,2}[-/. ](?:\d{1,2}|[A-Za-z]{3,9})[-/. ,]{1,2}(?:20)?\d{2}"
    r"|20\d{2}[-/]\d{2}[-/]\d{2}"
    r"|\d{1,2}(?:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)[A-Z]*'?(?:20)?\d{2})(?!\d)",
    re.IGNORECASE,
)
TIME = re.compile(r"(?<!\d)\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:\s*[AP]\.?M\b\.?)?", re.IGNORECASE)
MONEY = re.compile(r"-?\d{1,3}(?:[, ]?\d{3})*[.,]\s?\d{2}(?!\d)")
COMPANY = re.compile(
    r"S[DO0]N\.?\s*B[HN]D|ENTERPRISE|TRADING|RESTAURANT|RESTORAN|HARDWARE|PERNIAGAAN|STATIONERY"
    r"|BOOK|MARKET|BERHAD|\bPLT\b",
    re.IGNORECASE,
)
NOT_TOTAL = re.compile(
    r"SUB|QTY|QUANTITY|ITEM|DISC|SAV|TAX|CHANGE|CASH|POINT|EXC|GST\s*(?:@|6|AMT|AMOUNT)?\s*[:%]|ROUNDING",
    re.IGNORECASE,
)
ADDRESS_END = re.compile(r"TEL|FAX|GST|PHONE|INVOICE|REG|EMAIL|DATE|RECEIPT|WWW", re.IGNORECASE)


@dataclass(frozen=True)
class Text:
    """A text of the page; pixels."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def rows(texts: list[Any]) -> list[list[Text]]:
    """Texts [text, four corners] as rows from top to bottom, each from left to right."""
    found = []
    for text, corners in texts:
        x, y = zip(*corners, strict=True)
        found.append(Text(text, min(x), min(y), max(x), max(y)))
    lines: list[list[Text]] = []
    for text in sorted(found, key=lambda text: text.middle):
        height = text.bottom - text.top
        line = lines[-1] if lines else []
        if line and abs(text.middle - sum(t.middle for t in line) / len(line)) < 0.5 * height:
            line.append(text)
        else:
            lines.append([text])
    return [sorted(line, key=lambda text: text.left) for line in lines]


def answer(kind: str, question: str, lines: list[list[Text]]) -> str:
    """The answer to a question of sroie_vqa; empty where the rules find none."""
    if kind == "row":
        return right_of(question.split('"')[1], lines)
    plain = {"total": total, "date": date, "time": time, "company": company, "address": address}
    return plain[kind](lines)


def date(lines: list[list[Text]]) -> str:
    """The first date; one in a row that says so before others."""
    named = [line for line in lines if "DATE" in said(line).upper()]
    for line in [*named, *lines]:
        for text in line:
            for found in DATE.finditer(text.text):
                numbers = [int(number) for number in re.findall(r"\d+", found.group())]
                months = 12 if len(numbers) == 3 else 31
                if 1 <= min(numbers) <= months and min(numbers[0], numbers[-1]) <= 31:
                    return found.group().strip()
    return ""


def time(lines: list[list[Text]]) -> str:
    """The first time of day; one beside a date before others."""
    dated = [line for line in lines if DATE.search(said(line))]
    for line in [*dated, *lines]:
        for text in line:
            found = TIME.search(DATE.sub(" ", text.text))
            if found and ":" in found.group():
                return re.sub(r"(?<=\d)\.(?=\d)", ":", found.group().strip())
    return ""


def total(lines: list[list[Text]]) -> str:
    """Cash less change where a row that calls itself total says the same; else the largest amount
    of such rows, those first that are not the total of something else."""
    rated: list[tuple[int, float, str]] = []
    for number, line in enumerate(lines):
        words = said(line).upper().replace("T0TAL", "TOTAL")
        if "TOTAL" not in words and "AMOUNT DUE" not in words:
            continue
        following = said(lines[min(number + 1, len(lines) - 1)])
        for amount in MONEY.findall(words)[-1:] or MONEY.findall(following)[-1:]:
            rating = 0 if NOT_TOTAL.search(words) else 1
            rating += bool(re.search(r"GRAND|NETT?\b|ROUNDED|PAYABLE|DUE|INCL", words))
            rated.append((rating, value(amount), re.sub(r"[ ,](?=.*[.,])", "", amount)))
    cash, change = right_of("CASH", lines), right_of("CHANGE", lines)
    if MONEY.search(cash) and MONEY.search(change):
        paid = round(value(cash) - value(change), 2)
        if any(abs(amount - paid) < 0.05 for _, amount, _ in rated):
            return f"{paid:.2f}"
    every = [(0, value(amount), amount) for line in lines for amount in MONEY.findall(said(line))]
    return max(rated or every, default=(0, 0.0, ""))[2]


def value(amount: str) -> float:
    """An amount as a number: its last two digits are cents."""
    found = MONEY.search(amount)
    return int(re.sub(r"\D", "", found.group())) / 100 if found else 0.0


def right_of(key: str, lines: list[list[Text]]) -> str:
    """What follows the text most like `key`: in the same text, or right of it in the row."""
    wanted = bare(key)
    best: tuple[float, str] = (0.0, "")
    for line in lines:
        for place, text in enumerate(line):
            head = bare(text.text)
            likeness = fuzz.ratio(head[: len(wanted)], wanted)
            rest = after(key, text.text)
            if likeness < 80 or rest[:1].isalpha():
                continue
            rest = rest.strip(" :")
            follows = rest or " ".join(other.text for other in line[place + 1 : place + 2])
            exact = likeness - (0 if rest or len(head) == len(wanted) else 10)
            if follows.strip(" :") and exact > best[0]:
                best = (exact, follows.strip(" :"))
    return best[1]


def after(key: str, text: str) -> str:
    """What `text` says after the letters of `key`."""
    left = len(bare(key))
    for place, letter in enumerate(text):
        if left == 0:
            return text[place:]
        left -= letter.isalnum() or letter == "%"
    return ""


def company(lines: list[list[Text]]) -> str:
    """The first row near the top that reads like a company, without its registration number."""
    top = [said(line) for line in lines[:8]]
    named = next((text for text in top if COMPANY.search(text)), None)
    lettered = next((text for text in top if len(re.findall(r"[A-Za-z]", text)) > 5), "")
    return re.sub(r"\s*\(?[\d-]{5,}\s*-?\s*[A-Z]?\)?\s*$", "", named or lettered).strip()


def address(lines: list[list[Text]]) -> str:
    """The rows from the first that looks like an address to the first that does not."""
    taken: list[str] = []
    for line in lines[1:14]:
        text = said(line)
        begins = re.search(
            r"\bNO\b|LOT|JALAN|\bJLN?\b|LEVEL|TAMAN|^\d+\s*[,-]", text, re.IGNORECASE
        )
        if taken and (ADDRESS_END.search(text) or len(taken) == 4):
            break
        if re.search(
            r"\bCO\.? ?(?:REG)?\.? ?NO|\bB\.?R\.? NO|\(?\d{5,7}-[A-Z]\)?$", text, re.IGNORECASE
        ):
            continue
        if (taken or begins) and not COMPANY.search(text) and not ADDRESS_END.search(text):
            taken.append(re.sub(r"^\d{5,7}-[A-Z] ", "", text))
    return " ".join(taken)


def said(line: list[Text]) -> str:
    """A row's texts, one after another."""
    return " ".join(text.text for text in line)


def bare(text: str) -> str:
    """Letters, digits and percent signs in upper case."""
    return re.sub(r"[^A-Z0-9%]", "", text.upper())
