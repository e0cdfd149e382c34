//! ICE servers for peers: STUN and TURN addresses, with short-lived TURN credentials.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::UserId;
use crate::protocol::call::IceServer;

/// The longest validity of credentials.
pub const MAX_TTL: Duration = Duration::from_secs(3_600);

/// The configured ICE servers. None by default, so that no third party learns of a call.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceSettings {
    /// `stun:` addresses.
    pub stun: Vec<String>,
    /// `turn:` and `turns:` addresses.
    pub turn: Vec<String>,
    /// The secret that is shared with the TURN server, as its `static-auth-secret`.
    pub secret: String,
    /// The validity of credentials.
    pub ttl: Duration,
}

impl fmt::Debug for IceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stun, turn, secret: _, ttl } = self;
        f.debug_struct("IceSettings").field("stun", stun).field("turn", turn).field("ttl", ttl).finish_non_exhaustive()
    }
}

impl IceSettings {
    /// The ICE servers for a user who joins a call now. `now` is the time since 1970 UTC.
    pub fn servers(&self, user: UserId, now: Duration) -> Vec<IceServer> {
        let stun = IceServer { urls: self.stun.clone(), username: None, credential: None };
        let (username, credential) = self.credentials(user, now);
        let turn = IceServer { urls: self.turn.clone(), username: Some(username), credential: Some(credential) };
        [stun, turn].into_iter().filter(|server| !server.urls.is_empty()).collect()
    }

    /// The validity of credentials, if there are any.
    pub fn lifetime_seconds(&self) -> Option<u64> {
        (!self.turn.is_empty()).then(|| self.ttl.min(MAX_TTL).as_secs())
    }

    /// Username and password by the scheme that coturn calls `use-auth-secret` (draft-uberti-behave-turn-rest-00): the
    /// username contains its expiry, the password signs it.
    fn credentials(&self, user: UserId, now: Duration) -> (String, String) {
        let expires = now + self.ttl.min(MAX_TTL);
        let username = format!("{}:{user}", expires.as_secs());
        // TURN servers use SHA-1. As an HMAC it is still secure.
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
    fn default_settings_have_no_ice_servers() {
        assert_eq!(IceSettings::default().servers(UserId(1), Duration::ZERO), []);
        assert_eq!(IceSettings::default().lifetime_seconds(), None);
    }

    #[test]
    fn credentials_are_signed_and_expire_within_an_hour() {
        let now = Duration::from_secs(1_000);
        let servers = settings().servers(UserId(0xc0ffee), now);
        assert_eq!((servers[0].username.as_deref(), servers[0].credential.as_deref()), (None, None));
        assert_eq!(servers[1].username.as_deref(), Some("1600:0000000000c0ffee"));
        // printf 1600:0000000000c0ffee | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(servers[1].credential.as_deref(), Some("Tt/QGqzuA1dOJT9eEGu5PJj7w8w="));
        let long = IceSettings { ttl: Duration::from_secs(86_400), ..settings() };
        assert_eq!(long.servers(UserId(1), now)[1].username.as_deref(), Some("4600:0000000000000001"));
        assert_eq!((settings().lifetime_seconds(), long.lifetime_seconds()), (Some(600), Some(3_600)));
    }

    #[test]
    fn debug_output_hides_secret() {
        assert!(!format!("{:?}", settings()).contains("north"));
    }
}
