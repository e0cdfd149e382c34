//! The form that posts a message.

use std::time::Duration;

use leptos::either::Either;
use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_i18n::{td, td_string};
use web_sys::HtmlTextAreaElement;

use super::draft::Draft;
use super::enter_key::{EnterKey, Key, Reaction};
use super::files::list::Ready;
use super::files::{AttachButton, Tray};
use super::mention::mentioned;
use super::mention_choice::{MentionChoice, MentionList};
use super::name_prompt::NamePrompt;
use super::quote::excerpt;
use crate::app::api::{FormKind, PostMessage};
use crate::app::erase::Erase;
use crate::app::locale::{Language, t};
use crate::app::room_context::{Compose, RoomContext};
use crate::app::{focus, path, refusal};
use crate::client::NewMessage;
use crate::client::session::MessageCommand;
use crate::client::state::ChangeEnded;
use crate::protocol::change::EditMessage;
use crate::protocol::{ErrorCode, Message, MessageKey, Refusal, check_text, clean_text};

/// The time in which the events of one key come.
const KEY_PRESS: Duration = Duration::from_millis(500);

/// Enter sends, Shift+Enter starts a new line. On a touch keyboard Enter starts a new line, and the button sends.
#[component]
pub(super) fn Composer(room: RoomContext, name: String, key: MessageKey) -> impl IntoView {
    let i18n = Language::current();
    let input = NodeRef::<Textarea>::new();
    let (code, typed) = refusal::of_form(FormKind::Message);
    let notice = RwSignal::new(code.map(|code| Notice::Refused(refusal::of_message_form(code))));
    let draft = textarea_content(&typed.unwrap_or_default());
    let back = path::room(&name);
    // The name of the key on touch keyboards. Without script it starts a new line.
    let enter_sends = RwSignal::new(false);
    Effect::new(move |_| enter_sends.set(!focus::is_touch()));
    keep_draft(room, input);

    let post = move || {
        let Some(field) = input.try_get_untracked().flatten() else { return };
        let text = clean_text(&field.value());
        let text = text.trim_end();
        let purpose = room.compose.get_untracked();
        // The files belong to a new message, not to one that is edited.
        let ready = if is_editing(room) { Ready::Now(Vec::new()) } else { untrack(|| room.files.ready()) };
        let files = match ready {
            Ready::Now(files) => files,
            Ready::Later => return room.files.sends_later.set(true),
            Ready::Never => return notice.set(Some(Notice::FileFailed)),
        };
        room.files.sends_later.set(false);
        let checked = if text.is_empty() && !files.is_empty() { Ok(()) } else { check_text(text) };
        match (checked, purpose) {
            // The field keeps the text until the server has answered.
            (Ok(()), Compose::Edit { target, edits }) => {
                notice.set(None);
                room.client.edit(room.state, target, edits, text.to_owned(), mentioned(room, text));
            }
            (Ok(()), purpose @ (Compose::New | Compose::Reply(_))) => {
                notice.set(None);
                let reply_to = if let Compose::Reply(target) = purpose { Some(target) } else { None };
                let mentions = mentioned(room, text);
                room.client.post(room.state, NewMessage { text: text.to_owned(), reply_to, files, mentions });
                room.files.clear();
                room.compose.set(Compose::New);
                field.set_value("");
                with_draft(room, |draft| draft.clear());
            }
            // Enter in an empty field needs no error message.
            (Err(ErrorCode::TextEmpty), _) => {}
            (Err(code), _) => notice.set(Some(Notice::Refused(code.into()))),
        }
        let _ = field.focus();
    };
    Effect::new(move |_| {
        // The uploads have ended. An edit has its own text: the message with the files is sent after it.
        if matches!(room.compose.get(), Compose::Edit { .. }) {
            return;
        }
        if !matches!(room.files.ready(), Ready::Later) && room.files.sends_later.get() {
            room.files.sends_later.set(false);
            post();
        }
    });
    follow_purpose(room, input);
    follow_changes(room, input, notice);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        post();
    };
    let changed = move || {
        if let Some(field) = input.get_untracked() {
            let text = field.value();
            // The draft of a new message is kept while another message is edited.
            if !is_editing(room) {
                // The user goes on writing, so the message is not sent automatically.
                room.files.sends_later.set(false);
                with_draft(room, |draft| draft.save(&text));
            }
            if !text.trim().is_empty() {
                room.client.typing(room.state);
            }
        }
    };

    let choice = MentionChoice::new(room, input);
    Effect::new(move |previous: Option<()>| {
        choice.chosen.track();
        if previous.is_some() {
            changed();
        }
    });
    let enter = StoredValue::new(EnterKey::default());
    // The list has used the Enter key that is down, of which more events may come.
    let has_chosen = StoredValue::new(false);
    let react = move |event: &web_sys::Event, reaction| match reaction {
        Reaction::None => {}
        Reaction::Send => {
            event.prevent_default();
            if choice.is_open() {
                has_chosen.set_value(true);
                choice.choose_active();
            } else if !has_chosen.get_value() {
                post();
            }
        }
        Reaction::SendLater => event.prevent_default(),
    };
    let keydown = move |event: leptos::ev::KeyboardEvent| {
        let is_enter = event.key() == "Enter" || matches!(event.code().as_str(), "Enter" | "NumpadEnter");
        if is_enter && has_chosen.get_value() {
            return event.prevent_default();
        }
        has_chosen.set_value(false);
        if event.ctrl_key() || event.meta_key() {
            choice.close();
        }
        // The list is used in the middle of a Korean word, too.
        if event.is_composing() && matches!(event.key().as_str(), "ArrowDown" | "ArrowUp" | "Escape") {
            choice.key(&event.key());
        }
        // With Alt, arrow keys lead to other rooms.
        if !event.is_composing() && !event.alt_key() {
            let has_modifier = event.shift_key() || event.ctrl_key() || event.meta_key();
            if !has_modifier && choice.key(&event.key()) {
                return event.prevent_default();
            }
            if event.key() == "Escape" && room.compose.get_untracked() != Compose::New {
                event.prevent_default();
                return room.compose.set(Compose::New);
            }
            let is_empty = input.get_untracked().is_some_and(|field| field.value().is_empty());
            if event.key() == "ArrowUp" && is_empty && room.compose.get_untracked() == Compose::New {
                return edit_last(room, &event);
            }
        }
        let key = Key {
            is_enter,
            is_hidden: event.key_code() == 229 || matches!(event.key().as_str(), "Process" | "Unidentified"),
            is_composing: event.is_composing(),
            shift: event.shift_key(),
            command: event.ctrl_key() || event.meta_key(),
        };
        react(&event, enter.try_update_value(|enter| enter.down(key, focus::is_touch())).unwrap_or(Reaction::None));
    };
    let before_input = move |event: leptos::ev::InputEvent| {
        if matches!(event.input_type().as_str(), "insertLineBreak" | "insertParagraph") {
            let composing = event.is_composing();
            react(&event, enter.try_update_value(|enter| enter.line_break(composing)).unwrap_or(Reaction::None));
        }
    };
    let composed = move |event: leptos::ev::CompositionEvent| {
        let text = event.data().unwrap_or_default();
        if enter.try_update_value(|enter| enter.composed(&text)) == Some(true) {
            let chooses = choice.is_open();
            has_chosen.set_value(chooses);
            // In some browsers the field has the text only after this event.
            set_timeout(move || if chooses { choice.choose_active() } else { post() }, Duration::ZERO);
            // The key may have gone up before.
            set_timeout(move || _ = has_chosen.try_set_value(false), KEY_PRESS);
        }
    };

    view! {
        <div class="composer">
            <NamePrompt room back/>
            {view! { <Purpose room/> }.erase()}
            <MentionList choice/>
            <Tray room/>
            <form action=PostMessage::PATH method="post" on:submit=submit>
                <AttachButton room/>
                <input type="hidden" name="room" value=name/>
                <input type="hidden" name="key" value=key.to_string()/>
                <textarea
                    id="text" name="text" node_ref=input rows="1" required=move || room.files.is_empty() dir="auto" on:input=move |_| { changed(); choice.update(); }
                    on:blur=move |_| choice.close() on:click=move |_| choice.update()
                    aria-autocomplete="list" aria-controls=move || choice.list_id() aria-activedescendant=move || choice.active_id()
                    on:keydown=keydown on:keyup=move |event| {
                        enter.update_value(EnterKey::up);
                        has_chosen.set_value(false);
                        choice.cursor_moved(&event.key());
                    }
                    on:beforeinput=before_input on:compositionend=composed
                    aria-label=t!(i18n, message) placeholder=t!(i18n, message_placeholder)
                    aria-describedby="text-hint" enterkeyhint=move || if enter_sends.get() { "send" } else { "enter" }
                >
                    {draft}
                </textarea>
                <button type="submit" class="primary">{t!(i18n, send)}</button>
            </form>
            <p id="text-hint" class="hint error" role="status" translate="no">
                {move || room.files.sends_later.get().then(|| td_string!(i18n.get(), sends_later))}
                {move || notice.get().map(|notice| match notice {
                    Notice::FileFailed => td_string!(i18n.get(), upload_failed_first).to_owned(),
                    Notice::Refused(refused) => refusal::explanation(i18n, &refused),
                    Notice::NotSent => td_string!(i18n.get(), change_not_sent).to_owned(),
                })}
            </p>
        </div>
    }
}

/// The reason why something was not sent.
#[derive(Clone, Debug, PartialEq)]
enum Notice {
    Refused(Refusal),
    /// There was no connection.
    NotSent,
    /// A file was refused.
    FileFailed,
}

/// The line above the field while it is not for a new message.
#[component]
fn Purpose(room: RoomContext) -> impl IntoView {
    let i18n = Language::current();
    let label = move || match room.compose.get() {
        Compose::New => None,
        Compose::Edit { .. } => Some(Either::Left(t!(i18n, editing))),
        Compose::Reply(target) => {
            let target = room.state.timeline.quoted(target.seq).get();
            let name = target.as_ref().map(|message| message.user.nickname.clone()).unwrap_or_default();
            let text = target.map(|message| excerpt(i18n, &message)).unwrap_or_default();
            Some(Either::Right(view! {
                {td!(i18n.get(), replying_to, name = move || name.clone())}" "<span class="excerpt" dir="auto">{text}</span>
            }))
        }
    };
    view! {
        <Show when=move || room.compose.get() != Compose::New>
            <div class="purpose">
                <p>{label}</p>
                <button type="button" on:click=move |_| room.compose.set(Compose::New)>{t!(i18n, cancel)}</button>
            </div>
        </Show>
    }
}

/// Begins to edit the user's last message, if there is one.
fn edit_last(room: RoomContext, event: &leptos::ev::KeyboardEvent) {
    let me = room.me.with_untracked(|me| me.id);
    let is_own = |message: &Message| message.user.id == me && !message.is_deleted();
    if let Some(last) = room.state.timeline.newest(is_own) {
        event.prevent_default();
        let target = room.state.reference(last.seq);
        room.compose.set(Compose::Edit { target, edits: last.edits() });
    }
}

/// Fills and focuses the field when its purpose changes. The draft of a new message comes back after an edit.
fn follow_purpose(room: RoomContext, input: NodeRef<Textarea>) {
    // The text before an edit. Storage may be forbidden, and has the drafts of other tabs.
    let draft = StoredValue::new(String::new());
    Effect::new(move |before: Option<Compose>| {
        let purpose = room.compose.get();
        let Some(before) = before.filter(|before| *before != purpose) else { return purpose };
        let Some(field) = input.get_untracked() else { return purpose };
        match &purpose {
            // Still the same edit.
            Compose::Edit { target, .. } if before.is_edit_of(target) => return purpose,
            Compose::Edit { target, .. } => {
                if !matches!(before, Compose::Edit { .. }) {
                    draft.set_value(field.value());
                }
                let text = room.state.timeline.message(target.seq).map(|message| message.text.clone());
                field.set_value(&text.unwrap_or_default());
            }
            Compose::New | Compose::Reply(_) if matches!(before, Compose::Edit { .. }) => {
                draft.with_value(|draft| field.set_value(draft));
            }
            Compose::New | Compose::Reply(_) => {}
        }
        // The purpose may end while the user is elsewhere.
        if purpose != Compose::New {
            let _ = field.focus();
        }
        purpose
    });
}

/// Ends the edit that was accepted, and says why a change was not.
fn follow_changes(room: RoomContext, input: NodeRef<Textarea>, notice: RwSignal<Option<Notice>>) {
    Effect::new(move |_| {
        if room.state.changes_ended.with(Vec::is_empty) {
            return;
        }
        let ended = room.state.changes_ended.try_update(std::mem::take).unwrap_or_default();
        for ChangeEnded { command, result } in ended {
            match (result, command) {
                (Ok(()), MessageCommand::Edit(edit)) => {
                    notice.set(None);
                    end_edit(room, input, edit);
                }
                (Ok(()), MessageCommand::Delete(_) | MessageCommand::React(_) | MessageCommand::Pin(_)) => {
                    notice.set(None)
                }
                // An edit that was sent before the answer to the one before it.
                (Err(Some(refusal)), MessageCommand::Edit(edit))
                    if refusal.code == ErrorCode::EditConflict && has_newer_edit(room, &edit) =>
                {
                    let edits = edit.edits + 1;
                    room.client.edit(room.state, edit.target, edits, edit.text, edit.mentions.unwrap_or_default());
                }
                (Err(Some(refusal)), _) => notice.set(Some(Notice::Refused(refusal))),
                (Err(None), _) => notice.set(Some(Notice::NotSent)),
            }
        }
    });
}

/// Ends an edit, unless the user has typed more since it was sent.
fn end_edit(room: RoomContext, input: NodeRef<Textarea>, sent: EditMessage) {
    if !room.compose.with_untracked(|purpose| purpose.is_edit_of(&sent.target)) {
        return;
    }
    let shown = room.state.timeline.message(sent.target.seq).filter(|message| message.text == sent.text);
    let edits = shown.map_or(sent.edits + 1, |message| message.edits());
    let typed = input.get_untracked().map(|field| clean_text(&field.value())).unwrap_or_default();
    room.compose.set(if typed.trim_end() == sent.text {
        Compose::New
    } else {
        Compose::Edit { target: sent.target, edits }
    });
}

/// Returns whether the composer knows of an edit after the one on which this one is based.
fn has_newer_edit(room: RoomContext, sent: &EditMessage) -> bool {
    room.compose.with_untracked(
        |purpose| matches!(purpose, Compose::Edit { target, edits } if *target == sent.target && *edits > sent.edits),
    )
}

fn is_editing(room: RoomContext) -> bool {
    room.compose.with_untracked(|purpose| matches!(purpose, Compose::Edit { .. }))
}

/// A text as the content of a `textarea` element. Leptos does not escape it, and the HTML parser drops a line break at
/// its beginning (HTML Living Standard, 13.2.6.4.7).
fn textarea_content(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    if escaped.starts_with('\n') { format!("\n{escaped}") } else { escaped }
}

/// Puts the stored draft into the field, and stores what is in the field when the page is left.
fn keep_draft(room: RoomContext, input: NodeRef<Textarea>) {
    Effect::new(move |_| {
        let Some(field) = input.get() else { return };
        // What was refused, or typed before this script ran, is newer than the stored draft.
        if field.value().is_empty() {
            let stored = room.state.name.with_value(|room| Draft { room }.load());
            stored.iter().for_each(|text| field.set_value(text));
        } else {
            with_draft(room, |draft| draft.save(&field.value()));
        }
    });
    let leave = move || {
        if let Some(field) = input.try_get_untracked().flatten().filter(|_| !is_editing(room)) {
            with_draft(room, |draft| draft.leave(&HtmlTextAreaElement::value(&field)));
        }
    };
    Effect::new(move |_| {
        let handle = window_event_listener_untyped("pagehide", move |_| leave());
        on_cleanup(move || handle.remove());
    });
}

fn with_draft(room: RoomContext, act: impl FnOnce(Draft<'_>)) {
    room.state.name.try_with_value(|room| act(Draft { room }));
}
