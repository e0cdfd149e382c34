//! Dates and times as text, in the reader's time where it is known.

use crate::client::timeline::Clock;

/// The parts of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Parts {
    /// Takes milliseconds since 1970 UTC apart.
    pub(super) fn of(at: u64, clock: Clock) -> Self {
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

    /// Days to a date in the proleptic Gregorian calendar, counting from 1 March, so that a leap
    /// day is the last of its year.
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
    pub(super) fn date(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `14:05`.
    pub(super) fn short(self) -> String {
        format!("{:02}:{:02}", self.hour, self.minute)
    }

    /// `2026-11-23 14:05:09`.
    pub(super) fn full(self) -> String {
        format!("{} {}:{:02}", self.date(), self.short(), self.second)
    }
}

/// The moment for a machine: RFC 3339 in UTC.
pub(super) fn machine(at: u64) -> String {
    let parts = Parts::utc(at);
    format!("{}T{}:{:02}Z", parts.date(), parts.short(), parts.second)
}

/// A day as its readers say it, in their language; only the browser knows how.
pub(super) fn day_in_words(at: u64, lang: &str) -> String {
    let options = js_sys::Object::new();
    // Setting a property of a fresh object cannot fail.
    let _ = js_sys::Reflect::set(&options, &"dateStyle".into(), &"full".into());
    js_sys::Date::new(&(at as f64).into()).to_locale_date_string(lang, &options).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_the_right_date() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_000, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_795_442_709_123, "2026-11-23T14:05:09Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(machine(at), text);
        }
    }
}
