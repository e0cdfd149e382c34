//! The form that posts a message.

use std::time::Duration;

use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use web_sys::HtmlTextAreaElement;

use super::draft::Draft;
use super::enter_key::{EnterKey, Key, Reaction};
use super::name_prompt::NamePrompt;
use crate::app::api::{FormKind, PostMessage};
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use crate::app::{focus, path, refusal};
use crate::protocol::{ErrorCode, MessageKey, check_text, clean_text};

/// Enter sends, Shift+Enter starts a new line. On a touch keyboard Enter starts a new line, and the button sends.
#[component]
pub(super) fn Composer(room: RoomContext, name: String, key: MessageKey) -> impl IntoView {
    let i18n = Language::current();
    let input = NodeRef::<Textarea>::new();
    let (code, typed) = refusal::of_form(FormKind::Message);
    let refused = RwSignal::new(code.map(refusal::of_message_form));
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
        match check_text(text) {
            Ok(()) => {
                refused.set(None);
                room.client.post(room.state, text.to_owned(), None);
                field.set_value("");
                with_draft(room, |draft| draft.clear());
            }
            // Enter in an empty field needs no error message.
            Err(ErrorCode::TextEmpty) => {}
            Err(code) => refused.set(Some(code.into())),
        }
        let _ = field.focus();
    };
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        post();
    };
    let changed = move |_| {
        if let Some(field) = input.get_untracked() {
            let text = field.value();
            with_draft(room, |draft| draft.save(&text));
            if !text.trim().is_empty() {
                room.client.typing(room.state);
            }
        }
    };

    let enter = StoredValue::new(EnterKey::default());
    let react = move |event: &web_sys::Event, reaction| match reaction {
        Reaction::None => {}
        Reaction::Send => {
            event.prevent_default();
            post();
        }
        Reaction::SendLater => event.prevent_default(),
    };
    let keydown = move |event: leptos::ev::KeyboardEvent| {
        let key = Key {
            is_enter: event.key() == "Enter" || matches!(event.code().as_str(), "Enter" | "NumpadEnter"),
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
            // In some browsers the field has the text only after this event.
            set_timeout(post, Duration::ZERO);
        }
    };

    view! {
        <div class="composer">
            <NamePrompt room back/>
            <form action=PostMessage::PATH method="post" on:submit=submit>
                <input type="hidden" name="room" value=name/>
                <input type="hidden" name="key" value=key.to_string()/>
                <textarea
                    id="text" name="text" node_ref=input rows="1" required dir="auto" on:input=changed
                    on:keydown=keydown on:keyup=move |_| enter.update_value(EnterKey::up)
                    on:beforeinput=before_input on:compositionend=composed
                    aria-label=t!(i18n, message) placeholder=t!(i18n, message_placeholder)
                    aria-describedby="text-hint" enterkeyhint=move || if enter_sends.get() { "send" } else { "enter" }
                >
                    {draft}
                </textarea>
                <button type="submit" class="primary">{t!(i18n, send)}</button>
            </form>
            <p id="text-hint" class="hint error" role="status" translate="no">
                {move || refused.get().map(|refused| refusal::explanation(i18n, &refused))}
            </p>
        </div>
    }
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
        if let Some(field) = input.try_get_untracked().flatten() {
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
