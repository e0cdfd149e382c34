//! The contents of forms that were refused. A page without script shows them again after the redirect. They travel
//! through memory, because a URL ends up in the logs of proxies and in the history of browsers.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock::lock;
use super::random;
use crate::protocol::UserId;

/// The time that a browser has to follow the redirect.
const KEPT: Duration = Duration::from_secs(300);
/// The most forms that are kept. The oldest are dropped first.
const MAX_FORMS: usize = 1_024;
/// The most text that is kept, in bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The refused forms of all visitors, oldest first.
#[derive(Debug, Default)]
pub(super) struct RefusedForms(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    /// Random: it is useless to guess.
    id: String,
    /// The visitor, if the form came with a valid cookie. Nobody else receives it then.
    owner: Option<UserId>,
    at: Instant,
    /// As the page encodes it.
    form: String,
}

impl RefusedForms {
    /// Keeps a form, and returns the id for [`RefusedForms::take`]. A visitor with a cookie has at most one.
    pub(super) fn keep(&self, owner: Option<UserId>, now: Instant, form: String) -> String {
        let id = format!("{:016x}{:016x}", random::bits(), random::bits());
        let mut kept = lock(&self.0);
        kept.retain(|other| now.duration_since(other.at) < KEPT && (owner.is_none() || other.owner != owner));
        kept.push_back(Kept { id: id.clone(), owner, at: now, form });
        let mut bytes: usize = kept.iter().map(|kept| kept.form.len()).sum();
        while kept.len() > MAX_FORMS || bytes > MAX_BYTES {
            bytes -= kept.pop_front().map_or(bytes, |oldest| oldest.form.len());
        }
        id
    }

    /// Removes and returns a form.
    pub(super) fn take(&self, id: &str, visitor: UserId) -> Option<String> {
        let mut kept = lock(&self.0);
        let index = kept.iter().position(|kept| kept.id == id && kept.owner.is_none_or(|owner| owner == visitor))?;
        kept.remove(index).map(|kept| kept.form)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(typed: &str) -> String {
        typed.to_owned()
    }

    #[test]
    fn form_is_returned_once_and_only_to_its_visitor() {
        let (forms, now) = (RefusedForms::default(), Instant::now());
        let id = forms.keep(Some(UserId(1)), now, form("mine"));
        assert_eq!(forms.take(&id, UserId(2)), None);
        assert_eq!(forms.take("", UserId(1)), None);
        assert_eq!(forms.take(&id, UserId(1)), Some(form("mine")));
        assert_eq!(forms.take(&id, UserId(1)), None);
        let id = forms.keep(None, now, form("without a cookie"));
        assert_eq!(forms.take(&id, UserId(3)), Some(form("without a cookie")));
    }

    #[test]
    fn forms_are_bounded_in_number_bytes_and_time() {
        let (forms, now) = (RefusedForms::default(), Instant::now());
        let long = "x".repeat(60_000);
        let first = forms.keep(None, now, form("first"));
        for _ in 0..200 {
            forms.keep(None, now, form(&long));
        }
        let bytes: usize = lock(&forms.0).iter().map(|kept| kept.form.len()).sum();
        assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES - 60_000, "{bytes}");
        assert_eq!(forms.take(&first, UserId(1)), None, "the oldest are dropped first");
        for _ in 0..2_000 {
            forms.keep(None, now, form(""));
        }
        assert_eq!(lock(&forms.0).len(), MAX_FORMS);
        forms.keep(Some(UserId(1)), now + KEPT, form("later"));
        forms.keep(Some(UserId(1)), now + KEPT, form("latest"));
        assert_eq!(lock(&forms.0).len(), 1);
    }
}
