//! The errors that end the program before it serves, or make another job fail.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::call::ice::MAX_TTL;

/// An error of a library, as the source of a [`StartError`].
pub(super) type Source = Box<dyn Error + Send + Sync>;

/// A reason why the server did not start, or why a backup or an export was not made.
///
/// The messages do not repeat their sources; [`StartError::one_line`] prints both.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages describe the variants")]
pub enum StartError {
    #[error("cannot find Leptos.toml here or in a folder above the program; name it with --config")]
    ConfigNotFound,
    #[error("cannot read the configuration {}", .path.display())]
    ReadConfig { path: PathBuf, source: io::Error },
    #[error("{} is not a valid configuration", .path.display())]
    InvalidConfig { path: PathBuf, source: Source },
    #[error("{setting}: {value:?} is not a valid number")]
    InvalidNumber { setting: &'static str, value: String },
    #[error("{setting}: {value:?} is neither true nor false")]
    InvalidFlag { setting: &'static str, value: String },
    #[error("limits.{0} must be at least 1")]
    ZeroLimit(&'static str),
    #[error("cannot listen on {0:?}; an ADDRESS:PORT is needed")]
    InvalidListen(String),
    #[error("public_url {0:?} is not of the form https://host")]
    InvalidPublicUrl(String),
    #[error("allowed_hosts: {0:?} is not a host name")]
    InvalidHost(String),
    #[error("trusted_proxies: {0:?} is neither a number of proxies nor an address nor a network such as 10.0.0.0/8")]
    InvalidTrustedProxy(String),
    #[error("HTTPS needs both --tls-cert and --tls-key")]
    IncompleteTls,
    #[error("{setting}: {url:?} does not begin with {schemes}")]
    InvalidIceUrl { setting: &'static str, url: String, schemes: String },
    #[error("ice.turn needs ice.turn_secret: the value of static-auth-secret in coturn's configuration")]
    MissingTurnSecret,
    #[error("ice.turn_ttl_seconds must be from 1 to {}", MAX_TTL.as_secs())]
    InvalidTurnTtl,

    #[error("cannot create the data folder {}", .path.display())]
    CreateDataFolder { path: PathBuf, source: io::Error },
    #[error("cannot write to the data folder {}", .path.display())]
    WriteDataFolder { path: PathBuf, source: io::Error },
    #[error("another Noom is using the data folder {}", .0.display())]
    DataFolderInUse(PathBuf),
    #[error("cannot use the key file {}", .path.display())]
    KeyFile { path: PathBuf, source: io::Error },
    #[error(
        "the key file {} is damaged. If you delete it, a new key is generated and every visitor becomes a new guest",
        .0.display()
    )]
    DamagedKeyFile(PathBuf),
    #[error("cannot use {} for HTTPS", .path.display())]
    Tls { path: PathBuf, source: Source },
    #[error("cannot open the database {}", .path.display())]
    OpenDatabase { path: PathBuf, source: Source },
    #[error("cannot use the file store")]
    FileStore(#[source] Source),
    #[error("files.bucket also needs {0}")]
    IncompleteBucket(&'static str),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start the threads of the server")]
    Runtime(#[source] io::Error),

    #[error("there is no database in {}", .0.display())]
    NoDatabase(PathBuf),
    #[error("there is no room {0:?}")]
    NoRoom(String),
    #[error("cannot read the database {}", .path.display())]
    ReadDatabase { path: PathBuf, source: Source },
    #[error("cannot write to the database {}", .path.display())]
    WriteDatabase { path: PathBuf, source: Source },
    #[error("cannot write the export {target}")]
    Export { target: String, source: Source },
    #[error("cannot write the backup {}", .path.display())]
    Backup { path: PathBuf, source: Source },
}

impl StartError {
    /// The error and its sources in one line, for the user who started the program.
    pub fn one_line(&self) -> String {
        let chain = std::iter::successors(Some(self as &dyn Error), |&error| error.source());
        let messages = chain.map(|error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" "));
        messages.collect::<Vec<_>>().join(": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_has_sources_and_no_line_breaks() {
        let source = io::Error::other("first\n  second");
        let error = StartError::ReadConfig { path: "Leptos.toml".into(), source };
        assert_eq!(error.one_line(), "cannot read the configuration Leptos.toml: first second");
    }
}
