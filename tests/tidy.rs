//! The shape of the code, held.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::project;

/// Every Rust file under `src`, with its path from there.
fn sources() -> Vec<(String, String)> {
    texts(&project().join("src"))
}

/// Every file in a folder, with its path from there.
fn texts(root: &Path) -> Vec<(String, String)> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { collect(&path, files) } else { files.push(path) }
        }
    }
    let mut files = Vec::new();
    collect(root, &mut files);
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// What a file names after `crate::`, tests apart.
fn uses(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.match_indices("crate::").map(|(at, _)| line[at + 7..].to_owned()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn dependencies_go_one_way() {
    // Which part may name which others.
    let rules: &[(&str, &[&str])] = &[
        ("protocol", &["protocol"]),
        ("client/session", &["protocol"]),
        ("client/call/negotiation.rs", &["protocol"]),
        ("client/call/quality.rs", &[]),
        ("client", &["client", "protocol"]),
        ("server/hub/core.rs", &["protocol", "server::name_key"]),
        ("server/hub/lobby.rs", &["protocol"]),
        ("server/name_key.rs", &["protocol"]),
        ("server/call", &["protocol", "server::hub::core"]),
        ("server/store", &["protocol", "server::hub::core", "server::name_key"]),
        (
            "server/hub",
            &["protocol", "server::call", "server::config", "server::name_key", "server::store", "server::random"],
        ),
        ("server/session.rs", &["protocol", "server"]),
        ("app/api.rs", &["protocol", "server::pages"]),
        ("app", &["app", "client", "protocol", "i18n"]),
        ("server/pages.rs", &["app", "protocol", "server", "i18n"]),
        ("server/http.rs", &["app", "protocol", "server"]),
        ("server", &["protocol", "server"]),
        ("hydrate.rs", &["app"]),
        ("main.rs", &[]),
        ("lib.rs", &[]),
    ];
    for (name, text) in sources() {
        let module = |rule: &str| name == rule || name == format!("{rule}.rs") || name.starts_with(&format!("{rule}/"));
        let (rule, allowed) =
            rules.iter().find(|(rule, _)| module(rule)).unwrap_or_else(|| panic!("{name} has no rule"));
        for used in uses(&text) {
            let fine = allowed.iter().any(|allowed| used.starts_with(allowed));
            assert!(fine, "{name} ({rule}) uses crate::{used}");
        }
    }
}

#[test]
fn pure_modules_do_no_input_or_output() {
    let pure = [
        "protocol",
        "client/session",
        "client/call/negotiation.rs",
        "client/call/quality.rs",
        "server/call/sdp.rs",
        "server/call/signal.rs",
        "server/hub/core.rs",
        "server/hub/lobby.rs",
        "server/name_key.rs",
    ];
    let impure = [
        "tokio",
        "std::fs",
        "std::net",
        "std::thread",
        "Instant::now",
        "SystemTime",
        "web_sys",
        "js_sys",
        "leptos",
        "axum",
        "rusqlite",
        "getrandom",
    ];
    for (name, text) in sources().into_iter().filter(|(name, _)| pure.iter().any(|pure| name.starts_with(pure))) {
        for word in impure {
            let code =
                text.split("#[cfg(test)]").next().unwrap().lines().filter(|line| !line.trim_start().starts_with("//"));
            assert!(!code.clone().any(|line| line.contains(word)), "{name} names {word}");
        }
    }
}

#[test]
fn features_are_looked_at_in_one_file_only() {
    for (name, text) in sources() {
        let lines = text.lines().filter(|line| line.contains("cfg(feature") || line.contains("cfg!(feature")).count();
        assert_eq!(lines, if name == "lib.rs" { 2 } else { 0 }, "{name}");
    }
}

#[test]
fn modules_stand_beside_their_folders() {
    assert!(sources().iter().all(|(name, _)| !name.ends_with("mod.rs")));
}

#[test]
fn no_server_crate_reaches_the_browser() {
    let tree = Command::new(env!("CARGO"))
        .current_dir(project())
        .args([
            "tree",
            "--offline",
            "--target",
            "wasm32-unknown-unknown",
            "--no-default-features",
            "--features",
            "hydrate",
        ])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("leptos v"));
    for name in ["tokio", "axum", "hyper", "tower", "rusqlite", "tracing-subscriber", "ring"] {
        assert!(!tree.lines().any(|line| line.starts_with(&format!("{name} v"))), "{name}");
    }
}

#[test]
fn the_build_and_the_program_read_the_same_settings() {
    let read = |file: &str| -> toml::Table { std::fs::read_to_string(project().join(file)).unwrap().parse().unwrap() };
    let leptos = |table: &toml::Table| table["package"]["metadata"]["leptos"].as_table().unwrap().clone();
    let cargo = read("Cargo.toml");
    let (build, run) = (leptos(&cargo), leptos(&read("Leptos.toml")));
    for key in ["output-name", "site-root", "site-pkg-dir", "site-addr", "reload-port"] {
        assert_eq!(build[key], run[key], "{key}");
    }
    let bindgen = cargo["dependencies"]["wasm-bindgen"].as_str().unwrap().trim_start_matches('=');
    let versions = std::fs::read_to_string(project().join("scripts/versions.sh")).unwrap();
    assert!(
        versions.contains(&format!("WASM_BINDGEN_VERSION={bindgen}\n")),
        "the crate and its tool are of one version"
    );
}

#[test]
fn every_text_stands_in_every_language() {
    let read = |lang: &str| -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(&std::fs::read_to_string(project().join(format!("locales/{lang}.json"))).unwrap()).unwrap()
    };
    let (english, korean) = (read("en"), read("ko"));
    assert_eq!(english.keys().collect::<Vec<_>>(), korean.keys().collect::<Vec<_>>());
    let sources: String =
        sources().into_iter().filter(|(name, _)| name.starts_with("app")).map(|(_, text)| text).collect();
    for key in english.keys() {
        assert!(sources.contains(&format!(", {key}")), "{key} is shown nowhere");
    }
}

#[test]
fn every_test_that_is_named_as_a_proof_exists() {
    let trust = std::fs::read_to_string(project().join("TRUST.md")).unwrap();
    let folders = ["src", "tests", "end2end/tests"].map(|folder| texts(&project().join(folder)));
    let tests: String = folders.into_iter().flatten().map(|(_, text)| text).collect();
    let names: Vec<_> = trust.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    assert!(names.len() > 30);
    for (file, name) in names {
        let stands = if file.ends_with(".spec") {
            tests.contains(&format!("test(\"{name}")) || tests.contains(&format!("test(`{name}"))
        } else {
            tests.contains(&format!("fn {name}("))
        };
        assert!(stands, "TRUST.md names {file}::{name}");
    }
}
