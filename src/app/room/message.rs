//! The rows of the log: messages and notices.

use std::sync::Arc;

use leptos::either::{Either, EitherOf5};
use leptos::prelude::*;
use leptos_i18n::td;

use super::actions::Actions;
use super::attachments::attachments;
use super::mention::Mentions;
use super::quote::Quote;
use super::reactions::Reactions;
use super::reading::line_above;
use super::text::Text;
use crate::app::erase::Erase;
use crate::app::locale::{Language, t, tag};
use crate::app::refusal;
use crate::app::room_context::RoomContext;
use crate::app::time::{Parts, long_date, rfc3339};
use crate::app::user::avatar;
use crate::client::state::Pending;
use crate::client::timeline::{Clock, Entry, Gap, People, Presence, Row};
use crate::protocol::Message;

/// A row of the timeline.
#[component]
pub(super) fn RowView(room: RoomContext, row: Row) -> impl IntoView {
    let i18n = Language::current();
    match row.entry {
        Entry::Message(message) => {
            let message = row.message.unwrap_or_else(|| ArcRwSignal::new(message));
            let (starts_day, starts_group) = (row.starts_day, row.starts_group);
            EitherOf5::A(view! { <MessageView room id=row.id message starts_day starts_group/> })
        }
        Entry::Presence(presence) => EitherOf5::B(view! { <PresenceView presence/> }),
        Entry::Unreadable(_) => EitherOf5::E(view! { <li data-row=row.id class="event">{t!(i18n, unreadable)}</li> }),
        Entry::Gap(gap) => EitherOf5::C(view! { <GapView room id=row.id gap/> }),
        Entry::OtherHistory => EitherOf5::D(view! { <li class="event gap">{t!(i18n, history_restored)}</li> }),
    }
}

/// The most names in a notice about arrivals or departures.
const MOST_NAMES: usize = 3;

/// Consecutive arrivals and departures.
#[component]
fn PresenceView(presence: Presence) -> impl IntoView {
    let i18n = Language::current();
    let Presence { joined, left } = presence;
    let separator = (!joined.is_empty() && !left.is_empty()).then_some(" · ");
    let joined = people(joined, move |more| match more {
        0 => Either::Left(t!(i18n, joined)),
        count => Either::Right(td!(i18n.get(), joined_more, count)),
    });
    let left = people(left, move |more| match more {
        0 => Either::Left(t!(i18n, left)),
        count => Either::Right(td!(i18n.get(), left_more, count)),
    });
    view! { <li class="event" aria-live="off">{joined}{separator}{left}</li> }
}

/// The first names, and a verb for them and the others.
fn people<V: IntoView + 'static>(people: People, verb: impl Fn(u64) -> V) -> impl IntoView {
    if people.is_empty() {
        return None;
    }
    let more = people.others + people.named.len().saturating_sub(MOST_NAMES) as u64;
    let names = people.named.into_iter().take(MOST_NAMES).enumerate();
    let names =
        names.map(|(index, user)| view! { {(index > 0).then_some(", ")}<bdi translate="no">{user.nickname}</bdi> });
    Some(view! { {names.collect_view()}" "{verb(more)} })
}

/// Missing messages. They load when the reader comes near, or at a click on the button.
#[component]
fn GapView(room: RoomContext, id: u64, gap: Gap) -> impl IntoView {
    let i18n = Language::current();
    let (after, before) = room.state.timeline.around_gap(id).unwrap_or_default();
    let load = move |_| room.client.load_missing(room.state, before);
    let automatic = |seq: u64| (gap == Gap::Open).then(|| seq.to_string());
    view! {
        <li class="event gap" data-missing-after=automatic(after) data-missing-before=automatic(before)>
            {t!(i18n, gap)}
            <button type="button" on:click=load>{t!(i18n, load_missing)}</button>
        </li>
    }
}

#[component]
fn MessageView(
    room: RoomContext,
    id: u64,
    /// The message, which can change.
    message: ArcRwSignal<Arc<Message>>,
    starts_day: bool,
    starts_group: bool,
) -> impl IntoView {
    let i18n = Language::current();
    let timeline = room.state.timeline;
    let (seq, at, user, reply_to) =
        message.with_untracked(|message| (message.seq, message.at, message.user.clone(), message.reply_to));
    let (author, nickname) = (user.id, user.nickname.clone());
    let own = move || room.me.with(|me| me.id == author);
    let mentions_me = {
        let message = message.clone();
        move || {
            let me = room.me.with(|me| me.id);
            message.with(|message| message.mentions().iter().any(|user| user.id == me))
        }
    };
    let full = move || Parts::of(at, timeline.clock()).full();
    let day = starts_day.then(|| {
        let date = move || match timeline.clock() {
            Clock::Utc => Parts::of(at, Clock::Utc).date(),
            Clock::Local => long_date(at, tag(i18n.get())),
        };
        view! { <div class="day" translate="no"><span>{date}</span></div> }
    });
    let byline = if starts_group {
        Either::Left(view! {
            {avatar(&user)}
            <div class="byline" translate="no">
                <bdi class="author">{nickname}</bdi>
                <time datetime=rfc3339(at) title=full>{move || Parts::of(at, timeline.clock()).short()}</time>
            </div>
        })
    } else {
        Either::Right(view! { <span class="visually-hidden" translate="no">{nickname}": "</span> })
    };
    // Erased types: otherwise the compiler builds each combination of the parts, and takes half an hour for them.
    let quote = reply_to.map(|seq| view! { <Quote room seq/> }.erase());
    let body = view! { <Body room message=message.clone() title=full/> }.erase();
    let pin = view! { <Pinned message=message.clone()/> }.erase();
    let reactions = view! { <Reactions room message=message.clone()/> }.erase();
    let actions = view! { <Actions room message/> }.erase();
    view! {
        <li id=format!("m{seq}") data-row=id class="message" class:own=own class:mentions-me=mentions_me class:starts-group=starts_group>
            {line_above(room, seq)}
            {day}
            {byline}
            {pin}
            {quote}
            {body}
            {reactions}
            {actions}
        </li>
    }
    .erase()
}

/// The line above a pinned message.
#[component]
fn Pinned(message: ArcRwSignal<Arc<Message>>) -> impl IntoView {
    let i18n = Language::current();
    let name = Memo::new(move |_| message.with(|message| message.pinned().map(|pin| pin.user.nickname.clone())));
    move || {
        name.get().map(|name| {
            view! {
                <p class="pinned" aria-live="off">
                    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="M8 4h8M9.500 4v6L7 13.500h10L14.500 10V4M12 13.500V20"></path></svg>
                    <span>{t!(i18n, pinned_by)}" "<bdi translate="no">{name}</bdi></span>
                </p>
            }
            .erase()
        })
    }
}

/// The text of a message, or the line that is left of a deleted one.
#[component]
fn Body(
    room: RoomContext,
    message: ArcRwSignal<Arc<Message>>,
    /// The tooltip.
    title: impl Fn() -> String + Send + Sync + Clone + 'static,
) -> impl IntoView {
    let i18n = Language::current();
    // Reactions change the message, too, and leave its text as it is.
    let version = Memo::new({
        let message = message.clone();
        move |_| {
            message.with(|message| {
                let state = message.state.as_ref();
                (state.and_then(|state| state.deleted_at), state.and_then(|state| state.edited_at), message.edits())
            })
        }
    });
    move || match version.get() {
        (Some(_), ..) => view! { <p class="text deleted">{t!(i18n, message_deleted)}</p> }.erase(),
        (None, edited_at, _) => {
            let edited = edited_at.map(|at| {
                let time = move || Parts::of(at, room.state.timeline.clock()).full();
                view! { <span class="edited" title=time>{t!(i18n, edited)}</span> }
            });
            let (text, mentions, files) = message.with_untracked(|message| {
                let files = message.attachments();
                let files = (!files.is_empty()).then(|| room.state.name.with_value(|room| attachments(room, files)));
                (message.text.clone(), Mentions::of(room, message), files)
            });
            let text = (!text.is_empty()).then(|| view! { <Text text mentions title=title.clone()/> }.erase());
            view! { {text} {files} {edited} }.erase()
        }
    }
}

/// A message of the user that is not stored yet.
#[component]
pub(super) fn PendingView(room: RoomContext, pending: Pending) -> impl IntoView {
    let i18n = Language::current();
    let Pending { post, failed, .. } = pending;
    let key = post.key;
    let count = post.attachments.as_ref().map_or(0, Vec::len);
    let files = (count > 0).then(|| view! { <p class="hint">{td!(i18n.get(), files, count)}</p> }.erase());
    let text = (!post.text.is_empty())
        .then(|| view! { <Text text=post.text mentions=Mentions::none() title=String::new/> }.erase());
    let status = match failed {
        None => Either::Left(view! { <span class="send-status">{t!(i18n, sending)}</span> }),
        Some(refusal) => Either::Right(view! {
            <span class="send-status failed" role="alert">
                {t!(i18n, not_sent)}": "{move || refusal::explanation(i18n, &refusal)}
            </span>
            <button type="button" on:click=move |_| room.client.retry(room.state, key)>{t!(i18n, retry)}</button>
            <button type="button" on:click=move |_| room.client.discard(room.state, key)>{t!(i18n, discard)}</button>
        }),
    };
    view! {
        <li class="message own waiting">
            {text}
            {files}
            <div class="byline" translate="no">{status}</div>
        </li>
    }
}
