//! Where one writes.

use leptos::html::Textarea;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_query_map;

use super::Here;
use super::members::NameYourself;
use crate::app::api::PostMessage;
use crate::app::locale::{Language, say};
use crate::app::name_form::query_refusal;
use crate::app::{path, text};
use crate::protocol::{ErrorCode, MessageKey, check_text};

/// The form for a message. Enter sends, Shift+Enter makes a line; while an input method composes a
/// syllable, Enter belongs to it.
#[component]
pub(super) fn Composer(here: Here, name: String, key: MessageKey) -> impl IntoView {
    let i18n = Language::current();
    let input = NodeRef::<Textarea>::new();
    let is_of_post = |code: &ErrorCode| !code.as_str().starts_with("NICK_");
    let refusal = RwSignal::new(query_refusal().filter(is_of_post));
    let draft = use_query_map().with_untracked(|query| query.get("draft")).unwrap_or_default();
    let back = path::room(&name);

    let post = move || {
        let Some(field) = input.get_untracked() else { return };
        let text = field.value();
        let text = text.trim_end();
        match check_text(text) {
            Ok(()) => {
                refusal.set(None);
                here.client.post(here.room, text.to_owned());
                field.set_value("");
            }
            // Nothing to send is no mistake worth words.
            Err(ErrorCode::TextEmpty) => {}
            Err(code) => refusal.set(Some(code)),
        }
        let _ = field.focus();
    };
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        post();
    };
    let changed = move |_| {
        if input.get_untracked().is_some_and(|field| !field.value().trim().is_empty()) {
            here.client.typing(here.room);
        }
    };
    let keydown = move |event: leptos::ev::KeyboardEvent| {
        // 229: the key went to an input method that does not say so (older Safari, some Androids).
        let composing = event.is_composing() || event.key_code() == 229;
        if event.key() == "Enter" && !event.shift_key() && !composing {
            event.prevent_default();
            post();
        }
    };

    view! {
        <div class="composer">
            <NameYourself here back/>
            <form action=PostMessage::PATH method="post" on:submit=submit>
                <input type="hidden" name="room" value=name/>
                <input type="hidden" name="key" value=key.to_string()/>
                <textarea
                    id="text" name="text" node_ref=input rows="1" required dir="auto" on:keydown=keydown on:input=changed
                    aria-label=say!(i18n, message) placeholder=say!(i18n, write_here)
                    aria-describedby="text-says" enterkeyhint="send"
                >
                    {draft}
                </textarea>
                <button type="submit" class="primary">{say!(i18n, send)}</button>
            </form>
            <p id="text-says" class="says error" role="status">
                {move || refusal.get().map(|code| text::refusal(i18n, code))}
            </p>
        </div>
    }
}
