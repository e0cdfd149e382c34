//! The picker for reactions: all emoji, found by their English and Korean names. Its code and its data are fetched when
//! it is opened first.

mod catalog;
mod grid;
mod state;

use leptos::html::{Dialog, Input};
use leptos::prelude::*;
use leptos::wasm_split::{SplitLoaderError, wasm_split};
use leptos_i18n::td_string;

use crate::app::erase::Erase;
use crate::app::focus::is_composing;
use crate::app::lazy_part::{lazy_part, retry};
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use grid::EmojiGrid;
use state::Picker;

/// The dialog, while a message is chosen.
#[component]
pub(super) fn EmojiPicker(room: RoomContext) -> impl IntoView {
    view! { <Show when=move || room.picking_for.get().is_some()>{dialog(room)}</Show> }.erase()
}

fn dialog(room: RoomContext) -> AnyView {
    let i18n = Language::current();
    let (dialog, input) = (NodeRef::<Dialog>::new(), NodeRef::<Input>::new());
    let picker = Picker { room, dialog, typed: RwSignal::new(String::new()), entered: Trigger::new() };
    Effect::new(move |_| {
        if let Some(dialog) = dialog.get() {
            let _ = dialog.show_modal();
        }
    });
    let typed = move |_| picker.typed.set(input.get_untracked().map(|input| input.value()).unwrap_or_default());
    let keydown = move |event: leptos::ev::KeyboardEvent| {
        if event.key() == "Enter" && !is_composing(&event) {
            event.prevent_default();
            picker.entered.notify();
        }
    };
    let waiting = || view! { <div class="emoji-grid" aria-busy="true"></div> }.erase();
    view! {
        <dialog
            class="emoji-picker" node_ref=dialog aria-label=t!(i18n, react_more) translate="no"
            on:close=move |_| room.picking_for.set(None)
        >
            <div class="field">
                <input
                    type="search" node_ref=input autocomplete="off" spellcheck="false" aria-label=t!(i18n, find_emoji)
                    placeholder=move || td_string!(i18n.get(), find_emoji) on:input=typed on:keydown=keydown
                />
                <button type="button" aria-label=t!(i18n, close) on:click=move |_| picker.close()>"✕"</button>
            </div>
            {lazy_part(move || load_grid(picker), waiting, move |attempt| retry(i18n, attempt))}
        </dialog>
    }
    .erase()
}

/// A split point of the WASM program, as that of the call.
#[wasm_split(emoji_grid, wasm_split_path = leptos::wasm_split, fallible)]
fn load_grid(picker: Picker) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <EmojiGrid picker/> }.erase())
}
