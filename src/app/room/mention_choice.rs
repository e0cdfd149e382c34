//! The list of people to mention, while the user types a name after `@`.

use leptos::html::Textarea;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlTextAreaElement};

use super::mention::people;
use crate::app::erase::Erase;
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use crate::app::user::avatar;
use crate::protocol::{MAX_NICKNAME_CHARS, User, begins_mention};

/// The most people in the list.
const MOST: usize = 6;
/// The id of the list.
const LIST: &str = "mention-list";

/// The state of the list. It is shown while it has people.
#[derive(Clone, Copy)]
pub(super) struct MentionChoice {
    room: RoomContext,
    field: NodeRef<Textarea>,
    people: RwSignal<Vec<User>>,
    active: RwSignal<usize>,
    /// The text of the field has a name that was chosen.
    pub(super) chosen: Trigger,
}

impl MentionChoice {
    pub(super) fn new(room: RoomContext, field: NodeRef<Textarea>) -> Self {
        Self { room, field, people: RwSignal::new(Vec::new()), active: RwSignal::new(0), chosen: Trigger::new() }
    }

    pub(super) fn is_open(self) -> bool {
        self.people.with_untracked(|people| !people.is_empty())
    }

    pub(super) fn close(self) {
        if self.is_open() {
            self.people.set(Vec::new());
        }
    }

    /// The text of the field, or the place of the cursor in it, has changed.
    pub(super) fn update(self) {
        let Some(typed) = self.field.get_untracked().and_then(|field| Typed::of(&field)) else { return self.close() };
        let me = self.room.me.with_untracked(|me| me.id);
        let is_offered = |user: &User| user.id != me && matches(&user.nickname, &typed.name);
        let mut offered: Vec<User> = Vec::new();
        for user in people(self.room) {
            if offered.len() < MOST && is_offered(&user) && !offered.iter().any(|other| other.id == user.id) {
                offered.push(user);
            }
        }
        self.active.set(0);
        self.people.set(offered);
    }

    /// A key went up that may have moved the cursor.
    pub(super) fn cursor_moved(self, key: &str) {
        if self.is_open() && matches!(key, "ArrowLeft" | "ArrowRight" | "Home" | "End" | "PageUp" | "PageDown") {
            self.update();
        }
    }

    /// Handles a key of the field. Returns whether the list has used it.
    pub(super) fn key(self, key: &str) -> bool {
        if !self.is_open() {
            return false;
        }
        let count = self.people.with_untracked(Vec::len);
        match key {
            "ArrowDown" => self.active.update(|active| *active = (*active + 1) % count),
            "ArrowUp" => self.active.update(|active| *active = (*active + count - 1) % count),
            "Enter" | "Tab" => self.choose_active(),
            "Escape" => self.close(),
            _ => return false,
        }
        true
    }

    /// Puts the name of the person that is marked into the text.
    pub(super) fn choose_active(self) {
        self.choose(self.active.get_untracked());
    }

    fn choose(self, index: usize) {
        let user = self.people.with_untracked(|people| people.get(index).cloned());
        if let (Some(user), Some(field)) = (user, self.field.get_untracked())
            && let Some(typed) = Typed::of(&field)
        {
            typed.replace(&field, &user.nickname);
            self.chosen.notify();
        }
        self.close();
    }

    /// The id of the person that Enter chooses, for `aria-activedescendant`.
    pub(super) fn active_id(self) -> Option<String> {
        let active = self.active.get();
        self.people.with(|people| (active < people.len()).then(|| option_id(active)))
    }

    /// The id of the list while it is shown, for `aria-controls`.
    pub(super) fn list_id(self) -> Option<&'static str> {
        self.people.with(|people| (!people.is_empty()).then_some(LIST))
    }
}

fn option_id(index: usize) -> String {
    format!("{LIST}-{index}")
}

/// Returns whether a name, or a word in it, begins with what was typed.
fn matches(name: &str, typed: &str) -> bool {
    let (name, typed) = (name.to_lowercase(), typed.to_lowercase());
    name.starts_with(&typed) || name.split(' ').any(|word| word.starts_with(&typed))
}

/// A name that is being typed: the text between the last `@` and the cursor.
#[derive(Debug, PartialEq, Eq)]
struct Typed {
    /// The text before the `@`.
    before: String,
    name: String,
    /// The text after the cursor.
    after: String,
}

impl Typed {
    fn of(field: &HtmlTextAreaElement) -> Option<Self> {
        let cursor = field.selection_start().ok().flatten()?;
        (field.selection_end() == Ok(Some(cursor))).then(|| Self::at(&field.value(), cursor as usize))?
    }

    /// `cursor`: in UTF-16 code units.
    fn at(text: &str, cursor: usize) -> Option<Self> {
        let units: Vec<u16> = text.encode_utf16().collect();
        let (before, after) = units.split_at_checked(cursor)?;
        let (before, after) = (String::from_utf16_lossy(before), String::from_utf16_lossy(after));
        let at = before.rfind('@')?;
        let name = before[at + 1..].to_owned();
        let is_name = !name.contains('\n') && !name.starts_with(' ') && name.chars().count() <= MAX_NICKNAME_CHARS;
        (begins_mention(&before[..at]) && is_name).then(|| Self { before: before[..at].to_owned(), name, after })
    }

    fn replace(self, field: &HtmlTextAreaElement, nickname: &str) {
        let Self { before, after, .. } = self;
        let start = format!("{before}@{nickname} ");
        let cursor = start.encode_utf16().count() as u32;
        field.set_value(&(start + after.strip_prefix(' ').unwrap_or(&after)));
        let _ = field.set_selection_range(cursor, cursor);
    }
}

/// The list, above the field.
#[component]
pub(super) fn MentionList(choice: MentionChoice) -> impl IntoView {
    let i18n = Language::current();
    // The field keeps the focus.
    let keep_focus = |event: leptos::ev::MouseEvent| event.prevent_default();
    let clicked = move |event: leptos::ev::MouseEvent| {
        let option =
            event.target().and_then(|target| target.dyn_into::<HtmlElement>().ok()?.closest("[role=option]").ok()?);
        if let Some(index) = option.and_then(|option| option.get_attribute("data-index")?.parse().ok()) {
            choice.choose(index);
        }
    };
    let rows = move || {
        let active = choice.active.get();
        let row = |(index, user): (usize, &User)| {
            view! {
                <li role="option" id=option_id(index) data-index=index.to_string() aria-selected=(index == active).to_string()>
                    {avatar(user)}<bdi>{user.nickname.clone()}</bdi>
                </li>
            }
            .erase()
        };
        choice.people.with(|people| people.iter().enumerate().map(row).collect_view())
    };
    view! {
        <Show when=move || choice.people.with(|people| !people.is_empty())>
            <ul
                id=LIST class="mention-list" role="listbox" translate="no" aria-label=t!(i18n, mention_choose)
                on:mousedown=keep_focus on:click=clicked
            >
                {rows}
            </ul>
        </Show>
    }
    .erase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str, cursor: usize) -> Option<(String, String)> {
        Typed::at(text, cursor).map(|Typed { name, after, .. }| (name, after))
    }

    #[test]
    fn name_is_typed_between_the_last_at_sign_and_the_cursor() {
        let some = |name: &str, after: &str| Some((name.to_owned(), after.to_owned()));
        assert_eq!(typed("hi @An", 6), some("An", ""));
        assert_eq!(typed("hi @An there", 6), some("An", " there"));
        assert_eq!(typed("🌱 @철수", 6), some("철수", ""), "in UTF-16 code units");
        assert_eq!(typed("@Ann Lee", 8), some("Ann Lee", ""), "names have spaces");
        for text in ["ann@example", "hi", "@Ann\nhello", "@ hello"] {
            assert_eq!(typed(text, text.len()), None, "{text:?}");
        }
        assert_eq!(typed("@Ann", 9), None);
    }

    #[test]
    fn person_is_offered_by_the_beginning_of_each_word_of_the_name() {
        assert!(matches("Ann Lee", "an") && matches("Ann Lee", "LE") && matches("철수", "철") && matches("Ann", ""));
        assert!(!matches("Ann Lee", "nn") && !matches("Ann", "Anna"));
    }
}
