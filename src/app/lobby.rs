//! The first page: who one is, where to go, and where people are.

use leptos::either::Either;
use leptos::html::Input;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_i18n::{t, t_string};
use leptos_meta::Title;
use leptos_router::hooks::{use_navigate, use_query_map};

use super::api::{EnterRoom, LobbyPage, load_lobby};
use super::name_form::{LanguageForm, NameForm, query_refusal};
use super::{path, text};
use crate::client::Client;
use crate::client::session::Ask;
use crate::i18n::*;
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
    let i18n = use_i18n();
    view! {
        <Title text=move || t_string!(i18n, app_name)/>
        <main class="apology">
            <h1>{t!(i18n, unavailable_title)}</h1>
            <p>{t!(i18n, unavailable)}</p>
            <a class="button" href="/" rel="external">{t!(i18n, to_home)}</a>
        </main>
    }
}

#[component]
fn LobbyView(page: LobbyPage) -> impl IntoView {
    let i18n = use_i18n();
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
        <Title text=move || t_string!(i18n, app_name)/>
        <main class="lobby">
            <header class="hero">
                <h1><span class="mark" aria-hidden="true"></span>{t!(i18n, app_name)}</h1>
                <p>{t!(i18n, tagline)}</p>
            </header>
            <section class="card">
                <NameForm nickname back="/".to_owned() with_hint=true/>
                <RoomForm/>
            </section>
            <section class="rooms" aria-labelledby="rooms-now">
                <h2 id="rooms-now">{t!(i18n, rooms_now)}</h2>
                <Show
                    when=move || rooms.with(|rooms| !rooms.is_empty())
                    fallback=move || view! {
                        <div class="empty">
                            <p>{t!(i18n, rooms_none)}</p>
                            <p>{t!(i18n, rooms_invite)}</p>
                        </div>
                    }
                >
                    <ul>
                        <For each=move || rooms.get() key=|room| (room.name.clone(), room.count) let:room>
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
    let i18n = use_i18n();
    let RoomCount { name, count } = room;
    let href = path::room(&name);
    view! {
        <li>
            <a href=href>
                <bdi>{name}</bdi>
                <span class="count">{people(i18n, count)}</span>
            </a>
        </li>
    }
}

/// `3 people`.
pub(super) fn people(i18n: leptos_i18n::I18nContext<Locale>, count: u64) -> impl IntoView {
    if count == 1 { Either::Left(t!(i18n, people_one)) } else { Either::Right(t!(i18n, people_many, count)) }
}

#[component]
fn RoomForm() -> impl IntoView {
    let i18n = use_i18n();
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
            <label for="room">{t!(i18n, room_name)}</label>
            <div class="row">
                <input
                    id="room" name="room" node_ref=input value=typed required maxlength="400" autocomplete="off"
                    aria-describedby="room-says" aria-invalid=move || refusal.get().is_some().then_some("true")
                />
                <button type="submit" class="primary">{t!(i18n, enter)}</button>
            </div>
            <p id="room-says" class="says" role="status" class:error=move || refusal.get().is_some()>
                {move || match refusal.get() {
                    Some(code) => text::refusal(i18n, code),
                    None => t_string!(i18n, room_hint),
                }}
            </p>
        </form>
    }
}
