//! The first page: who one is, where to go, and where people are.

use leptos::either::Either;
use leptos::html::Input;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_i18n::{td, td_string};
use leptos_router::hooks::{use_navigate, use_query_map};

use super::api::{EnterRoom, LobbyPage, load_lobby};
use super::locale::{Language, say};
use super::name_form::{LanguageForm, NameForm, query_refusal};
use super::title::LiveTitle;
use super::{path, text};
use crate::client::Client;
use crate::client::session::Ask;
use crate::protocol::name::tidy_room_name;
use crate::protocol::{ErrorCode, RoomCount};

/// `/`
#[component]
pub(super) fn Lobby() -> impl IntoView {
    let page = Resource::new_blocking(|| (), |()| load_lobby());
    view! {
        <Suspense>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(page) => Either::Left(view! { <LobbyView page/> }),
                    Err(_) => Either::Right(view! { <Unavailable/> }),
                }
            })}
        </Suspense>
    }
}

/// The page when the server cannot read its database.
#[component]
pub(super) fn Unavailable() -> impl IntoView {
    let i18n = Language::current();
    view! {
        <LiveTitle text=move || td_string!(i18n.get(), app_name).to_owned()/>
        <main class="apology">
            <h1>{say!(i18n, unavailable_title)}</h1>
            <p>{say!(i18n, unavailable)}</p>
            <a class="button" href="/" rel="external">{say!(i18n, to_home)}</a>
        </main>
    }
}

#[component]
fn LobbyView(page: LobbyPage) -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let LobbyPage { me, rooms } = page;
    let nickname = Signal::derive(move || client.state.me.get().unwrap_or_else(|| me.clone()).nickname);
    let rooms = Signal::derive(move || client.state.rooms.get().unwrap_or_else(|| rooms.clone()));
    Effect::new(move |_| client.ask(Ask::WatchRooms(true)));
    on_cleanup(move || {
        client.ask(Ask::WatchRooms(false));
        // What is watched no more is no longer true.
        client.state.rooms.try_set(None);
    });

    view! {
        <LiveTitle text=move || td_string!(i18n.get(), app_name).to_owned()/>
        <main class="lobby">
            <header class="hero">
                <h1><span class="mark" aria-hidden="true"></span>{say!(i18n, app_name)}</h1>
                <p>{say!(i18n, tagline)}</p>
            </header>
            <section class="card">
                <NameForm nickname back="/".to_owned() with_hint=true/>
                <RoomForm/>
            </section>
            <section class="rooms" aria-labelledby="rooms-now">
                <h2 id="rooms-now">{say!(i18n, rooms_now)}</h2>
                <Show
                    when=move || rooms.with(|rooms| !rooms.is_empty())
                    fallback=move || view! {
                        <div class="empty">
                            <p>{say!(i18n, rooms_none)}</p>
                            <p>{say!(i18n, rooms_invite)}</p>
                        </div>
                    }
                >
                    <ul>
                        <For each=move || rooms.get() key=|room| (room.name.clone(), room.count, room.call) let:room>
                            <RoomLink room/>
                        </For>
                    </ul>
                </Show>
            </section>
            <footer><LanguageForm back="/".to_owned()/></footer>
        </main>
    }
}

#[component]
fn RoomLink(room: RoomCount) -> impl IntoView {
    let i18n = Language::current();
    let RoomCount { name, count, call } = room;
    let href = path::room(&name);
    view! {
        <li>
            <a href=href>
                <bdi>{name}</bdi>
                {call.map(|count| view! { <span class="in-call">{td!(i18n.get(), call_with, count)}</span> })}
                <span class="count">{people(i18n, count)}</span>
            </a>
        </li>
    }
}

/// `3 people`.
pub(super) fn people(i18n: Language, count: u64) -> impl IntoView {
    if count == 1 { Either::Left(say!(i18n, people_one)) } else { Either::Right(td!(i18n.get(), people_many, count)) }
}

#[component]
fn RoomForm() -> impl IntoView {
    let i18n = Language::current();
    let input = NodeRef::<Input>::new();
    let refusal = RwSignal::new(query_refusal().filter(|code| *code == ErrorCode::RoomNameInvalid));
    let typed = use_query_map().with_untracked(|query| query.get("room"));
    let navigate = use_navigate();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let name = input.get_untracked().map(|input| input.value()).unwrap_or_default();
        match tidy_room_name(&name) {
            Ok(name) => navigate(&path::room(&name), Default::default()),
            Err(code) => refusal.set(Some(code)),
        }
    };
    view! {
        <form class="field" action=EnterRoom::PATH method="post" on:submit=submit>
            <label for="room">{say!(i18n, room_name)}</label>
            <div class="row">
                <input
                    id="room" name="room" node_ref=input value=typed required maxlength="400" autocomplete="off"
                    aria-describedby="room-says" aria-invalid=move || refusal.get().is_some().then_some("true")
                />
                <button type="submit" class="primary">{say!(i18n, enter)}</button>
            </div>
            <p id="room-says" class="says" role="status" class:error=move || refusal.get().is_some()>
                {move || match refusal.get() {
                    Some(code) => text::refusal(i18n, code),
                    None => td_string!(i18n.get(), room_hint),
                }}
            </p>
        </form>
    }
}
