//! Moments as texts: `2026-11-21T18:30:05.123+00:00`.

/// A moment in milliseconds since 1970.
pub(super) fn text(at_ms: u64) -> String {
    let (seconds, ms) = (at_ms / 1000, at_ms % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}+00:00",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// A moment in seconds since 1970, as the check of certificates tells it: `2026-11-21 18:30:05`.
pub(super) fn plain(at_s: u64) -> String {
    let (year, month, day) = date(at_s / 86_400);
    let second = at_s % 86_400;
    format!("{year}-{month:02}-{day:02} {}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// A moment in seconds since 1970, as certificates tell it: `2026-11-21T18:30:05Z`. One before that is told as its beginning.
pub(super) fn zulu(at_s: i64) -> String {
    let moment = text(u64::try_from(at_s).unwrap_or(0).saturating_mul(1000));
    format!("{}Z", moment.split('.').next().unwrap_or_default())
}

/// The date so many days after 1970-01-01. Years begin in March here, so that the odd day comes last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc() {
        assert_eq!(plain(1_795_285_805), "2026-11-21 18:30:05");
        assert_eq!(zulu(1_795_285_805), "2026-11-21T18:30:05Z");
        assert_eq!(zulu(-1), "1970-01-01T00:00:00Z");
        assert_eq!(text(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(text(951_782_400_000), "2000-02-29T00:00:00.000+00:00");
        assert_eq!(text(1_795_285_805_123), "2026-11-21T18:30:05.123+00:00");
        assert_eq!(text(4_107_542_400_000), "2100-03-01T00:00:00.000+00:00");
    }
}
