//! Times: nanoseconds since the Unix epoch in UTC, everywhere.

/// Nanoseconds of one second.
pub const SECOND: i64 = 1_000_000_000;
/// Nanoseconds of one day.
pub const DAY: i64 = 86_400 * SECOND;

/// The UTC day of a time, as days since 1970-01-01.
pub fn day(ns: i64) -> i64 {
    ns.div_euclid(DAY)
}

/// `YYYY-MM-DD` of a number of days since 1970-01-01 (proleptic Gregorian calendar).
///
/// The conversion is Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
pub fn day_name(days: i64) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// RFC 3339 with nine fractional digits and `Z`.
pub fn rfc3339(ns: i64) -> String {
    let (year, month, day_of_month) = civil(day(ns));
    let rest = ns.rem_euclid(DAY);
    let (seconds, fraction) = (rest / SECOND, rest % SECOND);
    format!(
        "{year:04}-{month:02}-{day_of_month:02}T{:02}:{:02}:{:02}.{fraction:09}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known instants, before the epoch and on a leap day, print as RFC 3339 says.
    #[test]
    fn prints_known_instants() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(rfc3339(1_709_164_800 * SECOND + 5), "2024-02-29T00:00:00.000000005Z");
        assert_eq!(day_name(day(1_675_079_453 * SECOND)), "2023-01-30");
    }
}
