//! A room's page: messages, members, the composer and the call.

mod actions;
mod attachments;
mod clipboard;
mod code_block;
mod composer;
mod copy_link;
mod delete_own;
mod draft;
mod dropped_file;
mod emoji_picker;
mod enter_key;
mod export;
pub(super) mod files;
mod live;
mod log;
mod markup;
mod members;
mod mention;
mod mention_choice;
mod message;
mod my_rooms;
mod name_prompt;
mod quote;
mod reactions;
mod reading;
mod scroll;
mod search;
mod swipe;
mod text;
mod typing;

use leptos::either::EitherOf3;
use leptos::prelude::*;
use leptos_i18n::td_string;
use leptos_router::hooks::{use_params_map, use_query_map};

use super::api::{ApiError, RoomPage, load_room};
use super::call::{Call, CallButton};
use super::erase::Erase;
use super::error_page::{InvalidRoom, Unavailable};
use super::locale::{Language, t};
use super::my_rooms::{my_rooms, shown, unread_elsewhere};
use super::notifications::notify_of_shown;
use super::offline_copy::OfflineCopies;
use super::room_context::RoomContext;
use super::title::LiveTitle;
use super::user::user_count;
use super::{cookie_notice, offline_copy, path, refusal};
use crate::client::Client;
use crate::client::state::Room as RoomState;
use crate::protocol::ErrorCode;

use composer::Composer;
use copy_link::CopyLink;
use emoji_picker::EmojiPicker;
use log::Log;
use members::{Members, MembersMenu};
use my_rooms::{MyRooms, MyRoomsButton};
use search::{Search, SearchForm, SearchLink, SearchPanel};
use typing::Typing;

/// The messages that are shown after the one to scroll to. With fewer, that one would be at the end of a large screen, and
/// the page would follow the newest message.
const AFTER_SHOWN: u64 = 35;

/// The message to scroll to when the page opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// The newest one.
    Newest,
    /// The one that the address links to. It gets the focus.
    Linked(u64),
    /// The one that was first in view when the user left the room.
    Place(u64),
}

/// The page at `/r/{room}`.
#[component]
pub(super) fn Room() -> impl IntoView {
    let params = use_params_map();
    let query = use_query_map();
    let client = expect_context::<Client>();
    let address = Memo::new(move |_| {
        let name = params.with(|params| params.get("room")).unwrap_or_default();
        let text = |name: &str| query.with(|query| query.get(name));
        let number = |name: &str| text(name).and_then(|number| number.parse::<u64>().ok());
        let (at, before) = (number("at"), number("before"));
        let place = client.state.place(&name).filter(|_| before.is_none());
        let start = at.map(Start::Linked).or(place.map(Start::Place)).unwrap_or(Start::Newest);
        // A message is shown with some messages after it.
        let after = at.or(place).map(|seq| seq.saturating_add(AFTER_SHOWN));
        (name, before.or(after), start, text("search"), text("found_before"), text("in"))
    });
    let form = query.with_untracked(|query| query.get("form"));
    let load = move |(name, before, _, search, found_before, found_in)| {
        load_room(name, before, form.clone(), search, found_before, found_in)
    };
    let page = Resource::new_blocking(move || address.get(), load);
    let start = move || address.with_untracked(|(_, _, start, _, _, _)| *start);
    let search = Search::new();
    view! {
        // The previous room stays on the page until the next one is loaded. A keyed list, so that its elements are replaced in one step:
        // a `Suspend` would end the signals of the old view while that is still on the page, and a view that is built
        // again keeps elements, for example the message field with its text.
        <Transition>
            <For each=move || page.get() key=|page| page.as_ref().map_or_else(|error| format!("{error:?}"), |page| page.key.to_string()) let:page>
                {match page {
                    // An erased type: otherwise the compiler builds the whole page into each part around it.
                    Ok(page) => EitherOf3::A(view! { <RoomView page start=start() search/> }.erase()),
                    Err(error) => if error == ApiError::Refused(ErrorCode::RoomNameInvalid) {
                        EitherOf3::B(view! { <InvalidRoom/> })
                    } else {
                        EitherOf3::C(view! { <Unavailable error/> })
                    },
                }}
            </For>
        </Transition>
    }
    .erase()
}

#[component]
fn RoomView(page: RoomPage, start: Start, search: Search) -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let RoomPage { me, cookie, room, my_rooms: own_rooms, key, refused, search: found } = page;
    cookie_notice::provide(cookie);
    refusal::provide_form(refused);
    let name = room.name.clone();
    let read = own_rooms.iter().find(|own| own.name == name).map(|own| own.read);
    let own_rooms = my_rooms(client, own_rooms);
    let unread_elsewhere = unread_elsewhere(own_rooms, &name);
    // What this page knows may be newer than what the server knew.
    let known = client
        .state
        .my_rooms
        .with_untracked(|rooms| rooms.iter().flatten().find(|own| own.name == name).map(|own| own.read));
    let state = RoomState::new(room, read.max(known));
    state.in_view.set_value(match start {
        Start::Newest => None,
        Start::Linked(seq) | Start::Place(seq) => Some(seq),
    });
    if matches!(start, Start::Linked(_)) && state.first_unread.with_untracked(Option::is_none) {
        state.first_unread.set(client.state.line_before_reload(&name));
    }
    let me = Signal::derive(move || client.state.me.get().unwrap_or_else(|| me.clone()));
    let room = RoomContext::new(client, state, me);

    Effect::new(move |_| {
        offline_copy::page_is_shown();
        state.timeline.use_local_time();
        client.enter(state);
    });
    Effect::new(move |_| {
        request_animation_frame(move || match start {
            Start::Newest => {}
            Start::Linked(seq) => drop(quote::show(room, seq)),
            Start::Place(seq) => drop(quote::scroll_to(room, seq)),
        });
    });
    let copies = expect_context::<OfflineCopies>();
    on_cleanup(move || {
        copies.keep_room(state);
        client.leave(state);
    });
    search.enter(&name, found.as_ref().map(|found| (found.text.clone(), found.in_all)));
    let found = found.map(|found| {
        // With script the panel takes its place, for good.
        let was_open = RwSignal::new(false);
        Effect::new(move |_| {
            if search.is_open.get() {
                was_open.set(true);
            }
        });
        let form = StoredValue::new(found);
        let back = path::room(&name);
        view! {
            <Show when=move || !was_open.get()>
                <SearchForm room page=form.get_value() back=back.clone()/>
            </Show>
        }
    });
    dropped_file::take(room);
    let call_is_open = RwSignal::new(false);
    let is_visible = reading::page_is_visible();
    let unread = reading::unread_while_hidden(state, is_visible);
    notify_of_shown(client, state, is_visible);
    let title = {
        let name = name.clone();
        move || match unread.get() + unread_elsewhere.get() {
            0 => td_string!(i18n.get(), title_room, room = name.clone()),
            count => td_string!(i18n.get(), title_unread, room = name.clone(), count = shown(count)),
        }
    };

    view! {
        <LiveTitle text=title/>
        <a class="skip" href="#text">{t!(i18n, skip_to_content)}</a>
        <div class="room">
            <header class="bar" translate="no">
                <MyRoomsButton unread=unread_elsewhere/>
                <a class="home" href="/" aria-label=t!(i18n, home)><span class="mark" aria-hidden="true"></span></a>
                <div class="room-title">
                    <h1 tabindex="-1"><bdi>{name.clone()}</bdi></h1>
                    <p class="count" aria-live="off">{move || user_count(i18n, state.count.get())}</p>
                </div>
                <SearchLink search/>
                <CopyLink/>
                <CallButton room open=call_is_open/>
                <MembersMenu room search back=path::room(&name)/>
            </header>
            <Show when=move || call_is_open.get()>
                <Call room open=call_is_open/>
            </Show>
            <MyRooms room rooms=own_rooms name=name.clone()/>
            <main>
                <Log room is_visible/>
                <Typing room/>
                <Composer room name=name.clone() key/>
            </main>
            <aside translate="no"><Members room search back=path::room(&name)/></aside>
            {found}
            <SearchPanel room search/>
            <EmojiPicker room/>
        </div>
    }
}
