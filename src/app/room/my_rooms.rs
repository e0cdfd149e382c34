//! The user's own rooms beside the conversation: a column on wide screens, behind a button on narrow ones.

use leptos::either::Either;
use leptos::prelude::*;
use leptos_i18n::td_string;

use crate::app::erase::Erase;
use crate::app::locale::{Language, t};
use crate::app::my_rooms::{Badge, MyRoomList};
use crate::app::notifications::NotifySwitch;
use crate::app::room_context::RoomContext;
use crate::app::switcher::Switcher;
use crate::client::session::Intent;
use crate::protocol::MyRoom;

/// The id of the panel that the button opens.
const PANEL: &str = "my-rooms";

/// The button that opens the list on a narrow screen. A popover, so that it works without script.
#[component]
pub(super) fn MyRoomsButton(
    /// The number of unread messages in other rooms.
    unread: Memo<u64>,
) -> impl IntoView {
    let i18n = Language::current();
    view! {
        <button type="button" class="my-rooms-button" popovertarget=PANEL>
            <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="M4 6h16M4 12h16M4 18h10"></path></svg>
            <span class="visually-hidden">{move || td_string!(i18n.get(), my_rooms)}</span>
            <Badge count=unread/>
        </button>
    }
}

/// The list.
#[component]
pub(super) fn MyRooms(room: RoomContext, rooms: Signal<Vec<MyRoom>>, name: String) -> impl IntoView {
    let i18n = Language::current();
    let is_kept = Memo::new({
        let name = name.clone();
        move |_| rooms.with(|rooms| rooms.iter().any(|room| room.name == name))
    });
    let switcher = expect_context::<Switcher>();
    let is_empty = move || rooms.with(Vec::is_empty);
    let keep = move |_| {
        let id = room.state.id.get_value();
        room.client.dispatch(Intent::KeepRoom { room: id, on: !is_kept.get_untracked() });
    };
    view! {
        <nav id=PANEL class="my-rooms" popover="auto" aria-label=t!(i18n, my_rooms)>
            <a class="all" href="/">{t!(i18n, home)}</a>
            <h2>{t!(i18n, my_rooms)}</h2>
            {move || is_empty().then(|| view! { <p class="empty">{t!(i18n, my_rooms_empty)}</p> })}
            <MyRoomList rooms current=name/>
            <button type="button" class="needs-script" aria-keyshortcuts="Control+K" on:click=move |_| switcher.open()>
                {t!(i18n, switch_room)} <kbd aria-hidden="true">"Ctrl K"</kbd>
            </button>
            <button type="button" class="needs-script" on:click=keep>
                {move || if is_kept.get() { Either::Left(t!(i18n, forget_room)) } else { Either::Right(t!(i18n, keep_room)) }}
            </button>
            <NotifySwitch client=room.client room=room.state is_kept/>
        </nav>
    }
    .erase()
}
