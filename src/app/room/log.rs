//! The log of messages. A reversed column: it starts at the newest message before any script runs, and stays there
//! while older messages are added above.

use leptos::either::{Either, EitherOf3};
use leptos::prelude::*;
use leptos_i18n::{td, td_string};

use super::live::{FloodNotice, Live};
use super::message::{PendingView, RowView};
use super::reading::{self, FirstUnread};
use super::scroll::Scroll;
use super::swipe::Swipe;
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use crate::client::state::Older;

/// The messages, and a button for the unread ones below.
#[component]
pub(super) fn Log(room: RoomContext, is_visible: ReadSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let scroll = Scroll::new(room);
    let live = Live::new(room);
    reading::follow(room, scroll, is_visible);
    let swipe = Swipe::new(room);
    view! {
        <div class="log-frame">
            <div
                class="log" role="log" tabindex="0" node_ref=scroll.log on:scroll=move |_| scroll.scrolled()
                aria-label=t!(i18n, messages) aria-live=move || live.politeness()
                aria-busy=move || (room.state.older.get() == Older::Loading).to_string()
                on:pointerdown=move |event| swipe.down(&event) on:pointermove=move |event| swipe.moved(&event)
                on:pointerup=move |event| swipe.up(&event) on:pointercancel=move |_| swipe.end()
            >
                <div class="rows">
                    <Beginning room/>
                    <Rows room/>
                    <ol class="pending" aria-live="off">
                        <For
                            each=move || room.state.pending.get()
                            key=|pending| (pending.post.key, pending.failed.is_some())
                            let:pending
                        >
                            <PendingView room pending/>
                        </For>
                    </ol>
                </div>
            </div>
            <FirstUnread room scroll/>
            <UnreadPill scroll/>
            <FloodNotice live/>
        </div>
    }
}

/// Above the oldest message: a link to older ones, or the beginning of the room.
#[component]
fn Beginning(room: RoomContext) -> impl IntoView {
    let i18n = Language::current();
    let RoomContext { client, state, .. } = room;
    let load_older = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        client.load_older(state);
    };
    let is_empty = move || state.timeline.sections.with(Vec::is_empty) && state.pending.with(Vec::is_empty);
    let oldest = move || state.timeline.oldest_now().unwrap_or(1);
    view! {
        <div class="beginning" translate="no">
            {move || if state.older.get() != Older::None {
                EitherOf3::A(view! {
                    <a class="older" href=move || format!("?before={}", oldest()) on:click=load_older>
                        {move || if state.older.get() == Older::Loading { td_string!(i18n.get(), loading_older) } else { td_string!(i18n.get(), load_older) }}
                    </a>
                })
            } else if state.floor.get() == 1 && is_empty() {
                EitherOf3::B(view! {
                    <div class="empty"><p>{t!(i18n, no_messages)}</p><p>{t!(i18n, send_first_message)}</p></div>
                })
            } else {
                EitherOf3::C(if state.floor.get() == 1 {
                    let name = state.name.get_value();
                    Either::Left(view! { <p>{td!(i18n.get(), beginning, room = move || name.clone())}</p> })
                } else {
                    Either::Right(view! { <p>{t!(i18n, earlier_expired)}</p> })
                })
            }}
        </div>
    }
}

/// The rows of the timeline, in the chunks and sections of which each has a signal of its own. The signal is gone when
/// the timeline has let go of the rows, which the view may not know yet.
#[component]
fn Rows(room: RoomContext) -> impl IntoView {
    view! {
        <For each=move || room.state.timeline.sections.get() key=|section| section.id let:section>
            <div class="section">
                <For each=move || section.chunks.try_get().unwrap_or_default() key=|chunk| chunk.id let:chunk>
                    <ol data-chunk=chunk.id>
                        <For
                            each=move || chunk.rows.try_get().unwrap_or_default()
                            key=|row| (row.id, row.starts_day, row.starts_group) let:row
                        >
                            <RowView room row/>
                        </For>
                    </ol>
                </For>
            </div>
        </For>
    }
}

/// The number of unread messages below; scrolls to the newest.
#[component]
fn UnreadPill(scroll: Scroll) -> impl IntoView {
    let i18n = Language::current();
    view! {
        <Show when=move || scroll.unread.get() != 0>
            <button type="button" class="unread-pill" translate="no" on:click=move |_| scroll.show_newest()>
                {move || match scroll.unread.get() {
                    1 => Either::Left(t!(i18n, new_messages_one)),
                    count => Either::Right(td!(i18n.get(), new_messages_many, count)),
                }}
            </button>
        </Show>
    }
}
