//! The list of the user's own rooms, with the number of unread messages in each.

use leptos::prelude::*;
use leptos_i18n::td_string;

use super::locale::Language;
use super::path;
use crate::client::Client;
use crate::protocol::{MAX_UNREAD, MyRoom};

/// The list as the server has rendered it, and later as the client knows it.
pub(super) fn my_rooms(client: Client, rendered: Vec<MyRoom>) -> Signal<Vec<MyRoom>> {
    Signal::derive(move || client.state.my_rooms.get().unwrap_or_else(|| rendered.clone()))
}

/// The number of unread messages in all rooms but the one that is shown.
pub(super) fn unread_elsewhere(rooms: Signal<Vec<MyRoom>>, current: &str) -> Memo<u64> {
    let current = current.to_owned();
    let unread = |room: &MyRoom| room.unread().min(MAX_UNREAD);
    Memo::new(move |_| rooms.with(|rooms| rooms.iter().filter(|room| room.name != current).map(unread).sum()))
}

/// Links to the rooms. `current`: the room that is shown, whose unread messages are not counted.
#[component]
pub(super) fn MyRoomList(rooms: Signal<Vec<MyRoom>>, #[prop(optional, into)] current: String) -> impl IntoView {
    let names = Memo::new(move |_| rooms.with(|rooms| rooms.iter().map(|room| room.name.clone()).collect::<Vec<_>>()));
    view! {
        <ul class="my-room-list" translate="no">
            <For each=move || names.get() key=|name| name.clone() let:name>
                <Item rooms is_current=name == current name/>
            </For>
        </ul>
    }
}

#[component]
fn Item(rooms: Signal<Vec<MyRoom>>, name: String, is_current: bool) -> impl IntoView {
    let number = |of: fn(&MyRoom) -> u64| {
        let name = name.clone();
        Memo::new(move |_| {
            let find = |rooms: &Vec<MyRoom>| rooms.iter().find(|room| room.name == name).map_or(0, of);
            if is_current { 0 } else { rooms.with(find) }
        })
    };
    let (unread, mentions) = (number(MyRoom::unread), number(MyRoom::unread_mentions));
    let href = path::room(&name);
    view! {
        <li>
            <a href=href class:unread=move || unread.get() != 0 aria-current=is_current.then_some("page")>
                <bdi>{name}</bdi>
                <MentionBadge count=mentions/>
                <Badge count=unread/>
            </a>
        </li>
    }
}

/// A number of unread messages, as it is shown: `5`, `99+`.
pub(super) fn shown(count: u64) -> String {
    if count >= MAX_UNREAD { format!("{}+", MAX_UNREAD - 1) } else { count.to_string() }
}

/// A number of unread messages; nothing for 0.
#[component]
pub(super) fn Badge(count: Memo<u64>) -> impl IntoView {
    let i18n = Language::current();
    let text = move || shown(count.get());
    view! {
        <Show when=move || count.get() != 0>
            <span class="badge" role="img" aria-label=move || td_string!(i18n.get(), unread, count = text())>{text}</span>
        </Show>
    }
}

/// A number of unread messages that mention the user; nothing for 0.
#[component]
fn MentionBadge(count: Memo<u64>) -> impl IntoView {
    let i18n = Language::current();
    let text = move || shown(count.get());
    view! {
        <Show when=move || count.get() != 0>
            <span class="badge mention" role="img" aria-label=move || td_string!(i18n.get(), mentions, count = text())>"@"{text}</span>
        </Show>
    }
}
