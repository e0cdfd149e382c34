//! Who somebody is: a signed cookie, and the signed token by which a connection resumes.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use cookie::time::Duration;
use cookie::{Cookie, CookieJar, Key, SameSite};
use http::HeaderMap;
use http::header::COOKIE;

use super::random;
use crate::protocol::UserId;

/// How long a visitor is recognised: as long as browsers allow.
const COOKIE_LASTS: Duration = Duration::days(400);
/// How long a token to resume is good for, seconds. A page that stayed away longer has its cookie.
const RESUME_SECONDS: u64 = 7 * 24 * 3600;
const KEY_BYTES: usize = 64;

/// Reads and writes signed identities.
pub struct Identity {
    key: Key,
    secure: bool,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("secure", &self.secure).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the key from the data folder, or makes one that only its owner can read. `secure`:
    /// people come over HTTPS.
    ///
    /// # Errors
    /// One clear line when the file cannot be read or made.
    pub fn load(folder: &Path, secure: bool) -> Result<Self, String> {
        let path = folder.join("session.key");
        let failed = |error: std::io::Error| format!("cannot use the key file {}: {error}", path.display());
        let mut bytes = Vec::new();
        match OpenOptions::new().read(true).open(&path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes).map_err(failed)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bytes.resize(KEY_BYTES, 0);
                random::fill(&mut bytes);
                create_private(&path)
                    .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
                    .map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        if bytes.len() != KEY_BYTES {
            return Err(format!(
                "the key file {} is damaged: it must have {KEY_BYTES} bytes; removing it makes a new key, and everyone a new guest",
                path.display()
            ));
        }
        Ok(Self { key: Key::from(&bytes), secure })
    }

    /// A user that nobody was before.
    pub fn new_user(&self) -> UserId {
        UserId(random::bits())
    }

    /// Who a request comes from, by its cookie.
    pub fn visitor(&self, headers: &HeaderMap) -> Option<UserId> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies = cookies.flat_map(|text| Cookie::split_parse(text.to_owned())).filter_map(Result::ok);
        let cookie = cookies.filter(|cookie| cookie.name() == self.cookie_name()).last()?;
        self.verify(cookie.into_owned())?.strip_prefix("user.")?.parse().ok()
    }

    /// The `Set-Cookie` value by which somebody is recognised.
    pub fn cookie(&self, user: UserId) -> String {
        let cookie = Cookie::build((self.cookie_name(), format!("user.{user}")))
            .path("/")
            .http_only(true)
            .secure(self.secure)
            .same_site(SameSite::Lax)
            .max_age(COOKIE_LASTS);
        self.sign(cookie.build()).to_string()
    }

    /// The token that lets a connection be the same person again.
    pub fn resume(&self, user: UserId) -> String {
        self.sign(Cookie::new("resume", format!("resume.{user}.{}", now()))).value().to_owned()
    }

    /// Who a token was made for, unless it is forged or too old.
    pub fn read_resume(&self, token: &str) -> Option<UserId> {
        let signed = self.verify(Cookie::new("resume", token.to_owned()))?;
        let (user, made) = signed.strip_prefix("resume.")?.split_once('.')?;
        let age = now().saturating_sub(made.parse().ok()?);
        (age <= RESUME_SECONDS).then(|| user.parse().ok()).flatten()
    }

    fn cookie_name(&self) -> &'static str {
        if self.secure { "__Host-noom" } else { "noom" }
    }

    /// Puts a signature before the value. It covers the value alone, not the name: so each value
    /// begins with what it is for.
    fn sign(&self, cookie: Cookie<'static>) -> Cookie<'static> {
        let name = cookie.name().to_owned();
        let mut jar = CookieJar::new();
        jar.signed_mut(&self.key).add(cookie.clone());
        jar.get(&name).cloned().unwrap_or(cookie)
    }

    fn verify(&self, cookie: Cookie<'static>) -> Option<String> {
        CookieJar::new().signed(&self.key).verify(cookie).map(|cookie| cookie.value().to_owned())
    }
}

fn create_private(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&format!("a=b; {pair}")).unwrap())])
    }

    #[test]
    fn a_cookie_names_the_same_user_until_the_key_changes() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::load(folder.path(), false).unwrap();
        let user = identity.new_user();
        let cookie = identity.cookie(user);
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("Secure"),
            "{cookie}"
        );
        let again = Identity::load(folder.path(), false).unwrap();
        assert_eq!(again.visitor(&headers(&cookie)), Some(user));

        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(elsewhere.path(), false).unwrap().visitor(&headers(&cookie)), None);
    }

    #[test]
    fn forged_and_exchanged_values_are_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::load(folder.path(), false).unwrap();
        let (user, token) = (UserId(7), identity.resume(UserId(7)));
        assert_eq!(identity.read_resume(&token), Some(user));
        assert_eq!(identity.read_resume(&token.replace("0007.", "0008.")), None);
        assert_eq!(identity.visitor(&headers(&format!("noom={token}"))), None, "a token is no cookie");
        let cookie = identity.cookie(user);
        let value = cookie.split(';').next().unwrap().strip_prefix("noom=").unwrap();
        assert_eq!(identity.read_resume(value), None, "a cookie is no token");
        for garbage in ["", "x", "ü".repeat(30).as_str()] {
            assert_eq!(identity.read_resume(garbage), None);
        }
    }

    #[test]
    fn under_tls_the_cookie_is_bound_to_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let cookie = Identity::load(folder.path(), true).unwrap().cookie(UserId(1));
        assert!(
            cookie.starts_with("__Host-noom=") && cookie.contains("Secure") && cookie.contains("Path=/"),
            "{cookie}"
        );
    }

    #[test]
    fn the_key_is_its_owners_alone_and_a_damaged_one_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Identity::load(folder.path(), false).unwrap();
        let path = folder.path().join("session.key");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, b"short").unwrap();
        assert!(Identity::load(folder.path(), false).unwrap_err().contains("damaged"));
    }
}
