//! Files of the message that is being written. Their upload needs code that is fetched when the first file is chosen
//! ([`mod@tray`]).

pub(in crate::app) mod list;
mod tray;
mod upload;

use leptos::html::Input;
use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos::wasm_split::{SplitLoaderError, wasm_split};
use wasm_bindgen::JsCast;
use web_sys::{File, FileList, HtmlInputElement};

use crate::app::erase::Erase;
use crate::app::lazy_part::lazy_part;
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use crate::protocol::{ErrorCode, MAX_ATTACHMENTS};
use list::{Item, Stage};
use tray::TrayView;

/// Begins to upload files. Runs in the browser only.
pub(super) fn add(room: RoomContext, files: &FileList) {
    for file in (0..files.length()).filter_map(|index| files.get(index)) {
        let is_too_much = room.files.count() >= MAX_ATTACHMENTS;
        let item = room.files.push(file.name(), file.size() as u64);
        let stage = item.stage;
        if is_too_much {
            stage.set(Stage::Failed(Some(ErrorCode::TooManyAttachments.into())));
            continue;
        }
        spawn_local(async move {
            if start(room, item, file).await.is_err() {
                stage.try_set(Stage::Failed(None));
            }
        });
    }
}

/// The button that opens the dialog of files. On phones it also offers the camera.
#[component]
pub(super) fn AttachButton(room: RoomContext) -> impl IntoView {
    let i18n = Language::current();
    let chosen = move |event: leptos::ev::Event| {
        let input = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
        let Some(input) = input else { return };
        if let Some(files) = input.files() {
            add(room, &files);
        }
        // The same file can be chosen again.
        input.set_value("");
    };
    let input = NodeRef::<Input>::new();
    let open = move |_| {
        if let Some(input) = input.get_untracked() {
            input.click();
        }
    };
    view! {
        <input type="file" multiple hidden node_ref=input on:change=chosen/>
        <button
            type="button" class="attach needs-script" aria-label=t!(i18n, attach) title=t!(i18n, attach) on:click=open
        >
            <svg viewBox="0 0 24 24" aria-hidden="true">
                <path d="M8 12.5 14.5 6a3 3 0 0 1 4.2 4.2l-8.4 8.4a5 5 0 0 1-7-7L11 4"/>
            </svg>
        </button>
    }
}

/// The files above the field, with the progress of their uploads.
#[component]
pub(super) fn Tray(room: RoomContext) -> impl IntoView {
    let is_empty = Memo::new(move |_| room.files.is_empty());
    view! {
        <Show when=move || !is_empty.get()>
            // If the code cannot be fetched, each file says that it has failed.
            {lazy_part(move || tray(room), || ().erase(), |_| ().erase())}
        </Show>
    }
}

/// A split point of the WASM program, as that of calls.
#[wasm_split(files, wasm_split_path = leptos::wasm_split, fallible)]
fn tray(room: RoomContext) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <TrayView room/> }.erase())
}

/// A split point into the same part.
#[wasm_split(files, wasm_split_path = leptos::wasm_split, fallible)]
fn start(room: RoomContext, item: Item, file: File) -> Result<(), SplitLoaderError> {
    spawn_local(upload::run(room, item, file));
    Ok(())
}
