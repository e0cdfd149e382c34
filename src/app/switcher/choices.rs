//! The rooms that the dialog offers. Pure.

use crate::protocol::MyRoom;
use crate::protocol::name::normalize_room_name;

/// The most rooms that are offered.
const MOST_OFFERED: usize = 20;

/// A room that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) name: String,
    pub(super) unread: u64,
    /// It is the text that was typed, and in no list.
    pub(super) is_typed: bool,
}

/// The rooms whose names contain the text: those with unread messages first, then the user's other ones, then active
/// ones, and at last the text itself as the name of a room.
pub(super) fn offered<'a>(own: &[MyRoom], active: impl Iterator<Item = &'a str>, typed: &str) -> Vec<Choice> {
    let typed = typed.trim();
    let wanted = typed.to_lowercase();
    let mut own: Vec<_> = own.iter().filter(|room| room.name.to_lowercase().contains(&wanted)).collect();
    own.sort_by_key(|room| room.unread() == 0);
    let is_own = |name: &&str| own.iter().any(|room| room.name == **name);
    let others = active.filter(|name| name.to_lowercase().contains(&wanted) && !is_own(name));
    let others = others.map(|name| Choice { name: name.to_owned(), unread: 0, is_typed: false });
    let own = own.iter().map(|room| Choice { name: room.name.clone(), unread: room.unread(), is_typed: false });
    let mut choices: Vec<_> = own.chain(others).take(MOST_OFFERED).collect();
    if let Ok(name) = normalize_room_name(typed)
        && !choices.iter().any(|choice| choice.name.to_lowercase() == name.to_lowercase())
    {
        choices.push(Choice { name, unread: 0, is_typed: true });
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RoomId;

    fn names(typed: &str) -> Vec<(String, bool)> {
        let rooms = [("Alpha", 1), ("beta", 5), ("한국어", 1)].into_iter().zip(1..);
        let own = rooms.map(|((name, head), id)| MyRoom {
            room: RoomId(id),
            name: name.into(),
            head,
            read: 1,
            mentions: None,
        });
        let own: Vec<_> = own.collect();
        let choices = offered(&own, ["Alpha", "gamma"].into_iter(), typed);
        choices.into_iter().map(|choice| (choice.name, choice.is_typed)).collect()
    }

    #[test]
    fn rooms_with_unread_messages_come_first_and_the_typed_name_last() {
        let plain = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), false)).collect::<Vec<_>>();
        assert_eq!(names(""), plain(&["beta", "Alpha", "한국어", "gamma"]));
        assert_eq!(names("alpha"), plain(&["Alpha"]));
        assert_eq!(names("국어")[0], ("한국어".to_owned(), false));
        assert_eq!(names("ta"), [("beta".to_owned(), false), ("ta".to_owned(), true)]);
    }
}
