"""What a month comes to: the arithmetic by hand, little data said so, a range that grows with the days that vary."""

import datetime
import zoneinfo

from budgets import forecasts, zones

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOVEMBER = zones.Month(BERLIN, datetime.datetime(2026, 11, 1, tzinfo=BERLIN), datetime.datetime(2026, 12, 1, tzinfo=BERLIN))
NOW = datetime.datetime(2026, 11, 21, tzinfo=BERLIN)


def days(*amounts: int) -> dict[datetime.date, int]:
    """These amounts on the days before NOW, the last one yesterday."""
    first = NOW.date() - datetime.timedelta(days=len(amounts))
    return {first + datetime.timedelta(days=number): amount for number, amount in enumerate(amounts)}


def test_under_four_complete_days_nothing_is_forecast():
    assert forecasts.month(days(5, 5, 5), spent=15, of=NOVEMBER, now=NOW) is None
    assert forecasts.month({}, spent=15, of=NOVEMBER, now=NOW) is None
    assert forecasts.month(days(5, 5, 5, 5), spent=20, of=NOVEMBER, now=NOW) is not None


def test_equal_days_leave_no_doubt_and_go_on_as_they_were():
    found = forecasts.month(days(*[1_000_000] * 20), spent=20_000_000, of=NOVEMBER, now=NOW)
    assert found is not None
    assert (found.micros, found.low, found.high, found.per_day) == (30_000_000, 30_000_000, 30_000_000, 1_000_000)


def test_days_that_vary_widen_the_range_as_the_textbook_says():
    found = forecasts.month(days(0, 2_000_000, 0, 2_000_000, 1), spent=4_000_001, of=NOVEMBER, now=NOW)
    assert found is not None
    # from the first day with spending: 2, 0, 2, 0.000001; mean 1.00000025; variance 4/3; ten days ahead, told from four
    assert found.days == 4
    assert found.micros == 14_000_001  # the mean is cut to whole micro-units
    assert abs(found.margin - int(1.28 * (4e12 / 3 * 10 + 4e12 / 3 * 100 / 4) ** 0.5)) < 100
    assert found.low >= 4_000_001  # what is spent stays spent


def test_a_quiet_day_counts_and_days_before_the_first_do_not():
    found = forecasts.month(days(0, 0, 3, 0, 0, 0), spent=3, of=NOVEMBER, now=NOW)
    assert found is not None
    assert found.days == 4


def test_when_a_cap_is_reached():
    found = forecasts.month(days(*[1_000_000] * 8), spent=8_000_000, of=NOVEMBER, now=NOW)
    assert found is not None
    assert found.reaches(10_000_000, spent=8_000_000, now=NOW) == NOW + datetime.timedelta(days=2)
    assert found.reaches(8_000_000, spent=8_000_000, now=NOW) == NOW


def test_a_month_in_a_zone_with_summer_time_has_its_own_days_and_its_own_length():
    october = zones.month(BERLIN, "2026-10")
    assert len(october.days) == 31
    assert (october.end.astimezone(datetime.UTC) - october.start.astimezone(datetime.UTC)) == datetime.timedelta(days=31, hours=1)
    assert zones.month(BERLIN, "no month").slug == zones.month(BERLIN).slug
