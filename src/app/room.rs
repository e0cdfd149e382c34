//! A room: what is said, who is there, and a place to say something.

mod composer;
mod log;
mod members;
mod typing;

use leptos::either::{Either, EitherOf3};
use leptos::prelude::*;
use leptos_i18n::td_string;
use leptos_router::hooks::{use_params_map, use_query_map};
use unicode_segmentation::UnicodeSegmentation;

use super::api::{ApiError, RoomPage, load_room};
use super::call::{Call, CallButton};
use super::lobby::{Unavailable, people};
use super::locale::{Language, say};
use super::path;
use super::title::LiveTitle;
use crate::client::Client;
use crate::client::state::Room as RoomState;
use crate::protocol::{ErrorCode, User};

use composer::Composer;
use log::Log;
use members::{Members, MembersMenu};
use typing::Typing;

/// `/r/{room}`
#[component]
pub(super) fn Room() -> impl IntoView {
    let params = use_params_map();
    let query = use_query_map();
    let address = Memo::new(move |_| {
        let name = params.with(|params| params.get("room")).unwrap_or_default();
        let before = query.with(|query| query.get("before")).and_then(|before| before.parse().ok());
        (name, before)
    });
    let page =
        Resource::new_blocking(move || address.get(), |(name, before): (String, Option<u64>)| load_room(name, before));
    view! {
        <Suspense>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(page) => EitherOf3::A(view! { <RoomView page/> }),
                    Err(ApiError::Refused(ErrorCode::RoomNameInvalid)) => EitherOf3::B(view! { <NotARoom/> }),
                    Err(_) => EitherOf3::C(view! { <Unavailable/> }),
                }
            })}
        </Suspense>
    }
}

/// What everything in a room's page needs.
#[derive(Clone, Copy)]
pub(super) struct Here {
    /// The session with the server.
    pub(super) client: Client,
    /// The room.
    pub(super) room: RoomState,
    /// Who one is.
    pub(super) me: Signal<User>,
}

#[component]
fn RoomView(page: RoomPage) -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let RoomPage { me, room, key } = page;
    let name = room.room.clone();
    let room = RoomState::new(room);
    let me = Signal::derive(move || client.state.me.get().unwrap_or_else(|| me.clone()));
    let here = Here { client, room, me };

    Effect::new(move |_| {
        room.timeline.use_local_time();
        client.enter(room);
    });
    on_cleanup(move || client.leave(room));
    let calling = RwSignal::new(false);
    let unread = unread_while_hidden(room);
    let title = {
        let name = name.clone();
        move || match unread.get() {
            0 => td_string!(i18n.get(), title_room, room = name.clone()),
            count => td_string!(i18n.get(), title_unread, room = name.clone(), count),
        }
    };
    let count = move || room.members.with(Vec::len) as u64;

    view! {
        <LiveTitle text=title/>
        <a class="skip" href="#text">{say!(i18n, skip_to_content)}</a>
        <div class="room">
            <header class="bar">
                <a class="home" href="/" aria-label=say!(i18n, home)><span class="mark" aria-hidden="true"></span></a>
                <div class="where">
                    <h1><bdi>{name.clone()}</bdi></h1>
                    <p class="count" aria-live="off">{move || people(i18n, count())}</p>
                </div>
                <CopyLink/>
                <CallButton here open=calling/>
                <MembersMenu here back=path::room(&name)/>
            </header>
            <Show when=move || calling.get()>
                <Call here open=calling/>
            </Show>
            <main>
                <Log here/>
                <Typing here/>
                <Composer here name=name.clone() key/>
            </main>
            <aside><Members here back=path::room(&name)/></aside>
        </div>
    }
}

/// How many messages of others came while nobody looked.
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

#[component]
fn CopyLink() -> impl IntoView {
    let i18n = Language::current();
    let copied = RwSignal::new(None::<bool>);
    let copy = move |_| {
        let window = window();
        // Browsers give the clipboard to secure pages only.
        if !window.is_secure_context() {
            copied.set(Some(false));
            return;
        }
        let address = window.location().href().unwrap_or_default();
        let writing = window.navigator().clipboard().write_text(address.split('?').next().unwrap_or_default());
        leptos::task::spawn_local(async move {
            let written = wasm_bindgen_futures::JsFuture::from(writing).await.is_ok();
            copied.set(Some(written));
            set_timeout(move || copied.set(None), std::time::Duration::from_secs(3));
        });
    };
    view! {
        <button type="button" class="copy needs-script" class:copied=move || copied.get().is_some() on:click=copy>
            <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
                <path d="M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1"></path>
            </svg>
            <span class="label" aria-live="polite">
                {move || match copied.get() {
                    None => td_string!(i18n.get(), copy_link),
                    Some(true) => td_string!(i18n.get(), link_copied),
                    Some(false) => td_string!(i18n.get(), copy_failed),
                }}
            </span>
        </button>
    }
}

#[component]
fn NotARoom() -> impl IntoView {
    let i18n = Language::current();
    view! {
        <LiveTitle text=move || td_string!(i18n.get(), room_invalid_title).to_owned()/>
        <main class="apology">
            <h1>{say!(i18n, room_invalid_title)}</h1>
            <p>{say!(i18n, room_invalid)}</p>
            <a class="button" href="/">{say!(i18n, to_home)}</a>
        </main>
    }
}

/// A coloured disc with the first character of a name: who is who at a glance. Says nothing that the
/// name beside it does not.
pub(super) fn face(user: &User) -> impl IntoView + use<> {
    let initial = user.nickname.graphemes(true).next().unwrap_or_default().to_uppercase();
    let class = format!("face hue-{}", user.id.0 % 8);
    view! { <span class=class aria-hidden="true">{initial}</span> }
}

/// A nickname, marked when it is one's own.
fn named(here: Here, user: &User) -> impl IntoView + use<> {
    let i18n = Language::current();
    let (id, nickname) = (user.id, user.nickname.clone());
    let mine = move || here.me.with(|me| me.id == id);
    view! {
        {face(user)}
        <bdi>{nickname}</bdi>
        {move || if mine() { Either::Left(view! { <span class="you">" " {say!(i18n, you)}</span> }) } else { Either::Right(()) }}
    }
}
