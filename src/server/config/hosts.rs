//! The host names under which the server can be used.

use url::Host;

use super::StartError;

/// The setting `allowed_hosts` as browsers write host names: in ASCII and lower case. `*.` before a name stands for all
/// of its sub-domains.
pub(super) fn host_names(names: Vec<String>) -> Result<Vec<String>, StartError> {
    names.into_iter().map(|name| host_name(&name).ok_or(StartError::InvalidHost(name))).collect()
}

fn host_name(name: &str) -> Option<String> {
    let (prefix, rest) = name.strip_prefix("*.").map_or(("", name), |rest| ("*.", rest));
    let host = Host::parse(rest.trim_end_matches('.')).ok()?;
    let is_plain = !rest.contains(['*', '/', '@', '%']) && !rest.is_empty();
    is_plain.then(|| format!("{prefix}{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_written_as_browsers_write_them() {
        let cases = [
            ("Noom.Example", "noom.example"),
            ("noom.example.", "noom.example"),
            ("한국.example", "xn--3e0b707e.example"),
            ("*.Noom.example", "*.noom.example"),
            ("10.0.0.2", "10.0.0.2"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
        ];
        for (text, name) in cases {
            assert_eq!(host_name(text).as_deref(), Some(name), "{text}");
        }
        for text in ["", "noom.example:3000", "http://noom.example", "a b", "*", "a.*.example", "noom.example/"] {
            assert_eq!(host_name(text), None, "{text}");
        }
    }
}
