//! What helps peers to reach each other: STUN and TURN servers, with credentials that soon expire.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::UserId;
use crate::protocol::call::IceServer;

/// Credentials are valid no longer than this.
pub const MAX_TTL: Duration = Duration::from_secs(3_600);

/// The ICE servers that the host configured; none by default, so that no third party hears of a call.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceSettings {
    /// `stun:` addresses.
    pub stun: Vec<String>,
    /// `turn:` and `turns:` addresses.
    pub turn: Vec<String>,
    /// What the TURN server knows as `static-auth-secret`.
    pub secret: String,
    /// How long credentials are valid.
    pub ttl: Duration,
}

impl fmt::Debug for IceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stun, turn, secret: _, ttl } = self;
        f.debug_struct("IceSettings").field("stun", stun).field("turn", turn).field("ttl", ttl).finish_non_exhaustive()
    }
}

impl IceSettings {
    /// What somebody who joins a call at this time is told.
    pub fn servers(&self, user: UserId, now: SystemTime) -> Vec<IceServer> {
        let stun = IceServer { urls: self.stun.clone(), username: None, credential: None };
        let (username, credential) = self.credentials(user, now);
        let turn = IceServer { urls: self.turn.clone(), username: Some(username), credential: Some(credential) };
        [stun, turn].into_iter().filter(|server| !server.urls.is_empty()).collect()
    }

    /// Name and password by the scheme that coturn calls `use-auth-secret`
    /// (draft-uberti-behave-turn-rest-00): the name says until when it is valid, the password signs it.
    fn credentials(&self, user: UserId, now: SystemTime) -> (String, String) {
        let expires = now.duration_since(UNIX_EPOCH).unwrap_or_default() + self.ttl.min(MAX_TTL);
        let username = format!("{}:{user}", expires.as_secs());
        // SHA-1 is what TURN servers compute; as an HMAC it is sound.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.secret.as_bytes());
        let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
        (username, credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> IceSettings {
        IceSettings {
            stun: vec!["stun:stun.example:3478".into()],
            turn: vec!["turn:turn.example:3478".into()],
            secret: "north".into(),
            ttl: Duration::from_secs(600),
        }
    }

    #[test]
    fn without_configuration_nobody_is_asked() {
        assert_eq!(IceSettings::default().servers(UserId(1), SystemTime::now()), []);
    }

    #[test]
    fn credentials_are_signed_and_expire_within_the_hour() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let servers = settings().servers(UserId(0xc0ffee), now);
        assert_eq!((servers[0].username.as_deref(), servers[0].credential.as_deref()), (None, None));
        assert_eq!(servers[1].username.as_deref(), Some("1600:0000000000c0ffee"));
        // printf 1600:0000000000c0ffee | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(servers[1].credential.as_deref(), Some("Tt/QGqzuA1dOJT9eEGu5PJj7w8w="));
        let long = IceSettings { ttl: Duration::from_secs(86_400), ..settings() };
        assert_eq!(long.servers(UserId(1), now)[1].username.as_deref(), Some("4600:0000000000000001"));
    }

    #[test]
    fn the_secret_is_never_printed() {
        assert!(!format!("{:?}", settings()).contains("north"));
    }
}
