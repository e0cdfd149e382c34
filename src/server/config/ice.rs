//! The STUN and TURN servers for calls.

use std::time::Duration;

use super::StartError;
use super::file::IceSection;
use super::variable::number;
use crate::server::call::ice::{IceSettings, MAX_TTL};

impl IceSection {
    /// Applies the environment variables, and checks the result.
    pub(super) fn resolve(self, variable: impl Fn(&str) -> Option<String>) -> Result<IceSettings, StartError> {
        let list = |name: &str| variable(name).map(|text| text.split(',').map(|url| url.trim().to_owned()).collect());
        let stun = list("NOOM_ICE_STUN").unwrap_or(self.stun);
        let turn = list("NOOM_ICE_TURN").unwrap_or(self.turn);
        let secret = variable("NOOM_ICE_TURN_SECRET").unwrap_or(self.turn_secret);
        let ttl = match variable("NOOM_ICE_TURN_TTL_SECONDS") {
            Some(value) => number("NOOM_ICE_TURN_TTL_SECONDS", value)?,
            None => self.turn_ttl_seconds,
        };
        check_schemes("ice.stun", &stun, ["stun:", "stuns:"])?;
        check_schemes("ice.turn", &turn, ["turn:", "turns:"])?;
        if !turn.is_empty() && secret.is_empty() {
            return Err(StartError::MissingTurnSecret);
        }
        if !(1..=MAX_TTL.as_secs()).contains(&ttl) {
            return Err(StartError::InvalidTurnTtl);
        }
        Ok(IceSettings { stun, turn, secret, ttl: Duration::from_secs(ttl) })
    }
}

fn check_schemes(setting: &'static str, urls: &[String], schemes: [&str; 2]) -> Result<(), StartError> {
    match urls.iter().find(|url| !schemes.iter().any(|scheme| url.starts_with(scheme))) {
        Some(url) => Err(StartError::InvalidIceUrl { setting, url: url.clone(), schemes: schemes.join(" or ") }),
        None => Ok(()),
    }
}
