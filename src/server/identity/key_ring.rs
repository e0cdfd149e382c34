//! The keys that sign cookies and resume tokens, in the file `session.key` of the data folder. The newest key signs.
//! Earlier keys verify until they expire, so that visitors stay who they are when the key is changed.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::server::random;
use crate::server::start_error::StartError;

/// The length of a new key: that of an HMAC-SHA256 tag.
const SECRET_BYTES: usize = 32;
/// The length of the file up to version 0.1: one key and nothing else.
const LEGACY_FILE_BYTES: usize = 64;
/// The part of a key of version 0.1 that signed; the other part was for encryption.
const LEGACY_SIGNING_BYTES: usize = 32;
/// The length of a signature of version 0.1: base64 of 32 bytes.
const LEGACY_SIGNATURE: usize = 44;
const HEADER: &str =
    "# The keys that sign cookies. Keep this file private, and back it up. `noom rotate-key` adds a key.\n";

/// The keys of a server, and the name by which its cookies are told from those of other servers on the same host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRing {
    name: String,
    /// At least one, in ascending order of their ids.
    keys: Vec<SigningKey>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SigningKey {
    id: u32,
    /// The end of its validity, in seconds since 1970 UTC. The newest key has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    /// The key of version 0.1, which also signed cookies without a key id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_legacy: bool,
    #[serde(serialize_with = "encode_secret", deserialize_with = "decode_secret")]
    secret: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl SigningKey {
    fn generate(id: u32) -> Self {
        let mut secret = vec![0; SECRET_BYTES];
        random::fill(&mut secret);
        Self { id, expires: None, is_legacy: false, secret }
    }

    fn is_valid(&self, now: Duration) -> bool {
        self.expires.is_none_or(|expires| now.as_secs() < expires)
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(HMAC_SHA256, &self.secret)
    }
}

impl KeyRing {
    /// The file in a data folder.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join("session.key")
    }

    /// Reads the file, or creates it. A file of version 0.1 is converted.
    ///
    /// # Errors
    /// If the file cannot be read or written, or is damaged.
    pub(super) fn load(path: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::KeyFile { path: path.to_owned(), source };
        let ring = match std::fs::read(path) {
            Ok(bytes) if bytes.len() == LEGACY_FILE_BYTES => Self::legacy(&bytes),
            Ok(bytes) => return Self::parse(&bytes).ok_or(StartError::DamagedKeyFile(path.to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::with_key(SigningKey::generate(1)),
            Err(error) => return Err(failed(error)),
        };
        ring.save(path).map_err(failed)?;
        Ok(ring)
    }

    /// The ring of a file of version 0.1.
    pub(super) fn legacy(secret: &[u8]) -> Self {
        Self::with_key(SigningKey { id: 1, expires: None, is_legacy: true, secret: secret.to_owned() })
    }

    fn with_key(key: SigningKey) -> Self {
        Self { name: format!("{:08x}", random::bits() as u32), keys: vec![key] }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let ring: Self = toml::from_slice(bytes).ok()?;
        let is_name = !ring.name.is_empty() && ring.name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_ascending = ring.keys.is_sorted_by(|a, b| a.id < b.id);
        let is_strong = ring.keys.iter().all(|key| key.secret.len() >= SECRET_BYTES);
        (is_name && is_ascending && is_strong && !ring.keys.is_empty()).then_some(ring)
    }

    /// Adds a key, which signs from now on. The others verify for this time, or less if they expire earlier.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn rotate(&mut self, path: &Path, now: Duration, keep: Duration) -> Result<u32, StartError> {
        let end = (now + keep).as_secs();
        for key in &mut self.keys {
            key.expires = Some(key.expires.map_or(end, |earlier| earlier.min(end)));
        }
        let id = self.newest().id + 1;
        self.keys.retain(|key| key.is_valid(now));
        self.keys.push(SigningKey::generate(id));
        self.save(path).map_err(|source| StartError::KeyFile { path: path.to_owned(), source })?;
        Ok(id)
    }

    /// Writes the file so that it is whole at any time, and readable only by its owner.
    fn save(&self, path: &Path) -> std::io::Result<()> {
        let text = format!("{HEADER}{}", toml::to_string(self).map_err(std::io::Error::other)?);
        let next = path.with_extension("key.new");
        // Left over from a crash.
        let _ = std::fs::remove_file(&next);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&next)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&next, path)
    }

    /// Random, and the same as long as the file exists.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn newest(&self) -> &SigningKey {
        self.keys.last().expect("a ring has at least one key")
    }

    /// The id of the key that signs.
    pub(super) fn signing_id(&self) -> u32 {
        self.newest().id
    }

    /// Signs a text: `{text}.{id of the key}.{signature}`.
    pub(super) fn sign(&self, text: &str) -> String {
        let text = format!("{text}.{}", self.newest().id);
        let tag = hmac::sign(&self.newest().hmac(), text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The text of a signed one, and the id of its key. `None` if it is forged, or if its key has expired.
    pub(super) fn verify<'a>(&self, signed: &'a str, now: Duration) -> Option<(&'a str, u32)> {
        let (covered, tag) = signed.rsplit_once('.')?;
        let (text, id) = covered.rsplit_once('.')?;
        let id = id.parse().ok()?;
        let key = self.keys.iter().find(|key| key.id == id && key.is_valid(now))?;
        hmac::verify(&key.hmac(), covered.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        Some((text, id))
    }

    /// The text of one that version 0.1 has signed.
    pub(super) fn verify_legacy<'a>(&self, signed: &'a str, now: Duration) -> Option<&'a str> {
        let (tag, text) = signed.split_at_checked(LEGACY_SIGNATURE)?;
        let tag = STANDARD.decode(tag).ok()?;
        let mut keys = self.keys.iter().filter(|key| key.is_legacy && key.is_valid(now));
        let is_signed = keys.any(|key| {
            let key = hmac::Key::new(HMAC_SHA256, &key.secret[..LEGACY_SIGNING_BYTES]);
            hmac::verify(&key, text.as_bytes(), &tag).is_ok()
        });
        is_signed.then_some(text)
    }

    /// 64 bits that depend on the text and the oldest key, and that nobody else can compute.
    pub(super) fn derive(&self, text: &str) -> u64 {
        let oldest = self.keys.first().expect("a ring has at least one key");
        let tag = hmac::sign(&oldest.hmac(), text.as_bytes());
        tag.as_ref().iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }
}

fn encode_secret<S: serde::Serializer>(secret: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(secret))
}

fn decode_secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn rotated_key_signs_and_earlier_ones_verify_until_they_expire() {
        let folder = tempfile::tempdir().unwrap();
        let path = KeyRing::path(folder.path());
        let mut ring = KeyRing::load(&path).unwrap();
        let first = ring.sign("a");
        assert_eq!(ring.rotate(&path, NOW, 10 * DAY).unwrap(), 2);
        let second = ring.sign("a");
        let ring = KeyRing::load(&path).unwrap();
        assert_eq!((ring.verify(&first, NOW), ring.verify(&second, NOW)), (Some(("a", 1)), Some(("a", 2))));
        assert_eq!(ring.verify(&first, NOW + 10 * DAY), None);
        assert_eq!(ring.verify(&second, NOW + 1_000 * DAY), Some(("a", 2)));

        let mut ring = ring;
        ring.rotate(&path, NOW, 20 * DAY).unwrap();
        assert_eq!(ring.verify(&first, NOW + 10 * DAY), None, "a second rotation does not prolong the first key");
        ring.rotate(&path, NOW, Duration::ZERO).unwrap();
        assert_eq!((ring.verify(&second, NOW), ring.keys.len()), (None, 1), "nothing is kept after a theft");
        assert_eq!(ring.name(), KeyRing::load(&path).unwrap().name());
    }

    #[test]
    fn changed_text_key_or_signature_is_rejected() {
        let mut ring = KeyRing::with_key(SigningKey::generate(1));
        ring.keys.push(SigningKey::generate(2));
        let signed = ring.sign("user.7");
        assert_eq!(ring.verify(&signed, NOW), Some(("user.7", 2)));
        let others = [
            signed.replace("user.7", "user.8"),
            signed.replace(".2.", ".1."),
            signed.replace(".2.", ".3."),
            signed[..signed.len() - 2].to_owned(),
            KeyRing::with_key(SigningKey::generate(2)).sign("user.7"),
        ];
        for forged in others.iter().map(String::as_str).chain(["", ".", "..", "a.2.", "ü.2.ü", "a.-2.x"]) {
            assert_eq!(ring.verify(forged, NOW), None, "{forged}");
            assert_eq!(ring.verify_legacy(forged, NOW), None, "{forged}");
        }
    }

    #[test]
    fn file_is_private_and_damaged_one_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = KeyRing::path(folder.path());
        KeyRing::load(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let whole = std::fs::read_to_string(&path).unwrap();
        assert!(KeyRing::parse(whole.as_bytes()).is_some());
        let weak = STANDARD.encode("weak");
        for damaged in [
            "short",
            "name = \"a\"\nkeys = []\n",
            &format!("name = \"a;b\"\n{}", whole.split_once("\n\n").unwrap().1),
            &format!("name = \"a\"\n[[keys]]\nid = 1\nsecret = \"{weak}\"\n"),
            &format!("{whole}other = 1\n"),
        ] {
            std::fs::write(&path, damaged).unwrap();
            assert!(KeyRing::load(&path).unwrap_err().one_line().contains("damaged"), "{damaged}");
        }
    }
}
