//! User identity: the signed cookie of a browser, and the signed token that resumes a connection.
//!
//! Both consist of a purpose, the user, the session, the time of issue, the id of the key and the signature, with dots
//! between them. A session is one browser's: it survives until its cookie is gone.

mod key_ring;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::random;
use super::start_error::StartError;
use crate::protocol::UserId;
use key_ring::KeyRing;

const DAY: u64 = 24 * 3600;
/// Lifetime of a cookie in days: the longest that browsers allow.
pub const COOKIE_DAYS: u64 = 400;
/// The age in seconds at which a cookie is renewed. A visitor who comes back within [`COOKIE_DAYS`] is never forgotten.
const RENEWAL_SECONDS: u64 = 7 * DAY;
/// Lifetime of a resume token in seconds. A page that was away longer still has its cookie.
const RESUME_TOKEN_SECONDS: u64 = 7 * DAY;

/// Identifies a user, and the browser or program that the user is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The user.
    pub user: UserId,
    /// 64 random bits.
    pub session: u64,
}

/// The credential in a request's cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromCookie {
    /// The credential.
    pub credential: Credential,
    format: CookieFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CookieFormat {
    Current {
        is_stale: bool,
    },
    /// The format of version 0.1, without session and time.
    Legacy,
}

/// The purpose of a signed text. The same text with another purpose is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Cookie,
    /// A resume token that is valid only together with the cookie of its session.
    Resume,
    /// A resume token for a client without a cookie.
    ResumeAlone,
}

impl Purpose {
    fn tag(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Resume => "resume",
            Self::ResumeAlone => "alone",
        }
    }
}

/// A verified text.
struct Signed {
    credential: Credential,
    age: u64,
    key: u32,
}

/// Signs and verifies identities.
#[derive(Debug)]
pub struct Identity {
    keys: RwLock<KeyRing>,
    /// The file of the keys; `None` in a simulator.
    path: Option<PathBuf>,
    secure: bool,
}

impl Identity {
    /// Reads the keys from the data folder, or creates a file with one that only the owner can read. `secure`: clients
    /// use HTTPS.
    ///
    /// # Errors
    /// If the file cannot be read or created, or is damaged.
    pub fn load(folder: &Path, secure: bool) -> Result<Self, StartError> {
        let path = KeyRing::path(folder);
        Ok(Self { keys: RwLock::new(KeyRing::load(&path)?), path: Some(path), secure })
    }

    /// An identity with a fixed key, for a simulator.
    pub fn from_key(key: &[u8; 64], secure: bool) -> Self {
        Self { keys: RwLock::new(KeyRing::legacy(key)), path: None, secure }
    }

    /// Reads the keys again. If that fails, the earlier ones stay in use.
    ///
    /// # Errors
    /// As [`Identity::load`].
    pub fn reload(&self) -> Result<(), StartError> {
        if let Some(path) = &self.path {
            let keys = KeyRing::load(path)?;
            *self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = keys;
        }
        Ok(())
    }

    /// A new user at a new browser.
    pub fn new_visitor(&self) -> Credential {
        Credential { user: UserId(random::bits()), session: random::bits() }
    }

    /// The credential of a user without a cookie: always the same one.
    pub fn without_cookie(&self, user: UserId) -> Credential {
        Credential { user, session: self.keys().derive(&format!("session.{user}")) }
    }

    /// The credential in the cookie of a request; `None` without a valid one. `now` is the time since 1970 UTC, as
    /// everywhere here.
    pub fn from_cookie(&self, headers: &HeaderMap, now: Duration) -> Option<FromCookie> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies: Vec<_> = cookies.flat_map(Cookie::split_parse).filter_map(Result::ok).collect();
        let named = |name: String| cookies.iter().filter(move |cookie| cookie.name() == name).map(Cookie::value);
        let current = named(self.cookie_name()).find_map(|value| self.verify(Purpose::Cookie, value, now));
        if let Some(signed) = current.filter(|signed| signed.age < COOKIE_DAYS * DAY) {
            let is_stale = signed.age >= RENEWAL_SECONDS || signed.key != self.keys().signing_id();
            return Some(FromCookie { credential: signed.credential, format: CookieFormat::Current { is_stale } });
        }
        let user = named(self.legacy_cookie_name().to_owned())
            .find_map(|value| self.keys().verify_legacy(value, now)?.strip_prefix("user.")?.parse().ok())?;
        Some(FromCookie { credential: self.without_cookie(user), format: CookieFormat::Legacy })
    }

    /// The `Set-Cookie` header that identifies a visitor.
    pub fn set_cookie(&self, credential: Credential, now: Duration) -> HeaderValue {
        let value = self.sign(Purpose::Cookie, credential, now);
        let max_age = cookie::time::Duration::days(COOKIE_DAYS as i64);
        self.cookie_header(Cookie::build((self.cookie_name(), value)).max_age(max_age).build())
    }

    /// The `Set-Cookie` headers that renew the cookie of a request, if it is time. A cookie of version 0.1 is exchanged
    /// for one of today's form.
    pub fn renewal(&self, found: FromCookie, now: Duration) -> Vec<HeaderValue> {
        let FromCookie { credential, format } = found;
        match format {
            CookieFormat::Current { is_stale: false } => Vec::new(),
            CookieFormat::Current { is_stale: true } => vec![self.set_cookie(credential, now)],
            CookieFormat::Legacy => {
                let removed = Cookie::build((self.legacy_cookie_name(), "")).max_age(cookie::time::Duration::ZERO);
                vec![self.set_cookie(credential, now), self.cookie_header(removed.build())]
            }
        }
    }

    /// A token that identifies the user in `hello` after a reconnect. If the connection has the cookie of this session,
    /// the token is valid only together with it.
    pub fn resume_token(&self, credential: Credential, cookie: Option<Credential>, now: Duration) -> String {
        let purpose = if cookie == Some(credential) { Purpose::Resume } else { Purpose::ResumeAlone };
        self.sign(purpose, credential, now)
    }

    /// The credential of a resume token; `None` if it is forged or expired, or if it belongs to the cookie of another
    /// session.
    pub fn verify_resume_token(&self, token: &str, cookie: Option<Credential>, now: Duration) -> Option<Credential> {
        let is_fresh = |age: u64| age <= RESUME_TOKEN_SECONDS;
        if let Some(signed) = self.verify(Purpose::ResumeAlone, token, now) {
            return Some(signed.credential).filter(|_| is_fresh(signed.age));
        }
        if let Some(signed) = self.verify(Purpose::Resume, token, now) {
            return Some(signed.credential).filter(|credential| is_fresh(signed.age) && cookie == Some(*credential));
        }
        let signed = self.keys().verify_legacy(token, now)?;
        let (user, made) = signed.strip_prefix("resume.")?.split_once('.')?;
        let (user, age) = (user.parse().ok()?, now.as_secs().saturating_sub(made.parse().ok()?));
        let credential = cookie.unwrap_or_else(|| self.without_cookie(user));
        (credential.user == user && is_fresh(age)).then_some(credential)
    }

    /// Cookies do not tell the ports of a host apart, so each server has a name of its own.
    fn cookie_name(&self) -> String {
        format!("{}-{}", self.legacy_cookie_name(), self.keys().name())
    }

    fn legacy_cookie_name(&self) -> &'static str {
        if self.secure { "__Host-noom" } else { "noom" }
    }

    fn cookie_header(&self, mut cookie: Cookie<'static>) -> HeaderValue {
        cookie.set_path("/");
        cookie.set_http_only(true);
        cookie.set_secure(self.secure);
        cookie.set_same_site(SameSite::Lax);
        HeaderValue::from_str(&cookie.to_string()).expect("names and signed values are ASCII")
    }

    fn sign(&self, purpose: Purpose, Credential { user, session }: Credential, now: Duration) -> String {
        self.keys().sign(&format!("{}.{user}.{session:016x}.{}", purpose.tag(), now.as_secs()))
    }

    fn verify(&self, purpose: Purpose, signed: &str, now: Duration) -> Option<Signed> {
        let (text, key) = self.keys().verify(signed, now)?;
        let parts: [&str; 4] = text.split('.').collect::<Vec<_>>().try_into().ok()?;
        let [tag, user, session, made] = parts;
        let credential = Credential { user: user.parse().ok()?, session: u64::from_str_radix(session, 16).ok()? };
        // The clock may have been set back.
        let age = now.as_secs().saturating_sub(made.parse().ok()?);
        (tag == purpose.tag()).then_some(Signed { credential, age, key })
    }

    fn keys(&self) -> std::sync::RwLockReadGuard<'_, KeyRing> {
        self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Adds a key to the file of a data folder, which signs from the next start or reload on. The others are valid for so
/// many days more. Returns the id of the new key.
///
/// # Errors
/// If the file cannot be read or written, or is damaged.
pub fn rotate_key(folder: &Path, keep_days: u64, now: Duration) -> Result<u32, StartError> {
    let path = KeyRing::path(folder);
    KeyRing::load(&path)?.rotate(&path, now, Duration::from_secs(keep_days.saturating_mul(DAY)))
}
