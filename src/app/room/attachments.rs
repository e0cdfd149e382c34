//! The files of a message.

use leptos::either::Either;
use leptos::prelude::*;

use crate::app::erase::Erase;
use crate::app::locale::{Language, t};
use crate::app::path;
use crate::protocol::Attachment;

/// The largest size in which a message shows a picture, in CSS pixels.
const SHOWN_PIXELS: u64 = 320;
/// A narrow picture is shown at least this wide, so that it can be seen and clicked.
const LEAST_PIXELS: u64 = 16;

/// The files of a message, in their order.
pub(super) fn attachments(room: &str, files: &[Attachment]) -> AnyView {
    let files = files.iter().map(|file| view! { <li><File room=room.to_owned() file=file.clone()/></li> });
    view! { <ul class="files">{files.collect_view()}</ul> }.erase()
}

/// A picture, or a card with the name and the size. It opens in another tab, so that a call goes on.
#[component]
fn File(room: String, file: Attachment) -> impl IntoView {
    let i18n = Language::current();
    let is_missing = RwSignal::new(false);
    let address = path::file(&room, &file);
    let thumbnail = path::thumbnail(&room, file.id);
    let Attachment { name, bytes, .. } = file.clone();
    move || {
        let (address, name) = (address.clone(), name.clone());
        match file.size().filter(|_| !is_missing.get()) {
            Some(size) => {
                let (width, height) = shown(size);
                Either::Left(view! {
                    <a class="picture" href=address target="_blank" rel="noopener">
                        <img
                            src=thumbnail.clone() alt=name width=width height=height loading="lazy" decoding="async"
                            on:error=move |_| is_missing.set(true)
                        />
                    </a>
                })
            }
            None => Either::Right(view! {
                <a class="file" href=address target="_blank" rel="noopener">
                    <bdi class="name" translate="no">{name}</bdi>
                    <span class="hint">
                        {if is_missing.get() { Either::Left(t!(i18n, file_missing)) } else { Either::Right(size_text(bytes)) }}
                    </span>
                </a>
            }),
        }
    }
}

/// The size in which a picture is shown. The page has it before the picture arrives, so that nothing moves.
fn shown((width, height): (u64, u64)) -> (u64, u64) {
    let longest = width.max(height).max(1);
    let scaled = |side: u64| (side * SHOWN_PIXELS / longest).max(LEAST_PIXELS);
    if longest > SHOWN_PIXELS {
        (scaled(width), scaled(height))
    } else {
        (width.max(LEAST_PIXELS), height.max(LEAST_PIXELS))
    }
}

/// A size in bytes for a reader: `1.5 MB`.
pub(super) fn size_text(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_is_shown_within_a_square_and_never_too_narrow() {
        for (size, expected) in [
            ((4_000, 3_000), (320, 240)),
            ((600, 900), (213, 320)),
            ((100, 50), (100, 50)),
            ((10_000, 1), (320, 16)),
            ((1, 1), (16, 16)),
        ] {
            assert_eq!(shown(size), expected, "{size:?}");
        }
    }

    #[test]
    fn size_has_few_digits() {
        for (bytes, expected) in [(5, "5 B"), (1_001, "2 kB"), (25 * 1_048_576, "26.2 MB")] {
            assert_eq!(size_text(bytes), expected);
        }
    }
}
