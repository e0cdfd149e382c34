//! Dates and times as text, in the reader's time zone where it is known.

pub(crate) use crate::client::timeline::Clock;

/// The calendar date and time of day of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Parts {
    /// Converts milliseconds since 1970-01-01 UTC.
    pub(crate) fn of(at: u64, clock: Clock) -> Self {
        match clock {
            Clock::Utc => Self::utc(at),
            Clock::Local => {
                let date = js_sys::Date::new(&(at as f64).into());
                Self {
                    year: date.get_full_year().into(),
                    month: u64::from(date.get_month()) + 1,
                    day: date.get_date().into(),
                    hour: date.get_hours().into(),
                    minute: date.get_minutes().into(),
                    second: date.get_seconds().into(),
                }
            }
        }
    }

    /// Converts days to a date of the proleptic Gregorian calendar. Years start on 1 March, so that a leap day is the
    /// last day of its year.
    fn utc(at: u64) -> Self {
        let seconds = at / 1_000;
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: seconds / 3_600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    /// `2026-11-23`.
    pub(crate) fn date(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `14:05`.
    pub(crate) fn short(self) -> String {
        format!("{:02}:{:02}", self.hour, self.minute)
    }

    /// `2026-11-23 14:05:09`.
    pub(crate) fn full(self) -> String {
        format!("{} {}:{:02}", self.date(), self.short(), self.second)
    }
}

/// A timestamp in RFC 3339, in UTC.
pub(crate) fn rfc3339(at: u64) -> String {
    let parts = Parts::utc(at);
    format!("{}T{}:{:02}Z", parts.date(), parts.short(), parts.second)
}

/// A date with weekday and month in words, formatted by the browser.
pub(super) fn long_date(at: u64, lang: &str) -> String {
    let options = js_sys::Object::new();
    // Setting a property of a new object cannot fail.
    let _ = js_sys::Reflect::set(&options, &"dateStyle".into(), &"full".into());
    js_sys::Date::new(&(at as f64).into()).to_locale_date_string(lang, &options).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_matches_known_dates() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_000, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_795_442_709_123, "2026-11-23T14:05:09Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(at), text);
        }
    }
}
