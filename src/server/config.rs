//! The configuration of the server. Flags take precedence over `NOOM_*` variables, and those over `Leptos.toml`.

mod arguments;
mod file;
mod files;
mod hosts;
mod ice;
mod limits;
mod proxies;
mod public_url;
mod variable;

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use leptos::config::{LeptosOptions, get_configuration};

use super::call::ice::IceSettings;
use super::start_error::StartError;
use arguments::Arguments;
pub use arguments::{Job, PurgeArguments};
use file::File;
pub use files::{Bucket, FileStore};
use hosts::host_names;
pub use limits::LimitSettings;
use proxies::ProxiesSetting;
pub use proxies::TrustedProxies;
pub use public_url::PublicUrl;
use variable::{flag, is_unset, list, number};

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The folder of the database and the signing key.
    pub data_dir: PathBuf,
    /// A job to do instead of serving.
    pub job: Option<Job>,
    /// Certificate chain and key for HTTPS.
    pub tls: Option<TlsFiles>,
    /// The options that Leptos renders pages with. `site_root` is absolute.
    pub leptos: LeptosOptions,
    /// The origin that browsers see, if it is not the address of the server.
    pub public_url: Option<PublicUrl>,
    /// The host names under which the server can be used, beside that of `public_url`; `None` for the machine's own.
    pub allowed_hosts: Option<Vec<String>>,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// The time for which browsers use only HTTPS, if Noom has a certificate (HTTP Strict Transport Security).
    pub hsts_seconds: u64,
    /// Allow search engines to index rooms.
    pub index_rooms: bool,
    /// Log JSON lines instead of text.
    pub json_logs: bool,
    /// Messages are removed after this many days; `None`: never.
    pub message_days: Option<NonZeroU32>,
    /// The place of files.
    pub files: FileStore,
    /// The STUN and TURN servers for calls.
    pub ice: IceSettings,
    /// Limits per user, address, connection and server.
    pub limits: LimitSettings,
}

/// The files of certificate chain and private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Config {
    /// Reads the arguments, variables and the file. `--help` and `--version` print and end the process.
    ///
    /// # Errors
    /// If the file cannot be read or a value is not valid.
    pub fn load() -> Result<Self, StartError> {
        let arguments = arguments(&Arguments::command().get_matches()).unwrap_or_else(|error| error.exit());
        let path = arguments.config.clone().or_else(file::find).ok_or(StartError::ConfigNotFound)?;
        let text =
            std::fs::read_to_string(&path).map_err(|source| StartError::ReadConfig { path: path.clone(), source })?;
        Self::build(arguments, &path, &text, variable::from_environment)
    }

    fn build(
        arguments: Arguments,
        path: &Path,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, StartError> {
        let variable = |name: &str| variable(name).filter(|value| !is_unset(value));
        let invalid = |source| StartError::InvalidConfig { path: path.to_owned(), source };
        let File { noom: mut section } = toml::from_str(text).map_err(|error| invalid(error.into()))?;
        section.limits.override_from(variable)?;
        section.limits.check()?;

        let mut leptos = get_configuration(path.to_str()).map_err(|error| invalid(error.into()))?.leptos_options;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let site = folder.join(leptos.site_root.as_ref());
        leptos.site_root = std::path::absolute(&site).unwrap_or(site).to_string_lossy().into();

        let listen = match arguments.listen.or(section.listen) {
            Some(text) => resolve(&text).ok_or(StartError::InvalidListen(text))?,
            None => leptos.site_addr,
        };
        leptos.site_addr = listen;

        let flag = |name, value| variable(name).map_or(Ok(value), |text| flag(name, text));
        let trust_forwarded = flag("NOOM_TRUST_FORWARDED", section.trust_forwarded)?;
        let trusted_proxies = variable("NOOM_TRUSTED_PROXIES").map(|text| ProxiesSetting::from_variable(&text));
        let trusted_proxies = trusted_proxies.or(section.trusted_proxies);
        let trusted_proxies = trusted_proxies.or(trust_forwarded.then_some(ProxiesSetting::Count(1)));
        let allowed_hosts = variable("NOOM_ALLOWED_HOSTS").map(|text| list(&text)).or(section.allowed_hosts);
        let hsts_seconds = variable("NOOM_HSTS_SECONDS").map(|text| number("NOOM_HSTS_SECONDS", text)).transpose()?;
        let message_days = variable("NOOM_MESSAGE_DAYS").map(|text| number("NOOM_MESSAGE_DAYS", text)).transpose()?;
        let public_url = variable("NOOM_PUBLIC_URL").or(section.public_url);
        Ok(Self {
            listen,
            data_dir: arguments.data_dir.or(section.data_dir).unwrap_or_else(|| "data".into()),
            job: arguments.job,
            leptos,
            tls: tls_files(arguments.tls_cert.or(section.tls_cert), arguments.tls_key.or(section.tls_key))?,
            public_url: public_url.map(|url| url.parse()).transpose()?,
            allowed_hosts: allowed_hosts.map(host_names).transpose()?,
            trusted_proxies: trusted_proxies.map_or(Ok(TrustedProxies::None), ProxiesSetting::resolve)?,
            hsts_seconds: hsts_seconds.unwrap_or(section.hsts_seconds),
            index_rooms: flag("NOOM_INDEX_ROOMS", section.index_rooms)?,
            json_logs: flag("NOOM_JSON_LOGS", section.json_logs)?,
            message_days: message_days.or(section.message_days),
            files: section.files.resolve(variable)?,
            ice: section.ice.resolve(variable)?,
            limits: section.limits,
        })
    }
}

/// The arguments. A variable that is empty counts as unset; an argument that is empty is an error.
fn arguments(matches: &ArgMatches) -> Result<Arguments, clap::Error> {
    let mut arguments = Arguments::from_arg_matches(matches)?;
    let is_empty_variable = |id| {
        let value = matches.get_raw(id).and_then(|mut values| values.next()).unwrap_or_default();
        matches.value_source(id) == Some(ValueSource::EnvVariable) && is_unset(&value.to_string_lossy())
    };
    arguments.listen.take_if(|_| is_empty_variable("listen"));
    arguments.data_dir.take_if(|_| is_empty_variable("data_dir"));
    arguments.tls_cert.take_if(|_| is_empty_variable("tls_cert"));
    arguments.tls_key.take_if(|_| is_empty_variable("tls_key"));
    arguments.config.take_if(|_| is_empty_variable("config"));
    Ok(arguments)
}

fn tls_files(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, StartError> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => Err(StartError::IncompleteTls),
    }
}

fn resolve(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.to_socket_addrs().ok()?.next())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LEPTOS: &str = "[package.metadata.leptos]\noutput-name = \"noom\"\nsite-root = \"target/site\"\nsite-addr = \"127.0.0.1:3000\"\n";

    fn build(arguments: &[&str], noom: &str, variables: &[(&str, &str)]) -> Result<Config, StartError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Leptos.toml");
        let text = format!("{LEPTOS}{noom}");
        std::fs::write(&path, &text).unwrap();
        let matches = Arguments::command().get_matches_from(["noom"].iter().chain(arguments));
        let arguments = super::arguments(&matches).unwrap();
        let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        Config::build(arguments, &path, &text, variable)
    }

    #[test]
    fn flag_overrides_file_and_file_overrides_default() {
        assert_eq!(build(&[], "", &[]).unwrap().listen.to_string(), "127.0.0.1:3000");
        assert_eq!(build(&[], "[noom]\nlisten = \"127.0.0.1:4000\"", &[]).unwrap().listen.port(), 4000);
        let config = build(&["--listen", "127.0.0.1:5000"], "[noom]\nlisten = \"127.0.0.1:4000\"", &[]).unwrap();
        assert_eq!(config.listen.port(), 5000);
        assert!(Path::new(config.leptos.site_root.as_ref()).is_absolute());
    }

    #[test]
    fn variable_overrides_file() {
        let noom = "[noom.limits]\nmessage_burst = 3\nconnections = 4\n";
        let limits = build(&[], noom, &[("NOOM_LIMITS_MESSAGE_BURST", "7")]).unwrap().limits;
        assert_eq!((limits.message_burst, limits.connections, limits.signal_burst), (7, 4, 200));
    }

    #[test]
    fn invalid_setting_is_reported_in_one_line() {
        let cases = [
            ("[noom]\nlisten = \"nowhere\"", "cannot listen"),
            ("[noom]\nlisten_on = \"127.0.0.1:1\"", "listen_on"),
            ("[noom.limits]\nmessage_burst = 0", "message_burst"),
            ("[noom.limits]\nmessage_burst = \"many\"", "message_burst"),
            ("[noom]\npublic_url = \"example.org\"", "public_url"),
            ("[noom]\nmessage_days = 0", "message_days"),
            ("[noom]\nallowed_hosts = [\"http://noom.example\"]", "allowed_hosts"),
            ("[noom]\ntrusted_proxies = [\"proxy.example\"]", "trusted_proxies"),
            ("[noom]\ntls_cert = \"cert.pem\"", "--tls-key"),
            ("[noom.ice]\nstun = [\"stun.example\"]", "ice.stun"),
            ("[noom.ice]\nturn = [\"turn:turn.example\"]", "turn_secret"),
            ("[noom.ice]\nturn_ttl_seconds = 3601", "turn_ttl_seconds"),
            ("[noom.files]\nbucket = \"b\"\naccess_key_id = \"k\"", "files.secret_access_key"),
            ("[noom", "Leptos.toml"),
        ];
        for (noom, hint) in cases {
            let error = build(&[], noom, &[]).unwrap_err().one_line();
            assert!(error.contains(hint) && !error.contains('\n'), "{noom:?}: {error}");
        }
        let error = build(&[], "", &[("NOOM_LIMITS_CONNECTIONS", "-1")]).unwrap_err().one_line();
        assert_eq!(error, "NOOM_LIMITS_CONNECTIONS: \"-1\" is not a valid number");
    }

    #[test]
    fn boolean_variable_has_few_spellings() {
        let trusted = |text| build(&[], "", &[("NOOM_TRUST_FORWARDED", text)]).map(|config| config.trusted_proxies);
        for text in ["1", "true", "True", "TRUE", "yes", "on", " 1 "] {
            assert_eq!(trusted(text).unwrap(), TrustedProxies::Count(1), "{text:?}");
        }
        for text in ["0", "false", "False", "no", "off", ""] {
            assert_eq!(trusted(text).unwrap(), TrustedProxies::None, "{text:?}");
        }
        for text in ["maybe", "2", "enabled"] {
            let error = trusted(text).unwrap_err().one_line();
            assert!(error.contains("NOOM_TRUST_FORWARDED") && error.contains(text), "{error}");
        }
        assert!(build(&[], "", &[("NOOM_JSON_LOGS", "jes")]).is_err());
        assert!(build(&[], "", &[("NOOM_INDEX_ROOMS", "jes")]).is_err());
    }

    #[test]
    fn empty_variable_counts_as_unset() {
        let noom = "[noom]\npublic_url = \"https://noom.example\"\ntrust_forwarded = true\nallowed_hosts = [\"a\"]\n\
            [noom.limits]\nmessage_burst = 3\n[noom.ice]\nstun = [\"stun:a.example\"]\nturn_secret = \"s\"\n";
        let names = [
            "NOOM_PUBLIC_URL",
            "NOOM_TRUST_FORWARDED",
            "NOOM_TRUSTED_PROXIES",
            "NOOM_ALLOWED_HOSTS",
            "NOOM_HSTS_SECONDS",
            "NOOM_INDEX_ROOMS",
            "NOOM_JSON_LOGS",
            "NOOM_MESSAGE_DAYS",
            "NOOM_LIMITS_MESSAGE_BURST",
            "NOOM_ICE_STUN",
            "NOOM_ICE_TURN",
            "NOOM_ICE_TURN_SECRET",
            "NOOM_ICE_TURN_TTL_SECONDS",
        ];
        for empty in ["", "  "] {
            let config = build(&[], noom, &names.map(|name| (name, empty))).unwrap();
            assert_eq!(config.public_url.unwrap().origin, "https://noom.example");
            assert_eq!(config.trusted_proxies, TrustedProxies::Count(1));
            assert_eq!(config.allowed_hosts.unwrap(), ["a"]);
            assert_eq!((config.limits.message_burst, config.ice.stun.len()), (3, 1));
        }
    }

    #[test]
    fn ice_servers_are_none_by_default_and_set_by_variable() {
        assert_eq!(build(&[], "", &[]).unwrap().ice.stun, [""; 0]);
        let noom = "[noom.ice]\nturn = [\"turn:a.example\"]\nturn_secret = \"s\"\n";
        let ice = build(&[], noom, &[("NOOM_ICE_STUN", "stun:a.example, stun:b.example")]).unwrap().ice;
        assert_eq!((ice.stun.len(), ice.turn.len(), ice.ttl), (2, 1, Duration::from_secs(3_600)));
    }
}
