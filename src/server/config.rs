//! How the server is set up: flags win over `NOOM_*` variables, which win over `Leptos.toml`.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, Subcommand};
use http::Uri;
use leptos::config::{LeptosOptions, get_configuration};
use serde::Deserialize;

use super::call::ice::{IceSettings, MAX_TTL};

/// Rooms where people talk, served from one program.
///
/// Everything that Noom keeps is in the data folder: the database noom.sqlite3 and the key that
/// signs cookies. The pages' files are found through Leptos.toml: beside where you start noom, or
/// in a folder above the program itself.
///
/// Every setting can stand in Leptos.toml under [noom], or in a variable; see the README. A flag
/// wins over its variable, a variable over the file.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to listen, as ADDRESS:PORT; port 0 takes a free one [default: 127.0.0.1:3000]
    #[arg(long, env = "NOOM_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// The folder for everything that is kept [default: data]
    #[arg(long, env = "NOOM_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// The certificate chain for HTTPS, a PEM file; read again on SIGHUP
    #[arg(long, env = "NOOM_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key, a PEM file
    #[arg(long, env = "NOOM_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The configuration file [default: Leptos.toml here, else in a folder above the program]
    #[arg(long, env = "NOOM_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the database of the data folder to FILE while a server uses it
    ///
    /// The copy is of one moment, and has everything that was acknowledged before. To restore it,
    /// stop the server, put it in the place of noom.sqlite3 and remove noom.sqlite3-wal and
    /// noom.sqlite3-shm. Pages that are open then notice that they cannot go on where they were.
    Backup {
        /// Where to; nothing may be there yet
        file: PathBuf,
    },
}

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where to copy the database to, instead of serving.
    pub backup_to: Option<PathBuf>,
    /// Certificate chain and key for HTTPS.
    pub tls: Option<TlsFiles>,
    /// What Leptos needs to render pages; the site's folder is absolute.
    pub leptos: LeptosOptions,
    /// Under which scheme and host people reach this server, when a proxy stands in front.
    pub public_url: Option<PublicUrl>,
    /// Whether addresses in `X-Forwarded-For` are believed.
    pub trust_forwarded: bool,
    /// Whether logs are JSON lines.
    pub json_logs: bool,
    /// What people in calls are told to reach each other by.
    pub ice: IceSettings,
    /// How much of everything.
    pub limits: LimitSettings,
}

/// Where certificate chain and private key are, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// The origin that browsers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https://host` or `http://host:port`, without a path.
    pub origin: String,
    /// Whether it is HTTPS.
    pub secure: bool,
}

/// Declares [`LimitSettings`]: each key, its default, and the variable that overrides it.
macro_rules! limits {
    ($($(#[$meta:meta])* $key:ident: $type:ty = $default:expr, $variable:literal;)*) => {
        /// The configurable limits, `[noom.limits]` in Leptos.toml.
        #[derive(Clone, Debug, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct LimitSettings { $($(#[$meta])* pub $key: $type,)* }

        impl Default for LimitSettings {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl LimitSettings {
            fn override_from(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
                $(if let Some(text) = variable($variable) {
                    self.$key = text.parse().map_err(|_| ConfigError(format!("{}: {text:?} is no valid number", $variable)))?;
                })*
                Ok(())
            }

            fn check(&self) -> Result<(), ConfigError> {
                $(if self.$key == 0 {
                    return Err(ConfigError(format!("limits.{} must be at least 1", stringify!($key))));
                })*
                Ok(())
            }
        }
    };
}

limits! {
    /// Messages a second in the long run, per user.
    messages_per_second: u32 = 5, "NOOM_LIMITS_MESSAGES_PER_SECOND";
    /// Messages at once, per user.
    message_burst: u32 = 20, "NOOM_LIMITS_MESSAGE_BURST";
    /// Other commands a second, per user; control frames a second, per connection.
    signals_per_second: u32 = 50, "NOOM_LIMITS_SIGNALS_PER_SECOND";
    /// Other commands at once.
    signal_burst: u32 = 200, "NOOM_LIMITS_SIGNAL_BURST";
    /// Rooms entered a minute, per user.
    joins_per_minute: u32 = 60, "NOOM_LIMITS_JOINS_PER_MINUTE";
    /// New rooms a minute, per user.
    rooms_per_minute: u32 = 5, "NOOM_LIMITS_ROOMS_PER_MINUTE";
    /// New rooms an hour, per user.
    rooms_per_hour: u32 = 50, "NOOM_LIMITS_ROOMS_PER_HOUR";
    /// New guests a minute, per address.
    guests_per_minute: u32 = 60, "NOOM_LIMITS_GUESTS_PER_MINUTE";
    /// WebSockets of one user; one more closes the oldest.
    connections_per_user: usize = 8, "NOOM_LIMITS_CONNECTIONS_PER_USER";
    /// WebSockets from one address.
    connections_per_address: usize = 50, "NOOM_LIMITS_CONNECTIONS_PER_ADDRESS";
    /// WebSockets in total.
    connections: usize = 10_000, "NOOM_LIMITS_CONNECTIONS";
    /// Rooms that one connection is in.
    rooms_per_connection: usize = 50, "NOOM_LIMITS_ROOMS_PER_CONNECTION";
    /// Open connections of one address that are no WebSockets: pages, forms, and what never says what it is.
    requests_per_address: usize = 256, "NOOM_LIMITS_REQUESTS_PER_ADDRESS";
    /// How long a request may take in all.
    request_seconds: u64 = 30, "NOOM_LIMITS_REQUEST_SECONDS";
    /// Frames that may wait for one connection.
    outbox_frames: usize = 512, "NOOM_LIMITS_OUTBOX_FRAMES";
    /// Bytes that may wait for one connection.
    outbox_bytes: usize = 1024 * 1024, "NOOM_LIMITS_OUTBOX_BYTES";
    /// The longest head of a request, bytes.
    header_bytes: usize = 16 * 1024, "NOOM_LIMITS_HEADER_BYTES";
    /// How long a request's head may take, seconds.
    header_seconds: u64 = 10, "NOOM_LIMITS_HEADER_SECONDS";
}

/// `Leptos.toml`, as far as it is Noom's; Leptos reads its own table itself.
#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    noom: Section,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    listen: Option<String>,
    data_dir: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    public_url: Option<String>,
    trust_forwarded: bool,
    json_logs: bool,
    ice: IceSection,
    limits: LimitSettings,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct IceSection {
    stun: Vec<String>,
    turn: Vec<String>,
    turn_secret: String,
    turn_ttl_seconds: u64,
}

impl Default for IceSection {
    fn default() -> Self {
        Self { stun: Vec::new(), turn: Vec::new(), turn_secret: String::new(), turn_ttl_seconds: MAX_TTL.as_secs() }
    }
}

/// One line that says what is wrong with the configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads arguments, variables and the file. `--help` and `--version` print and end the process.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that cannot be read or a value that makes no sense.
    pub fn load() -> Result<Self, ConfigError> {
        let arguments = Arguments::parse();
        let path = arguments.config.clone().or_else(find_file).ok_or_else(|| {
            ConfigError("cannot find Leptos.toml, here or above the program; name it with --config".into())
        })?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError(format!("cannot read the configuration {}: {error}", path.display())))?;
        Self::build(arguments, &path, &text, |name| std::env::var(name).ok())
    }

    fn build(
        arguments: Arguments,
        path: &Path,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let in_file = |error: &dyn fmt::Display| ConfigError(format!("{}: {error}", path.display()));
        let File { noom: mut section } =
            toml::from_str(text).map_err(|error| in_file(&error.to_string().replace('\n', " ")))?;
        section.limits.override_from(&variable)?;
        section.limits.check()?;

        let mut leptos = get_configuration(path.to_str()).map_err(|error| in_file(&error))?.leptos_options;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let site = folder.join(leptos.site_root.as_ref());
        leptos.site_root = std::path::absolute(&site).unwrap_or(site).to_string_lossy().into();

        let listen = arguments.listen.or(section.listen);
        let listen = match &listen {
            Some(text) => resolve(text)
                .ok_or_else(|| ConfigError(format!("cannot listen on {text:?}; an ADDRESS:PORT is needed")))?,
            None => leptos.site_addr,
        };
        leptos.site_addr = listen;

        let flag = |name: &str| variable(name).map(|text| matches!(text.as_str(), "1" | "true" | "yes"));
        let public_url = variable("NOOM_PUBLIC_URL").or(section.public_url);
        Ok(Self {
            listen,
            data_dir: arguments.data_dir.or(section.data_dir).unwrap_or_else(|| "data".into()),
            backup_to: arguments.command.map(|Command::Backup { file }| file),
            leptos,
            tls: tls_files(arguments.tls_cert.or(section.tls_cert), arguments.tls_key.or(section.tls_key))?,
            public_url: public_url.map(|url| url.parse()).transpose()?,
            trust_forwarded: flag("NOOM_TRUST_FORWARDED").unwrap_or(section.trust_forwarded),
            json_logs: flag("NOOM_JSON_LOGS").unwrap_or(section.json_logs),
            ice: section.ice.check(&variable)?,
            limits: section.limits,
        })
    }
}

impl IceSection {
    fn check(self, variable: impl Fn(&str) -> Option<String>) -> Result<IceSettings, ConfigError> {
        let listed = |name: &str| variable(name).map(|text| text.split(',').map(|url| url.trim().to_owned()).collect());
        let stun: Vec<_> = listed("NOOM_ICE_STUN").unwrap_or(self.stun);
        let turn: Vec<_> = listed("NOOM_ICE_TURN").unwrap_or(self.turn);
        let secret = variable("NOOM_ICE_TURN_SECRET").unwrap_or(self.turn_secret);
        let ttl = match variable("NOOM_ICE_TURN_TTL_SECONDS") {
            Some(text) => text
                .parse()
                .map_err(|_| ConfigError(format!("NOOM_ICE_TURN_TTL_SECONDS: {text:?} is no valid number")))?,
            None => self.turn_ttl_seconds,
        };
        for (urls, schemes, what) in [(&stun, ["stun:", "stuns:"], "stun"), (&turn, ["turn:", "turns:"], "turn")] {
            if let Some(url) = urls.iter().find(|url| !schemes.iter().any(|scheme| url.starts_with(scheme))) {
                return Err(ConfigError(format!("ice.{what}: {url:?} does not begin with {}", schemes.join(" or "))));
            }
        }
        if !turn.is_empty() && secret.is_empty() {
            return Err(ConfigError("ice.turn needs ice.turn_secret: what coturn knows as static-auth-secret".into()));
        }
        if !(1..=MAX_TTL.as_secs()).contains(&ttl) {
            return Err(ConfigError(format!("ice.turn_ttl_seconds must be from 1 to {}", MAX_TTL.as_secs())));
        }
        Ok(IceSettings { stun, turn, secret, ttl: Duration::from_secs(ttl) })
    }
}

fn tls_files(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, ConfigError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        _ => Err(ConfigError("HTTPS needs both --tls-cert and --tls-key".into())),
    }
}

/// `Leptos.toml` here, or in a folder above the program: `target/release/noom` finds the project's.
fn find_file() -> Option<PathBuf> {
    let here = PathBuf::from("Leptos.toml");
    if here.exists() {
        return Some(here);
    }
    let program = std::env::current_exe().ok()?;
    program.ancestors().skip(1).map(|folder| folder.join("Leptos.toml")).find(|path| path.exists())
}

fn resolve(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.to_socket_addrs().ok()?.next())
}

impl std::str::FromStr for PublicUrl {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError(format!("public_url {text:?} is not of the form https://host"));
        let url: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let (scheme, host) = (url.scheme_str().ok_or_else(wrong)?, url.authority().ok_or_else(wrong)?);
        if !matches!(scheme, "http" | "https") || !matches!(url.path(), "" | "/") {
            return Err(wrong());
        }
        Ok(Self { origin: format!("{scheme}://{host}"), secure: scheme == "https" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEPTOS: &str = "[package.metadata.leptos]\noutput-name = \"noom\"\nsite-root = \"target/site\"\nsite-addr = \"127.0.0.1:3000\"\n";

    fn build(arguments: &[&str], noom: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Leptos.toml");
        let text = format!("{LEPTOS}{noom}");
        std::fs::write(&path, &text).unwrap();
        let arguments = Arguments::parse_from(["noom"].iter().chain(arguments));
        let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        Config::build(arguments, &path, &text, variable)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        assert_eq!(build(&[], "", &[]).unwrap().listen.to_string(), "127.0.0.1:3000");
        assert_eq!(build(&[], "[noom]\nlisten = \"127.0.0.1:4000\"", &[]).unwrap().listen.port(), 4000);
        let config = build(&["--listen", "127.0.0.1:5000"], "[noom]\nlisten = \"127.0.0.1:4000\"", &[]).unwrap();
        assert_eq!(config.listen.port(), 5000);
        assert!(Path::new(config.leptos.site_root.as_ref()).is_absolute());
    }

    #[test]
    fn a_variable_wins_over_the_file() {
        let noom = "[noom.limits]\nmessage_burst = 3\nconnections = 4\n";
        let limits = build(&[], noom, &[("NOOM_LIMITS_MESSAGE_BURST", "7")]).unwrap().limits;
        assert_eq!((limits.message_burst, limits.connections, limits.signal_burst), (7, 4, 200));
    }

    #[test]
    fn what_makes_no_sense_is_one_clear_line() {
        let cases = [
            ("[noom]\nlisten = \"nowhere\"", "cannot listen"),
            ("[noom]\nlisten_on = \"127.0.0.1:1\"", "listen_on"),
            ("[noom.limits]\nmessage_burst = 0", "message_burst"),
            ("[noom.limits]\nmessage_burst = \"many\"", "message_burst"),
            ("[noom]\npublic_url = \"example.org\"", "public_url"),
            ("[noom]\ntls_cert = \"cert.pem\"", "--tls-key"),
            ("[noom.ice]\nstun = [\"stun.example\"]", "ice.stun"),
            ("[noom.ice]\nturn = [\"turn:turn.example\"]", "turn_secret"),
            ("[noom.ice]\nturn_ttl_seconds = 3601", "turn_ttl_seconds"),
            ("[noom", "Leptos.toml"),
        ];
        for (noom, hint) in cases {
            let error = build(&[], noom, &[]).unwrap_err().to_string();
            assert!(error.contains(hint) && !error.contains('\n'), "{noom:?}: {error}");
        }
        let error = build(&[], "", &[("NOOM_LIMITS_CONNECTIONS", "-1")]).unwrap_err().to_string();
        assert!(error.contains("NOOM_LIMITS_CONNECTIONS"), "{error}");
    }

    #[test]
    fn servers_for_calls_are_none_unless_named() {
        assert_eq!(build(&[], "", &[]).unwrap().ice.stun, [""; 0]);
        let noom = "[noom.ice]\nturn = [\"turn:a.example\"]\nturn_secret = \"s\"\n";
        let ice = build(&[], noom, &[("NOOM_ICE_STUN", "stun:a.example, stun:b.example")]).unwrap().ice;
        assert_eq!((ice.stun.len(), ice.turn.len(), ice.ttl), (2, 1, Duration::from_secs(3_600)));
    }

    #[test]
    fn the_public_url_is_an_origin() {
        let url: PublicUrl = "https://noom.example/".parse().unwrap();
        assert_eq!(url, PublicUrl { origin: "https://noom.example".into(), secure: true });
        assert!(!"http://10.0.0.2:3000".parse::<PublicUrl>().unwrap().secure);
        assert!("https://noom.example/sub".parse::<PublicUrl>().is_err());
        assert!("ftp://noom.example".parse::<PublicUrl>().is_err());
    }
}
