//! A room's page: messages, members, the composer and the call.

mod actions;
mod clipboard;
mod code_block;
mod composer;
mod copy_link;
mod draft;
mod dropped_file;
mod enter_key;
mod export;
mod live;
mod log;
mod markup;
mod members;
mod message;
mod name_prompt;
mod quote;
mod reactions;
mod scroll;
mod text;
mod typing;

use leptos::either::EitherOf3;
use leptos::prelude::*;
use leptos_i18n::td_string;
use leptos_router::hooks::{use_params_map, use_query_map};

use super::api::{ApiError, RoomPage, load_room};
use super::call::{Call, CallButton};
use super::error_page::{InvalidRoom, Unavailable};
use super::locale::{Language, t};
use super::room_context::RoomContext;
use super::title::LiveTitle;
use super::user::user_count;
use super::{cookie_notice, path, refusal};
use crate::client::Client;
use crate::client::state::Room as RoomState;
use crate::protocol::ErrorCode;

use composer::Composer;
use copy_link::CopyLink;
use log::Log;
use members::{Members, MembersMenu};
use typing::Typing;

/// The messages that are shown after the one that the address links to. With fewer, that one would be at the end of a
/// large screen, and the page would follow the newest message.
const AFTER_LINKED: u64 = 35;

/// The page at `/r/{room}`.
#[component]
pub(super) fn Room() -> impl IntoView {
    let params = use_params_map();
    let query = use_query_map();
    let address = Memo::new(move |_| {
        let name = params.with(|params| params.get("room")).unwrap_or_default();
        let number = |name: &str| query.with(|query| query.get(name)).and_then(|number| number.parse::<u64>().ok());
        let at = number("at");
        // A link to a message shows it with some messages after it.
        let before = number("before").or(at.map(|at| at.saturating_add(AFTER_LINKED)));
        (name, before, at)
    });
    let form = query.with_untracked(|query| query.get("form"));
    let load = move |(name, before, _): (String, Option<u64>, Option<u64>)| load_room(name, before, form.clone());
    let page = Resource::new_blocking(move || address.get(), load);
    let linked = move || address.with_untracked(|(_, _, at)| *at);
    view! {
        <Suspense>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(page) => EitherOf3::A(view! { <RoomView page linked=linked()/> }),
                    Err(error) => {
                        if error == ApiError::Refused(ErrorCode::RoomNameInvalid) {
                            EitherOf3::B(view! { <InvalidRoom/> })
                        } else {
                            EitherOf3::C(view! { <Unavailable/> })
                        }
                    }
                }
            })}
        </Suspense>
    }
}

#[component]
fn RoomView(
    page: RoomPage,
    /// The position of the message that the address links to.
    linked: Option<u64>,
) -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let RoomPage { me, cookie, room, key, refused } = page;
    cookie_notice::provide(cookie);
    refusal::provide_form(refused);
    let name = room.room.clone();
    let state = RoomState::new(room);
    let me = Signal::derive(move || client.state.me.get().unwrap_or_else(|| me.clone()));
    let room = RoomContext::new(client, state, me);

    Effect::new(move |_| {
        state.timeline.use_local_time();
        client.enter(state);
    });
    if let Some(seq) = linked {
        Effect::new(move |_| {
            request_animation_frame(move || {
                quote::show(room, seq);
            });
        });
    }
    on_cleanup(move || client.leave(state));
    dropped_file::ignore();
    let call_is_open = RwSignal::new(false);
    let unread = unread_while_hidden(state);
    let title = {
        let name = name.clone();
        move || match unread.get() {
            0 => td_string!(i18n.get(), title_room, room = name.clone()),
            count => td_string!(i18n.get(), title_unread, room = name.clone(), count),
        }
    };

    view! {
        <LiveTitle text=title/>
        <a class="skip" href="#text">{t!(i18n, skip_to_content)}</a>
        <div class="room">
            <header class="bar" translate="no">
                <a class="home" href="/" aria-label=t!(i18n, home)><span class="mark" aria-hidden="true"></span></a>
                <div class="room-title">
                    <h1 tabindex="-1"><bdi>{name.clone()}</bdi></h1>
                    <p class="count" aria-live="off">{move || user_count(i18n, state.count.get())}</p>
                </div>
                <CopyLink/>
                <CallButton room open=call_is_open/>
                <MembersMenu room back=path::room(&name)/>
            </header>
            <Show when=move || call_is_open.get()>
                <Call room open=call_is_open/>
            </Show>
            <main>
                <Log room/>
                <Typing room/>
                <Composer room name=name.clone() key/>
            </main>
            <aside translate="no"><Members room back=path::room(&name)/></aside>
        </div>
    }
}

/// The number of messages from others that arrived while the tab was hidden.
fn unread_while_hidden(room: RoomState) -> RwSignal<u64> {
    let unread = RwSignal::new(0);
    Effect::new(move |before: Option<u64>| {
        let arrived = room.arrived.get();
        if document().hidden() {
            unread.update(|unread| *unread += arrived - before.unwrap_or(arrived));
        }
        arrived
    });
    Effect::new(move |_| {
        let handle = window_event_listener(leptos::ev::visibilitychange, move |_| {
            if !document().hidden() {
                unread.set(0);
            }
        });
        on_cleanup(move || handle.remove());
    });
    unread
}
