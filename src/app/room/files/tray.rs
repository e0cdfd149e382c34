//! The list of files above the field.

use leptos::prelude::*;
use leptos_i18n::td_string;

use super::list::{Item, Stage};
use super::upload;
use crate::app::locale::Language;
use crate::app::refusal;
use crate::app::room::attachments::size_text;
use crate::app::room_context::RoomContext;

#[component]
pub(super) fn TrayView(room: RoomContext) -> impl IntoView {
    view! {
        <ul class="tray">
            <For each=move || room.files.items() key=|item| item.key let:item>
                <ItemView room item/>
            </For>
        </ul>
    }
}

#[component]
fn ItemView(room: RoomContext, item: Item) -> impl IntoView {
    let i18n = Language::current();
    let Item { key, name, bytes, stage } = item;
    let sent = move || match stage.get() {
        Stage::Sending(sent) | Stage::Waiting(sent) => Some(sent),
        Stage::Done(_) | Stage::Failed(_) => None,
    };
    let status = move || match stage.get() {
        Stage::Sending(_) => size_text(bytes),
        Stage::Waiting(_) => td_string!(i18n.get(), upload_waiting).to_owned(),
        Stage::Done(_) => td_string!(i18n.get(), upload_done).to_owned(),
        Stage::Failed(Some(refused)) => refusal::explanation(i18n, &refused),
        Stage::Failed(None) => td_string!(i18n.get(), upload_failed).to_owned(),
    };
    let has_failed = move || matches!(stage.get(), Stage::Failed(_));
    let remove = {
        let name = name.clone();
        move || td_string!(i18n.get(), remove_file, name = name.clone())
    };
    let label = name.clone();
    let take_out = move || {
        // An upload that has not ended is cancelled by its own task.
        if let Stage::Done(attachment) = stage.get_untracked() {
            upload::discard(room, attachment.id);
        }
        room.files.remove(key);
    };
    view! {
        <li translate="no">
            <bdi class="name">{name}</bdi>
            <span class="status" class:failed=has_failed role=move || has_failed().then_some("alert")>{status}</span>
            {move || sent().map(|_| {
                view! { <progress max=bytes value=move || sent().unwrap_or(bytes) aria-label=label.clone()></progress> }
            })}
            <button type="button" aria-label=remove on:click=move |_| take_out()>"×"</button>
        </li>
    }
}
