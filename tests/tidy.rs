//! The project's structure: layers, imports, file sizes, and lists that must agree.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test with its location")]

mod support;
mod tidy {
    pub(crate) mod imports;
    pub(crate) mod sources;
    pub(crate) mod wildcards;
}

use std::collections::BTreeSet;
use std::process::Command;

use support::project;
use tidy::sources::{files, sources};
use tidy::{imports, wildcards};

/// The layers: a file belongs to the first part that contains it, and may use only that part and the listed ones.
/// `lib.rs` contains the translations, which are generated.
const LAYERS: &[(&str, &[&str])] = &[
    ("lib.rs", &[]),
    ("main.rs", &[]),
    ("protocol", &[]),
    // The pure parts of the page.
    ("client/backoff.rs", &[]),
    ("client/session", &["protocol", "client/backoff.rs"]),
    ("client/call/description.rs", &["protocol"]),
    ("client/call/negotiation.rs", &["protocol"]),
    ("client/call/network.rs", &[]),
    ("client/call/quality.rs", &[]),
    ("client/call/reopening.rs", &[]),
    ("client", &["protocol"]),
    // One arrow upwards, by design: the server executes the body of a server function.
    ("app/api.rs", &["protocol", "server/pages.rs"]),
    ("app", &["client", "protocol", "lib.rs"]),
    ("hydrate.rs", &["app"]),
    // The server's vocabulary.
    ("server/id.rs", &["protocol"]),
    ("server/lock.rs", &[]),
    ("server/network.rs", &[]),
    ("server/random.rs", &[]),
    ("server/name_key.rs", &["protocol"]),
    ("server/history.rs", &["protocol", "server/id.rs"]),
    ("server/change.rs", &["protocol"]),
    ("server/membership.rs", &["protocol", "server/id.rs"]),
    ("server/search", &["protocol"]),
    ("server/start_error.rs", &["server/call/ice.rs"]),
    // What the hub needs from outside, as traits.
    ("server/environment.rs", &["server/random.rs"]),
    (
        "server/storage.rs",
        &[
            "protocol",
            "server/change.rs",
            "server/history.rs",
            "server/id.rs",
            "server/membership.rs",
            "server/name_key.rs",
            "server/search",
        ],
    ),
    // The pure parts of the hub.
    ("server/hub/output.rs", &["protocol", "server/history.rs", "server/id.rs"]),
    (
        "server/hub/core",
        &[
            "protocol",
            "server/history.rs",
            "server/hub/output.rs",
            "server/hub/recent_changes.rs",
            "server/hub/tail.rs",
            "server/id.rs",
            "server/name_key.rs",
        ],
    ),
    ("server/hub/lobby.rs", &["protocol", "server/id.rs"]),
    ("server/hub/my_rooms", &["protocol", "server/id.rs", "server/membership.rs"]),
    ("server/hub/price.rs", &["protocol"]),
    ("server/hub/recent_changes.rs", &["protocol", "server/history.rs"]),
    ("server/hub/tail.rs", &[]),
    ("server/call", &["protocol", "server/hub/core", "server/hub/output.rs", "server/id.rs"]),
    (
        "server/store",
        &[
            "protocol",
            "server/change.rs",
            "server/history.rs",
            "server/id.rs",
            "server/lock.rs",
            "server/membership.rs",
            "server/name_key.rs",
            "server/search",
            "server/start_error.rs",
            "server/storage.rs",
        ],
    ),
    ("server/export/format.rs", &[]),
    ("server/config", &["protocol", "server/call/ice.rs", "server/export/format.rs", "server/start_error.rs"]),
    (
        "server/hub",
        &[
            "protocol",
            "server/call",
            "server/change.rs",
            "server/config",
            "server/environment.rs",
            "server/history.rs",
            "server/id.rs",
            "server/lock.rs",
            "server/membership.rs",
            "server/name_key.rs",
            "server/network.rs",
            "server/search",
            "server/storage.rs",
        ],
    ),
    ("server/attachments/metadata", &[]),
    ("server/attachments/media_type.rs", &[]),
    ("server/attachments/picture.rs", &["protocol", "server/attachments/metadata"]),
    (
        "server/attachments",
        &[
            "protocol",
            "server/config",
            "server/environment.rs",
            "server/id.rs",
            "server/lock.rs",
            "server/per_address.rs",
            "server/random.rs",
            "server/start_error.rs",
            "server/storage.rs",
            "server/store",
        ],
    ),
    // Pages are rendered on the server.
    ("server/pages.rs", &["app", "protocol", "server", "lib.rs"]),
    // So are exports.
    ("server/export", &["app", "client/timeline", "protocol", "server", "lib.rs"]),
    ("server/http", &["app", "protocol", "server", "lib.rs"]),
    ("server", &["protocol"]),
];

/// Modules that are deterministic state machines or plain functions: no I/O, clock, threads or randomness.
const PURE: &[&str] = &[
    "protocol",
    "client/backoff.rs",
    "client/session",
    "client/call/description.rs",
    "client/call/negotiation.rs",
    "client/call/network.rs",
    "client/call/quality.rs",
    "client/call/reopening.rs",
    "app/linkify/scan.rs",
    "app/markdown",
    "server/search",
    "server/attachments/media_type.rs",
    "server/attachments/metadata",
    "server/attachments/picture.rs",
    "server/call/sdp.rs",
    "server/call/signal",
    "server/history.rs",
    "server/hub/core",
    "server/hub/lobby.rs",
    "server/hub/my_rooms",
    "server/hub/output.rs",
    "server/hub/price.rs",
    "server/hub/tail.rs",
    "server/id.rs",
    "server/membership.rs",
    "server/name_key.rs",
];

/// Names that a pure module does not contain.
const IMPURE: &[&str] = &[
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

/// The longest source file, in lines.
const MAX_LINES: usize = 400;
/// Longer source files, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Enums of which every `match` names every variant, so that the compiler lists the places that a new one concerns.
const EXHAUSTIVE: &[&str] =
    &["Command", "ServerFrame", "PeerFrame", "Ack", "ErrorCode", "CloseCode", "Intent", "Update", "Input", "Output"];
/// The folders in which that holds.
const EXHAUSTIVE_IN: &[&str] = &["src", "tests", "benches", "fuzz/src"];

#[test]
fn layers_depend_one_way() {
    let files = sources();
    for file in &files {
        let covered = LAYERS.iter().any(|(part, _)| file.belongs_to(part));
        assert!(covered, "{} belongs to no layer: add it to LAYERS", file.name);
    }
    for (part, _) in LAYERS {
        assert!(files.iter().any(|file| file.belongs_to(part)), "LAYERS names {part}, which does not exist");
    }
    let graph = imports::graph(&files);
    let by_name = |name: &str| files.iter().find(|file| file.name == name).unwrap();
    let mut violations = Vec::new();
    for (name, uses) in &graph {
        let (part, allowed) = LAYERS.iter().find(|(part, _)| by_name(name).belongs_to(part)).unwrap();
        for (used, path) in uses {
            let used = by_name(used);
            let is_allowed = used.belongs_to(part) || allowed.iter().any(|part| used.belongs_to(part));
            if !is_allowed {
                violations.push(format!("{name} ({part}) uses {path} of {}", used.name));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let mut graph = imports::graph(&sources());
    // The one arrow upwards, see LAYERS.
    graph.get_mut("app/api.rs").unwrap().remove("server/pages.rs");
    let circles = imports::circles(&graph);
    let describe = |circle: &BTreeSet<&str>| {
        let edges = circle.iter().flat_map(|file| graph[*file].iter().map(move |(used, path)| (file, used, path)));
        let inside = edges.filter(|(_, used, _)| circle.contains(used.as_str()));
        inside.map(|(file, used, path)| format!("  {file} uses {path} of {used}\n")).collect::<String>()
    };
    let texts: Vec<_> = circles.iter().map(describe).collect();
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), texts.join("\n"));
}

#[test]
fn pure_modules_do_no_io() {
    for file in sources().into_iter().filter(|file| PURE.iter().any(|pure| file.belongs_to(pure))) {
        let code = file.text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let impure = IMPURE.iter().find(|name| line.contains(*name));
            assert!(impure.is_none(), "{} is pure but contains {impure:?}", file.name);
        }
    }
}

#[test]
fn source_files_have_at_most_400_lines() {
    let long: BTreeSet<_> = sources()
        .iter()
        .map(|file| (file.name.clone(), file.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(name, _)| name)
        .collect();
    let allowed: BTreeSet<_> = LONG_FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(long, allowed, "files above {MAX_LINES} lines, and LONG_FILES");
}

#[test]
fn matches_over_own_enums_have_no_wildcard_arm() {
    let (mut wildcards, mut exhaustive) = (Vec::new(), BTreeSet::new());
    for folder in EXHAUSTIVE_IN {
        for file in files(folder).iter().filter(|file| file.name.ends_with(".rs")) {
            let matches = wildcards::find(&syn::parse_file(&file.text).unwrap(), EXHAUSTIVE);
            wildcards.extend(matches.wildcards.iter().map(|found| format!("{folder}/{}: {found}", file.name)));
            exhaustive.extend(matches.exhaustive);
        }
    }
    assert!(wildcards.is_empty(), "wildcard arms:\n{}", wildcards.join("\n"));
    // An enum that is renamed must be renamed here.
    for name in EXHAUSTIVE {
        assert!(exhaustive.contains(*name), "no match over {name} was found");
    }
}

#[test]
fn wildcard_check_finds_every_form() {
    let count = |arms: &str| {
        let file = syn::parse_str(&format!("fn f() {{ match x {{ {arms} }} }}")).unwrap();
        wildcards::find(&file, &["Command", "Update"]).wildcards.len()
    };
    for arms in [
        "Command::Ping(_) => 1, _ => 2",
        "Command::Ping(_) => 1, other => 2",
        "Command::Ping(_) => 1, other => println!(\"{other:?}\")",
        "&Command::Ping(_) | &Command::Hello(_) => 1, _ => 2",
        "Some(Command::Ping(_)) => 1, Some(_) | None => 2",
        "Ok(command @ protocol::Command::Ping(_)) => 1, Ok(other) => 2, Err(_) => 3",
        "Action::Emit(Update::Online) => 1, Action::Emit(_) => 2",
        "Action::Emit { update: Update::Online, .. } => 1, Action::Emit { update: _, .. } => 2",
        "(Command::Ping(_), true) => 1, (_, _) => 2",
        "A => view! { <p>{match y { Update::Online => 1, _ => 2 }}</p> }",
    ] {
        assert_eq!(count(arms), 1, "{arms}");
    }
    for arms in [
        "Command::Ping(_) => 1, Command::Hello(_) => 2",
        "Other::Ping(_) => 1, _ => 2",
        "Command::Ping(_) => 1, other if other.is_quick() => 2, Command::Hello(_) => 3",
        "Command::Ping(_) => 1, other => self.command(other)",
        "Command::Ping(_) => 1, other => panic!(\"{other:?}\")",
        "Ok(Command::Ping(_)) => 1, Ok(Command::Hello(_)) => 2, Err(_) => 3",
    ] {
        assert_eq!(count(arms), 0, "{arms}");
    }
}

#[test]
fn migrations_folder_equals_list_in_code() {
    let number = |name: &String| -> u32 { name.split('-').next().unwrap().parse().unwrap() };
    let mut in_folder: Vec<_> = files("migrations").into_iter().map(|file| file.name).collect();
    in_folder.sort_by_key(number);
    let store: String =
        sources().into_iter().filter(|file| file.belongs_to("server/store")).map(|file| file.text).collect();
    let in_code: Vec<_> =
        store.split("/migrations/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(in_folder, in_code);
    assert_eq!(in_folder.iter().map(number).collect::<Vec<_>>(), (1..=in_folder.len() as u32).collect::<Vec<_>>());
}

#[test]
fn cfg_feature_appears_only_in_lib_rs() {
    for file in sources() {
        let code = file.text.lines().filter(|line| !line.starts_with("//"));
        let uses = code.filter(|line| line.contains("cfg(feature") || line.contains("cfg!(feature"));
        assert_eq!(uses.count(), if file.name == "lib.rs" { 2 } else { 0 }, "{}", file.name);
    }
}

#[test]
fn module_files_are_beside_their_folders() {
    assert!(sources().iter().all(|file| !file.name.ends_with("mod.rs")));
}

#[test]
fn front_page_names_every_module() {
    let front_page = std::fs::read_to_string(project().join("src/lib.rs")).unwrap();
    for file in sources() {
        let module = file.name.trim_end_matches(".rs").replace('/', "::");
        let is_listed = module.matches("::").count() <= 1 && !matches!(module.as_str(), "lib" | "main");
        assert!(!is_listed || front_page.contains(&format!("`{module}`")), "src/lib.rs does not name `{module}`");
    }
}

#[test]
fn browser_bundle_contains_no_server_crate() {
    let tree = Command::new(env!("CARGO"))
        .current_dir(project())
        .args([
            "tree",
            "--locked",
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
        assert!(!tree.lines().any(|line| line.starts_with(&format!("{name} v"))), "{name} is in the browser's tree");
    }
}

#[test]
fn cargo_and_leptos_settings_agree() {
    let read = |file: &str| -> toml::Table { std::fs::read_to_string(project().join(file)).unwrap().parse().unwrap() };
    let leptos = |table: &toml::Table| table["package"]["metadata"]["leptos"].as_table().unwrap().clone();
    let cargo = read("Cargo.toml");
    let (build, run) = (leptos(&cargo), leptos(&read("Leptos.toml")));
    for key in ["output-name", "site-root", "site-pkg-dir", "site-addr", "reload-port"] {
        assert_eq!(build[key], run[key], "{key}");
    }
}

#[test]
fn release_and_development_builds_use_the_same_tools() {
    let read = |file: &str| std::fs::read_to_string(project().join(file)).unwrap();
    let table = |file: &str| -> toml::Table { read(file).parse().unwrap() };
    let (cargo, wasm_tool) = (table("Cargo.toml"), table("scripts/wasm/Cargo.toml"));
    let bindgen = cargo["dependencies"]["wasm-bindgen"].as_str().unwrap();
    assert_eq!(wasm_tool["dependencies"]["wasm-bindgen-cli-support"].as_str(), Some(bindgen));
    let version = format!("WASM_BINDGEN_VERSION={}\n", bindgen.trim_start_matches('='));
    assert!(
        read("scripts/versions.sh").contains(&version),
        "the wasm-bindgen crate and tool must have the same version"
    );
    let browsers = cargo["package"]["metadata"]["leptos"]["browserquery"].as_str().unwrap();
    assert!(read("scripts/site.mjs").contains(&format!("{browsers:?}")), "both builds must target the same browsers");
}

#[test]
fn locales_have_the_same_keys_and_every_key_is_used() {
    let read = |lang: &str| -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(&std::fs::read_to_string(project().join(format!("locales/{lang}.json"))).unwrap()).unwrap()
    };
    let (english, korean) = (read("en"), read("ko"));
    assert_eq!(english.keys().collect::<Vec<_>>(), korean.keys().collect::<Vec<_>>());
    // The server itself tells of requests above the limit, and writes exports.
    let has_texts = |name: &str| ["app", "server/http", "server/export"].iter().any(|part| name.starts_with(part));
    let texts: String = sources().into_iter().filter(|file| has_texts(&file.name)).map(|file| file.text).collect();
    for key in english.keys() {
        assert!(texts.contains(&format!(", {key}")), "{key} is not used");
    }
}

#[test]
fn tests_named_in_trust_md_exist() {
    let trust = std::fs::read_to_string(project().join("TRUST.md")).unwrap();
    let tests: String = ["src", "tests", "end2end/tests"].into_iter().flat_map(files).map(|file| file.text).collect();
    let names: Vec<_> = trust.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    assert!(names.len() > 30);
    for (file, name) in names {
        let exists = if file.ends_with(".spec") {
            tests.contains(&format!("test(\"{name}")) || tests.contains(&format!("test(`{name}"))
        } else {
            tests.contains(&format!("fn {name}("))
        };
        assert!(exists, "TRUST.md names {file}::{name}");
    }
}
