//! The place of files: a folder, or an S3 bucket.

use serde::Deserialize;

use super::StartError;

/// The place of files.
#[derive(Clone, Debug, Default)]
pub enum FileStore {
    /// The folder `files` in the data folder.
    #[default]
    Folder,
    /// A bucket of an S3-compatible service.
    Bucket(Bucket),
}

/// A bucket.
#[derive(Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The URL of the service; `None` for AWS.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The key pair.
    pub access_key_id: String,
    /// Its secret part.
    pub secret_access_key: String,
    /// Before the names of all objects, for a bucket that has others, too.
    pub prefix: String,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys must not appear in logs.
        f.debug_struct("Bucket").field("name", &self.name).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// `[noom.files]` in Leptos.toml.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FilesSection {
    bucket: Option<String>,
    endpoint: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    prefix: Option<String>,
}

impl FilesSection {
    /// Reads the section, and the variables that take precedence over it.
    pub(super) fn resolve(self, variable: impl Fn(&str) -> Option<String>) -> Result<FileStore, StartError> {
        let Some(name) = variable("NOOM_FILES_BUCKET").or(self.bucket) else { return Ok(FileStore::Folder) };
        let needed = |name, setting, value: Option<String>| {
            variable(name).or(value).ok_or(StartError::IncompleteBucket(setting))
        };
        Ok(FileStore::Bucket(Bucket {
            name,
            endpoint: variable("NOOM_FILES_ENDPOINT").or(self.endpoint),
            region: variable("NOOM_FILES_REGION").or(self.region).unwrap_or_else(|| "us-east-1".into()),
            access_key_id: needed("NOOM_FILES_ACCESS_KEY_ID", "files.access_key_id", self.access_key_id)?,
            secret_access_key: needed(
                "NOOM_FILES_SECRET_ACCESS_KEY",
                "files.secret_access_key",
                self.secret_access_key,
            )?,
            prefix: variable("NOOM_FILES_PREFIX").or(self.prefix).unwrap_or_default(),
        }))
    }
}
