//! Grouping of rows by author and day.

use super::row::{Entry, Row};
use crate::protocol::Message;

/// Messages of one author within this time form one group.
const GROUP_MS: u64 = 5 * 60_000;
const DAY_MS: u64 = 24 * 3_600_000;

/// The time zone in which days are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// UTC, in which the server renders: it does not know the reader's time zone.
    Utc,
    /// The reader's time zone.
    Local,
}

impl Clock {
    /// A number that is equal for times of the same day. It has no other meaning.
    pub fn day(self, at: u64) -> u64 {
        match self {
            Self::Utc => at / DAY_MS,
            Self::Local => {
                let date = js_sys::Date::new(&(at as f64).into());
                u64::from(date.get_full_year()) * 372 + u64::from(date.get_month()) * 31 + u64::from(date.get_date())
            }
        }
    }
}

/// The content before a row, which decides whether the row starts a group or a day.
#[derive(Clone, Debug, Default)]
pub(super) struct Previous {
    pub(super) entry: Option<Entry>,
    /// The time of the last message. Notices have no time.
    pub(super) at: Option<u64>,
}

impl Previous {
    /// Marks a row as the start of a group or day, and moves on to it.
    pub(super) fn mark(&mut self, row: &mut Row, clock: Clock) {
        if let Some(message) = row.entry.message() {
            let previous = self.entry.as_ref().and_then(Entry::message);
            // A notice between two messages starts a group but no day, because it has no time.
            row.starts_day = self.at.is_none_or(|at| clock.day(at) != clock.day(message.at));
            row.starts_group = row.starts_day || previous.is_none_or(|previous| !continues(previous, message));
        }
        self.advance(row);
    }

    /// Moves on to a row.
    pub(super) fn advance(&mut self, row: &Row) {
        self.at = row.entry.message().map(|message| message.at).or(self.at);
        self.entry = Some(row.entry.clone());
    }
}

fn continues(previous: &Message, message: &Message) -> bool {
    previous.user == message.user && message.at.saturating_sub(previous.at) < GROUP_MS
}

#[cfg(test)]
mod tests {
    use leptos::prelude::Owner;

    use super::*;
    use crate::client::timeline::Timeline;
    use crate::client::timeline::fixture::{joined, left, marks, message, message_entry, message_marks};

    #[test]
    fn messages_are_grouped_by_author_pause_and_day() {
        Owner::new().with(|| {
            let timeline = Timeline::new(vec![
                message(1, 1, 0),
                message(2, 1, 1_000),
                message(3, 2, 2_000),
                message(4, 2, 2_000 + GROUP_MS),
                message(5, 2, DAY_MS),
            ]);
            let expected = [(1, true, true), (2, false, false), (3, false, true), (4, false, true), (5, true, true)];
            assert_eq!(marks(timeline), expected);
        });
    }

    #[test]
    fn prepended_messages_join_the_group_they_belong_to() {
        Owner::new().with(|| {
            let timeline = Timeline::new(vec![message(3, 1, 3_000)]);
            assert_eq!(marks(timeline), [(3, true, true)]);
            timeline.prepend(vec![message(1, 2, 1_000), message(2, 1, 2_000)]);
            assert_eq!(marks(timeline), [(1, true, true), (2, false, true), (3, false, false)]);
            assert_eq!((timeline.oldest_seq(), timeline.newest_seq()), (Some(1), Some(3)));
        });
    }

    #[test]
    fn notice_between_messages_starts_a_group_but_no_day() {
        Owner::new().with(|| {
            let timeline = Timeline::new(vec![]);
            timeline.append(vec![joined(), message_entry(1, 0)]);
            timeline.append(vec![left(), message_entry(2, 1_000)]);
            timeline.append(vec![joined(), message_entry(3, DAY_MS)]);
            assert_eq!(message_marks(timeline), [(1, true, true), (2, false, true), (3, true, true)]);
        });
    }
}
