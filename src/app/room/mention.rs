//! Mentions of users in message texts: `@` and a nickname.

use leptos::prelude::*;

use crate::app::erase::Erase;
use crate::app::room_context::RoomContext;
use crate::protocol::{MAX_MENTIONS, Message, User, UserId, begins_mention};

/// The most marked mentions in one text. A message of nothing but mentions costs as much as others.
pub(super) const MAX_MARKED: usize = 40;

/// The users whom a message mentions, for its view.
#[derive(Clone, Debug)]
pub(super) struct Mentions {
    users: Vec<User>,
    /// The user of this page.
    me: UserId,
}

impl Mentions {
    pub(super) fn of(room: RoomContext, message: &Message) -> Self {
        Self { users: message.mentions().to_vec(), me: room.me.with_untracked(|me| me.id) }
    }

    /// A message that mentions nobody.
    pub(super) fn none() -> Self {
        Self { users: Vec::new(), me: UserId(0) }
    }

    /// The views of a text without other markup. An empty text has none. `budget`: the elements that may still be made for
    /// the message.
    pub(super) fn views(&self, text: String, budget: &mut usize) -> Vec<AnyView> {
        let mut views = Vec::new();
        let mut plain = 0;
        for (at, user) in find(&text, &self.users).take(*budget) {
            if at > plain {
                views.push(text[plain..at].to_owned().erase());
            }
            plain = at + 1 + user.nickname.len();
            *budget -= 1;
            let (name, is_me) = (text[at..plain].to_owned(), user.id == self.me);
            views.push(view! { <span class="mention" class:me=is_me translate="no">{name}</span> }.erase());
        }
        if plain < text.len() {
            views.push(text[plain..].to_owned().erase());
        }
        views
    }
}

/// The people whom the page knows: who are in the room, and then who have written.
pub(super) fn people(room: RoomContext) -> Vec<User> {
    let members = room.state.members.get_untracked();
    members.into_iter().chain(room.state.timeline.authors()).collect()
}

/// The people whom a text mentions, of those whom the page knows: who are in the room, and who have written.
pub(super) fn mentioned(room: RoomContext, text: &str) -> Vec<UserId> {
    if !text.contains('@') {
        return Vec::new();
    }
    // Of two with the same name, the one who is in the room.
    let people = people(room);
    let mut ids: Vec<_> = find(text, &people).map(|(_, user)| user.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(MAX_MENTIONS);
    ids
}

/// The places of mentions in a text, apart from each other, each with the user who has the longest name there; of
/// several, the first.
fn find<'a>(text: &'a str, people: &'a [User]) -> impl Iterator<Item = (usize, &'a User)> {
    let mut end = 0;
    text.match_indices('@').filter_map(move |(at, _)| {
        if at < end || !begins_mention(&text[..at]) {
            return None;
        }
        let rest = &text[at + 1..];
        let is_named = |user: &&User| !user.nickname.is_empty() && rest.starts_with(&user.nickname);
        let longest = |a: &'a User, b: &'a User| if b.nickname.len() > a.nickname.len() { b } else { a };
        let user = people.iter().filter(is_named).reduce(longest)?;
        end = at + 1 + user.nickname.len();
        Some((at, user))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, names: &[&str]) -> Vec<(usize, String)> {
        let people: Vec<_> =
            names.iter().zip(1..).map(|(name, id)| User { id: UserId(id), nickname: (*name).into() }).collect();
        find(text, &people).map(|(at, user)| (at, format!("{} {}", user.id.0, user.nickname))).collect()
    }

    #[test]
    fn longest_name_after_an_at_sign_is_mentioned() {
        let names = ["Ann", "Ann Lee", "Bob", "철수", "Bob"];
        let expect =
            |pairs: &[(usize, &str)]| pairs.iter().map(|(at, user)| (*at, (*user).to_owned())).collect::<Vec<_>>();
        assert_eq!(found("@Ann Lee and @Ann", &names), expect(&[(0, "2 Ann Lee"), (13, "1 Ann")]));
        assert_eq!(found("안녕 @철수야", &names), expect(&[(7, "4 철수")]));
        assert_eq!(found("@Bob", &names), expect(&[(0, "3 Bob")]), "the first of two");
        assert_eq!(found("Ann, ann@Ann, @ @Eve", &names), []);
    }

    #[test]
    fn mentions_do_not_overlap() {
        assert_eq!(found("@x@Ann", &["Ann", "x@Ann"]), [(0, "2 x@Ann".to_owned())]);
        assert_eq!(found(&"@".repeat(99), &["@".repeat(32).as_str()]).len(), 3);
        assert_eq!(found("@a@a", &["a"]).len(), 1, "the second one follows a letter");
    }
}
