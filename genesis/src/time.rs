//! RFC 3339 text and milliseconds since 1970.

use toml::value::{Datetime, Offset};
use vibecoin_primitives::TimeMs;

use crate::TIME_MAX;

const DAY_MS: i64 = 86_400_000;

/// Days from 1970-01-01 to the first of March of `year`, in the proleptic Gregorian calendar.
///
/// Years that start in March put the leap day last, so that month lengths follow one formula.
fn days_to_march(year: i64) -> i64 {
    let leap_days = year
        .div_euclid(4)
        .saturating_sub(year.div_euclid(100))
        .saturating_add(year.div_euclid(400));
    year.saturating_mul(365)
        .saturating_add(leap_days)
        .saturating_sub(719_468)
}

/// Days from the first of March to the first of the month `index` months later.
fn days_to_month(index: i64) -> i64 {
    index.saturating_mul(153).saturating_add(2).div_euclid(5)
}

/// Days from 1970-01-01; `None` for a day that the month does not have.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let length = match month {
        2 => 28i64.saturating_add(i64::from(leap)),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let (year, index) = if month < 3 {
        (year.saturating_sub(1), month.saturating_add(9))
    } else {
        (year, month.saturating_sub(3))
    };
    Some(
        days_to_march(year)
            .saturating_add(days_to_month(index))
            .saturating_add(day)
            .saturating_sub(1),
    )
}

/// Year, month and day of a day counted from 1970-01-01, from 1970 on.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // An estimate from the mean length of a year, which may be a year off, then corrected by comparison.
    let estimate = days
        .saturating_add(719_468)
        .saturating_mul(400)
        .div_euclid(146_097);
    let mut year = estimate.saturating_add(1);
    while days_to_march(year) > days {
        year = year.saturating_sub(1);
    }
    let day_of_year = days.saturating_sub(days_to_march(year));
    let index = day_of_year.saturating_mul(5).saturating_add(2).div_euclid(153);
    let day = day_of_year.saturating_sub(days_to_month(index)).saturating_add(1);
    if index < 10 {
        (year, index.saturating_add(3), day)
    } else {
        (year.saturating_add(1), index.saturating_sub(9), day)
    }
}

/// Writes a time as RFC 3339 in UTC, with milliseconds only when there are some.
pub(crate) fn to_text(time: TimeMs) -> String {
    let ms = i64::try_from(time.0.min(TIME_MAX.0)).unwrap_or_default();
    let (year, month, day) = civil_from_days(ms.div_euclid(DAY_MS));
    let (of_day, milli) = (ms.rem_euclid(DAY_MS).div_euclid(1000), ms.rem_euclid(1000));
    let (hour, minute, second) = (
        of_day.div_euclid(3600),
        of_day.div_euclid(60).rem_euclid(60),
        of_day.rem_euclid(60),
    );
    let fraction = if milli == 0 {
        String::new()
    } else {
        format!(".{milli:03}")
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Accepts a date with time and offset, whole milliseconds, from 1970 to 9999; `None` for all else.
pub(crate) fn from_datetime(value: &Datetime) -> Option<TimeMs> {
    let (date, time, offset) = (value.date?, value.time?, value.offset?);
    let nanosecond = i64::from(time.nanosecond.unwrap_or(0));
    let second = i64::from(time.second.unwrap_or(0));
    // A leap second has no separate number in Unix time.
    if nanosecond.rem_euclid(1_000_000) != 0 || second > 59 {
        return None;
    }
    let offset_minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day))?;
    let minutes = i64::from(time.hour)
        .checked_mul(60)?
        .checked_add(i64::from(time.minute))?
        .checked_sub(offset_minutes)?;
    let ms = days
        .checked_mul(DAY_MS)?
        .checked_add(minutes.checked_mul(60_000)?)?
        .checked_add(second.checked_mul(1000)?)?
        .checked_add(nanosecond.div_euclid(1_000_000))?;
    u64::try_from(ms)
        .ok()
        .map(TimeMs)
        .filter(|time| *time <= TIME_MAX)
}

/// Reads RFC 3339 text under the rules of [`from_datetime`].
pub(crate) fn from_text(text: &str) -> Option<TimeMs> {
    from_datetime(&text.parse().ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    #[test]
    fn known_times_read_and_write_as_expected() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1999-12-31T23:59:59.999Z", 946_684_799_999),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2024-02-29T23:59:59Z", 1_709_251_199_000),
            ("2025-01-01T00:00:00Z", 1_735_689_600_000),
            ("2100-03-01T00:00:00.001Z", 4_107_542_400_001),
            ("9999-12-31T23:59:59.999Z", TIME_MAX.0),
        ] {
            assert_eq!(from_text(text), Some(TimeMs(ms)), "{text}");
            assert_eq!(to_text(TimeMs(ms)), text);
        }
    }

    #[test]
    fn an_offset_moves_the_time_to_utc() {
        assert_eq!(
            from_text("2025-01-01T02:30:00+02:30"),
            from_text("2025-01-01T00:00:00Z")
        );
        assert_eq!(
            from_text("2024-12-31T19:00:00-05:00"),
            from_text("2025-01-01T00:00:00Z")
        );
    }

    #[test]
    fn what_is_no_exact_time_is_refused() {
        for text in [
            "2025-01-01",
            "00:00:00",
            "2025-01-01T00:00:00",
            "2025-02-29T00:00:00Z",
            "2025-04-31T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2025-01-01T00:00:00.0001Z",
            "yesterday",
        ] {
            assert_eq!(from_text(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_follows_the_day_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        let last = i64::try_from(TIME_MAX.0).unwrap() / DAY_MS;
        for days in 0..=last {
            assert_eq!(civil_from_days(days), (year, month, day));
            assert_eq!(days_from_civil(year, month, day), Some(days));
            day += 1;
            if days_from_civil(year, month, day).is_none() {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }
}
