//! The command line.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::protocol::UserId;
use crate::server::export::format::Format;

/// Chat rooms with calls, served by one program.
///
/// All of Noom's data is in the data folder: the database noom.sqlite3 and the key that signs
/// cookies. Leptos.toml, in the current folder or in one above the program, locates the site's
/// files.
///
/// Every setting can also be made in Leptos.toml under `[noom]`, or with an environment variable;
/// see the README. A flag takes precedence over its variable, a variable over the file.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) job: Option<Job>,
    /// The address to listen on, as ADDRESS:PORT; port 0 takes a free one [default: 127.0.0.1:3000]
    #[arg(long, env = "NOOM_LISTEN", value_name = "ADDR:PORT")]
    pub(super) listen: Option<String>,
    /// The folder for all data [default: data]
    #[arg(long, env = "NOOM_DATA_DIR", value_name = "DIR", global = true, value_parser = path())]
    pub(super) data_dir: Option<PathBuf>,
    /// The certificate chain for HTTPS, a PEM file; reloaded on SIGHUP
    #[arg(long, env = "NOOM_TLS_CERT", value_name = "FILE", value_parser = path())]
    pub(super) tls_cert: Option<PathBuf>,
    /// The private key of the certificate, a PEM file
    #[arg(long, env = "NOOM_TLS_KEY", value_name = "FILE", value_parser = path())]
    pub(super) tls_key: Option<PathBuf>,
    /// The configuration file [default: Leptos.toml here, else in a folder above the program]
    #[arg(long, env = "NOOM_CONFIG", value_name = "FILE", global = true, value_parser = path())]
    pub(super) config: Option<PathBuf>,
}

/// A job other than serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Job {
    /// Copy the database of the data folder to FILE, and its files beside it, while a server uses them
    ///
    /// The copy is a consistent snapshot with every message that was acknowledged before. To
    /// restore it, stop the server, replace noom.sqlite3 with the copy, and delete
    /// noom.sqlite3-wal and noom.sqlite3-shm; replace the folder files with the one that the backup
    /// made. Open pages then detect that their position is no
    /// longer valid, and reload their rooms. Files in a bucket are not copied.
    Backup {
        /// The file to create; it must not exist
        file: PathBuf,
    },
    /// Write all messages of a room to a file or to standard output while a server uses the database
    ///
    /// Messages that are posted after the command starts are not part of it. The last line says that the export is
    /// complete.
    Export {
        /// The name of the room
        room: String,
        /// The format
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// The file to create; it must not exist [default: standard output]
        #[arg(long, value_name = "FILE", value_parser = path())]
        output: Option<PathBuf>,
        /// The language of an HTML export
        #[arg(long, value_parser = ["en", "ko"], default_value = "en")]
        lang: String,
    },
    /// Remove messages for good, while a server uses the database
    ///
    /// With --room, all messages of a room; with --user, all messages of a user; with both, those of the user in the room.
    /// The messages that have been posted until now are meant. A server that runs begins within seconds and takes at
    /// least a second for 100 messages of a user; otherwise it happens after the next start. Backups keep them.
    Purge {
        /// The messages
        #[command(flatten)]
        purge: PurgeArguments,
    },
    /// Sign cookies with a new key from the next start or SIGHUP on
    ///
    /// Cookies of earlier keys are replaced when their visitors come back. Those who do not come
    /// back within the overlap are new guests afterwards.
    RotateKey {
        /// The overlap in days; 0 after a theft of the key file, which makes every visitor a new guest
        /// [default: 400]
        #[arg(long, value_name = "DAYS")]
        keep_days: Option<u64>,
    },
}

/// The messages that `noom purge` removes.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub struct PurgeArguments {
    /// The name of the room
    #[arg(long)]
    pub room: Option<String>,
    /// The id of the user, as an export in JSON Lines has it
    #[arg(long, value_name = "ID")]
    pub user: Option<UserId>,
}

/// The parser of paths, which does not refuse an empty one: an empty variable counts as unset.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
