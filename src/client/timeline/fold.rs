//! Folds consecutive arrivals and departures into one row, however many they are.

use leptos::prelude::*;

use super::Timeline;
use super::presence::{Change, Presence};
use super::row::Entry;
use crate::protocol::User;

impl Timeline {
    /// Adds an arrival or departure after the newest row, or to it if it has others.
    pub(crate) fn add_presence(self, user: User, change: Change) {
        let last = self.last_chunk().filter(|chunk| {
            chunk.rows.with_untracked(|rows| rows.last().is_some_and(|row| matches!(row.entry, Entry::Presence(_))))
        });
        let Some(chunk) = last else {
            let mut presence = Presence::default();
            presence.add(user, change);
            return self.append(vec![Entry::Presence(presence)]);
        };
        let id = self.new_id();
        chunk.rows.update(|rows| {
            if let Some(row) = rows.last_mut()
                && let Entry::Presence(presence) = &mut row.entry
            {
                presence.add(user, change);
                // A row with another id is rendered again.
                row.id = id;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::timeline::People;
    use crate::client::timeline::fixture::{message_entry, user};
    use crate::client::timeline::presence::MOST_NAMED;

    fn rows(timeline: Timeline) -> Vec<Entry> {
        timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked()).map(|row| row.entry).collect()
    }

    #[test]
    fn consecutive_arrivals_and_departures_are_one_bounded_row() {
        Owner::new().with(|| {
            let timeline = Timeline::new(vec![]);
            for id in 1..=10_000 {
                timeline.add_presence(user(id), Change::Joined);
            }
            timeline.add_presence(user(2), Change::Left);
            let [Entry::Presence(presence)] = &rows(timeline)[..] else { panic!("one row") };
            assert_eq!((presence.joined.named.len(), presence.joined.others), (MOST_NAMED - 1, 9_980));
            assert_eq!(presence.left, People { named: vec![user(2)], others: 0 });

            timeline.append(vec![message_entry(1, 0)]);
            timeline.add_presence(user(1), Change::Left);
            assert_eq!(rows(timeline).len(), 3, "a message separates");
        });
    }

    #[test]
    fn last_change_of_a_person_counts() {
        Owner::new().with(|| {
            let timeline = Timeline::new(vec![]);
            for _ in 0..100 {
                timeline.add_presence(user(1), Change::Left);
                timeline.add_presence(user(1), Change::Joined);
            }
            let joined = People { named: vec![user(1)], others: 0 };
            assert_eq!(rows(timeline), [Entry::Presence(Presence { joined, left: People::default() })]);
        });
    }

    #[test]
    fn folded_row_is_rendered_again() {
        Owner::new().with(|| {
            let timeline = Timeline::new(vec![]);
            let id = || timeline.chunks().last().map(|chunk| chunk.rows.get_untracked()[0].id);
            timeline.add_presence(user(1), Change::Joined);
            let before = id();
            timeline.add_presence(user(2), Change::Joined);
            assert_ne!(id(), before);
        });
    }
}
