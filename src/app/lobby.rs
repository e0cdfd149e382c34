//! The lobby: the user's name, the form to enter a room, and the active rooms.

use leptos::either::Either;
use leptos::html::Input;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_i18n::{td, td_string};
use leptos_router::hooks::{use_navigate, use_query_map};

use super::api::{EnterRoom, FormKind, LobbyPage, load_lobby};
use super::erase::Erase;
use super::error_page::Unavailable;
use super::language_form::LanguageForm;
use super::locale::{Language, t};
use super::my_rooms::{MyRoomList, my_rooms, shown, unread_elsewhere};
use super::name_form::NameForm;
use super::title::LiveTitle;
use super::user::user_count;
use super::{cookie_notice, offline_copy, path, refusal};
use crate::client::Client;
use crate::client::session::Intent;
use crate::protocol::RoomCount;
use crate::protocol::name::normalize_room_name;

/// The page at `/`.
#[component]
pub(super) fn Lobby() -> impl IntoView {
    let form = use_query_map().with_untracked(|query| query.get("form"));
    let page = Resource::new_blocking(|| (), move |()| load_lobby(form.clone()));
    view! {
        <Suspense>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(page) => Either::Left(view! { <LobbyView page/> }),
                    Err(error) => Either::Right(view! { <Unavailable error/> }),
                }
            })}
        </Suspense>
    }
    .erase()
}

#[component]
fn LobbyView(page: LobbyPage) -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let LobbyPage { me, cookie, my_rooms: own_rooms, rooms, refused } = page;
    let own_rooms = my_rooms(client, own_rooms);
    let unread = unread_elsewhere(own_rooms, "");
    let title = move || match unread.get() {
        0 => td_string!(i18n.get(), app_name).to_owned(),
        count => td_string!(i18n.get(), title_my_unread, count = shown(count)),
    };
    cookie_notice::provide(cookie);
    refusal::provide_form(refused);
    let nickname = Signal::derive(move || client.state.me.get().unwrap_or_else(|| me.clone()).nickname);
    let rooms = Signal::derive(move || client.state.rooms.get().unwrap_or_else(|| rooms.clone()));
    Effect::new(move |_| {
        offline_copy::page_is_shown();
        client.dispatch(Intent::WatchRooms(true));
    });
    on_cleanup(move || {
        client.dispatch(Intent::WatchRooms(false));
        // Without updates the list goes stale.
        client.state.rooms.try_set(None);
    });

    view! {
        <LiveTitle text=title/>
        <main class="lobby">
            <header class="hero">
                <h1 tabindex="-1"><span class="mark" aria-hidden="true"></span>{t!(i18n, app_name)}</h1>
                <p>{t!(i18n, tagline)}</p>
            </header>
            <section class="card">
                <NameForm nickname back="/".to_owned()/>
                <RoomForm/>
            </section>
            <Show when=move || own_rooms.with(|rooms| !rooms.is_empty())>
                <section class="rooms" aria-labelledby="rooms-own">
                    <h2 id="rooms-own">{t!(i18n, my_rooms)}</h2>
                    <MyRoomList rooms=own_rooms/>
                </section>
            </Show>
            <section class="rooms" aria-labelledby="rooms-now">
                <h2 id="rooms-now">{t!(i18n, active_rooms)}</h2>
                <Show
                    when=move || rooms.with(|rooms| !rooms.is_empty())
                    fallback=move || view! {
                        <div class="empty">
                            <p>{t!(i18n, no_active_rooms)}</p>
                            <p>{t!(i18n, share_room_hint)}</p>
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
    let RoomCount { room: _, name, count, call } = room;
    let href = path::room(&name);
    view! {
        <li>
            <a href=href translate="no">
                <bdi>{name}</bdi>
                {call.map(|count| view! { <span class="in-call">{td!(i18n.get(), call_count, count)}</span> })}
                <span class="count">{user_count(i18n, count)}</span>
            </a>
        </li>
    }
}

#[component]
fn RoomForm() -> impl IntoView {
    let i18n = Language::current();
    let input = NodeRef::<Input>::new();
    let (code, typed) = refusal::of_form(FormKind::Room);
    let refused = RwSignal::new(code);
    let navigate = use_navigate();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let name = input.get_untracked().map(|input| input.value()).unwrap_or_default();
        match normalize_room_name(&name) {
            Ok(name) => navigate(&path::room(&name), Default::default()),
            Err(code) => refused.set(Some(code)),
        }
    };
    view! {
        <form class="field" action=EnterRoom::PATH method="post" on:submit=submit>
            <label for="room">{t!(i18n, room_name)}</label>
            <div class="row">
                <input
                    id="room" name="room" node_ref=input value=typed required maxlength="400" autocomplete="off"
                    aria-describedby="room-hint" aria-invalid=move || refused.get().is_some().then_some("true")
                />
                <button type="submit" class="primary">{t!(i18n, enter)}</button>
            </div>
            <p id="room-hint" class="hint" role="status" translate="no" class:error=move || refused.get().is_some()>
                {move || match refused.get() {
                    Some(code) => refusal::text(i18n, code),
                    None => td_string!(i18n.get(), room_hint),
                }}
            </p>
        </form>
    }
}
