"""Amounts, dates and times as they are written. Amounts are whole cents until they are printed."""

import calendar
import random

_MONTHS = [name.upper() for name in calendar.month_name]
_DATES = {
    "{d:02}/{m:02}/{y}": 50,
    "{d:02}-{m:02}-{y}": 14,
    "{d:02}-{m:02}-{s:02}": 12,
    "{d:02}/{m:02}/{s:02}": 12,
    "{d:02} {mon} {y}": 9,
    "{d}/{m}/{y}": 4,
    "{d:02}-{mon}-{y}": 3,
    "{d:02} {mon} {s:02}": 2,
    "{y}-{m:02}-{d:02}": 3,
    "{y}/{m:02}/{d:02}": 1,
    "{d:02}/{mon}/{y}": 2,
    "{d:02}.{m:02}.{y}": 2,
    "{d:02}.{m:02}.{s:02}": 1,
    "{d} {month} {y}": 1,
    "{mon} {d:02}, {y}": 1,
}
_TIMES = {
    "{h:02}:{n:02}": 40,
    "{h:02}:{n:02}:{s:02}": 30,
    "{t:02}:{n:02}{p}": 8,
    "{t:02}:{n:02}:{s:02} {p}": 7,
    "{t}:{n:02}:{s:02} {p}": 5,
    "{t}:{n:02}:{s:02}": 2,
    "{t:02}:{n:02} {p}": 3,
    "{t}:{n:02} {p}": 2,
    "{t:02}:{n:02}:{s:02}{p}": 2,
}


def date(rng: random.Random) -> str:
    """A day of 2009 to 2026, month names in capitals."""
    year, month = rng.randint(2009, 2026), rng.randint(1, 12)
    day = rng.randint(1, calendar.monthrange(year, month)[1])
    name = _MONTHS[month]
    form = rng.choices([*_DATES], [*_DATES.values()])[0]
    return form.format(d=day, m=month, y=year, s=year % 100, mon=name[:3], month=name)


def time(rng: random.Random) -> str:
    """A time of the day, mostly of opening hours."""
    hour = min(23, max(0, round(rng.gauss(14.5, 4))))
    return rng.choices([*_TIMES], [*_TIMES.values()])[0].format(
        h=hour,
        t=(hour - 1) % 12 + 1,
        n=rng.randrange(60),
        s=rng.randrange(60),
        p="AM" if hour < 12 else "PM",
    )


def money(cents: int, comma: bool = True) -> str:
    """1234567 -> 12,345.67."""
    text = f"{abs(cents) / 100:,.2f}" if comma else f"{abs(cents) / 100:.2f}"
    return "-" + text if cents < 0 else text


def price(rng: random.Random) -> int:
    """Cents: mostly a few units, sometimes hundreds; often ends in 0 or 9."""
    cents = round(100 * 10 ** rng.uniform(-0.1, rng.choice((1.2, 1.5, 2.3))))
    ending = rng.random()
    if ending < 0.6:
        return max(10, cents // 10 * 10)
    return max(10, cents // 10 * 10 + 9) if ending < 0.75 else max(10, cents)
