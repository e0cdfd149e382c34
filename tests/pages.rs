//! The pages as a browser without script sees them, and the headers on every answer.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use serde_json::json;
use support::{Client, Server, Setup, fresh_key, project};

/// The value of the hidden field `key` in a room's page.
fn hidden_key(page: &str) -> String {
    let at = page.find("name=\"key\"").expect("the form has a key");
    page[at..].split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[test]
fn without_script_one_takes_a_name_enters_a_room_and_talks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let cookie = server.get("/").cookie();
    assert!(cookie.starts_with("noom="));

    let named = server.post("/api/nickname", &cookie, "nickname=Ann&back=%2F");
    assert_eq!((named.status, named.header("location")), (303, "/"));
    let entered = server.post("/api/enter", &cookie, "room=%ED%95%9C%EA%B5%AD%EC%96%B4+%EB%B0%A9");
    let room = "/r/%ED%95%9C%EA%B5%AD%EC%96%B4%20%EB%B0%A9";
    assert_eq!((entered.status, entered.header("location")), (303, room));

    let page = server.request("GET", room, &format!("Cookie: {cookie}\r\n"));
    assert_eq!(page.status, 200);
    let key = hidden_key(&page.body);
    let form = format!("room=%ED%95%9C%EA%B5%AD%EC%96%B4+%EB%B0%A9&key={key}&text=first%0D%0Aline");
    for _ in 0..2 {
        let posted = server.post("/api/post", &cookie, &form);
        assert_eq!((posted.status, posted.header("location")), (303, room), "a double submit is harmless");
    }
    let page = server.get(room).body;
    assert_eq!(page.matches("first\nline").count(), 1 + page.matches("first\\nline").count(), "shown once");
    assert!(page.contains("Ann"));
}

#[tokio::test]
async fn what_a_form_posts_reaches_those_in_the_room_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let cookie = server.get("/").cookie();
    assert_eq!(server.post("/api/post", &cookie, &format!("room=r&key={}&text=hello", fresh_key())).status, 303);
    let message = ann.until_type("new_message").await;
    assert_eq!(message["payload"]["text"], "hello");
    assert!(message["payload"]["user"]["nickname"].as_str().unwrap().starts_with("Anon"));
}

#[tokio::test]
async fn the_cookie_and_the_socket_know_the_same_person() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let cookie = server.get("/").cookie();
    server.post("/api/nickname", &cookie, "nickname=Ann&back=%2F");
    let mut client = Client::with_cookie(&server, &cookie).await;
    assert_eq!(client.ask("hello", json!({"protocol": 1})).await["user"]["nickname"], "Ann");
}

#[test]
fn what_a_form_gets_wrong_is_said_where_it_was_and_nothing_typed_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("message_burst", 1).limit("messages_per_second", 1).start();
    let cookie = server.get("/").cookie();
    let cases = [
        ("/api/nickname", "nickname=admin&back=%2F".to_owned(), "/?error=NICK_RESERVED&nickname=admin"),
        ("/api/nickname", "nickname=admin&back=%2F%2Fevil.example".to_owned(), "/?error=NICK_RESERVED&nickname=admin"),
        ("/api/enter", "room=a%2Fb".to_owned(), "/?error=ROOM_NAME_INVALID&room=a%2Fb"),
        ("/api/post", format!("room=r&key={}&text=+", fresh_key()), "/r/r?error=TEXT_EMPTY"),
        ("/api/post", "room=r&key=7&text=hi+there".to_owned(), "/r/r?error=KEY_INVALID&draft=hi%20there"),
        ("/api/post", format!("room=r&key={}&text=one", fresh_key()), "/r/r"),
        ("/api/post", format!("room=r&key={}&text=two", fresh_key()), "/r/r?error=RATE_LIMITED&draft=two"),
    ];
    for (path, form, location) in cases {
        let answer = server.post(path, &cookie, &form);
        assert_eq!((answer.status, answer.header("location")), (303, location), "{path} {form}");
    }
    let page = server.get("/?error=ROOM_NAME_INVALID&room=a%2Fb").body;
    assert!(page.contains("A room&#x27;s name has") || page.contains("A room's name has"), "in words");
    assert!(page.contains("value=\"a/b\""));
    assert!(server.get("/r/r?error=RATE_LIMITED&draft=two").body.contains(">two</textarea>"));
}

#[test]
fn forms_of_other_sites_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let cookie = server.get("/").cookie();
    let form = format!("room=r&key={}&text=forged", fresh_key());
    let own = format!("Origin: {}\r\n", server.origin());
    for (headers, status) in [
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\n", 403),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("", 403),
        (own.as_str(), 303),
    ] {
        let answer = server.post_with("/api/post", &format!("Cookie: {cookie}\r\n{headers}"), &form);
        assert_eq!(answer.status, status, "{headers}");
    }
}

#[test]
fn every_answer_has_the_security_headers() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let answers = [
        server.get("/"),
        server.get("/r/a"),
        server.get("/r/a%2Fb"),
        server.get("/elsewhere"),
        server.get("/pkg/nothing.js"),
        server.get("/health/live"),
        server.get("/api/nothing"),
        server.post_with("/api/post", "", "x=y"),
        server.post("/api/nickname", "", "wrong=fields"),
        server.get("/ws"),
    ];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{answer:?}");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert!(answer.header("permissions-policy").contains("camera=(self)"));
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!answer.header("x-request-id").is_empty());
    }
}

#[test]
fn the_scripts_of_a_page_carry_the_nonce_of_its_policy() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    for path in ["/", "/r/a", "/r/a%2Fb"] {
        let page = server.get(path);
        let policy = page.header("content-security-policy").to_owned();
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        let scripts: Vec<_> =
            page.body.match_indices("<script").map(|(at, _)| page.body[at..].split('>').next().unwrap()).collect();
        assert!(scripts.len() >= 3);
        // The router leaves an empty element behind: it has nothing to run.
        for script in scripts.into_iter().filter(|script| *script != "<script") {
            assert!(script.contains(&format!("nonce=\"{nonce}\"")), "{path}: {script}");
        }
        assert!(!page.body.contains(" style=\""), "the policy blocks style attributes");
        assert_ne!(server.get(path).header("content-security-policy"), policy, "a new one each time");
    }
}

/// A site as the build leaves it, small; returns its folder.
fn small_site(folder: &std::path::Path) -> std::path::PathBuf {
    let site = folder.join("site");
    std::fs::create_dir_all(site.join("pkg")).unwrap();
    for (name, content) in [
        ("favicon.svg", "<svg/>"),
        ("pkg/noom.js", "script, as it is"),
        ("pkg/noom.js.br", "with brotli"),
        ("pkg/noom.js.gz", "with gzip"),
        ("pkg/noom.css", "style"),
        // A build by cargo-leptos, and one without it.
        ("pkg/noom.wasm", "program"),
        ("pkg/noom_bg.wasm", "program"),
    ] {
        std::fs::write(site.join(name), content).unwrap();
    }
    site
}

/// The address in a page of a file whose path ends like this.
fn address_in(page: &str, end: &str) -> String {
    let at = page.find(&format!("{end}\"")).unwrap_or_else(|| panic!("{end} is in the page: {page}"));
    let begin = page[..at].rfind('"').unwrap() + 1;
    page[begin..at + end.len()].to_owned()
}

#[test]
fn what_a_page_names_is_kept_for_good_and_has_another_address_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let site = small_site(folder.path());
    let setup = Setup::in_folder(folder.path()).site(&site);
    let server = setup.start();
    let page = server.get("/").body;
    let (mut script, ends) = (String::new(), ["/favicon.svg", "/noom.css", ".wasm", "/noom.js"]);
    for end in ends {
        script = address_in(&page, end);
        let answer = server.get(&script);
        assert_eq!(answer.status, 200, "{script}");
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable", "{script}");
        assert_eq!(server.get(&script.replace(|digit: char| digit.is_ascii_digit(), "x")).status, 404);
    }
    for (encoding, body) in [("br", "with brotli"), ("gzip", "with gzip"), ("", "script, as it is")] {
        let answer = server.request("GET", &script, &format!("Accept-Encoding: {encoding}\r\n"));
        assert_eq!((answer.body.as_str(), answer.header("content-encoding")), (body, encoding));
        assert_eq!(answer.header("vary"), "accept-encoding");
    }

    // Replaced under a server that runs: its address promises what was there before.
    std::fs::write(site.join("pkg/noom.js"), "another script").unwrap();
    let replaced = server.get(&script);
    assert_eq!((replaced.body.as_str(), replaced.header("cache-control")), ("another script", "no-cache"));
    drop(server);

    let server = setup.start();
    let fresh = address_in(&server.get("/").body, "/noom.js");
    assert_ne!(fresh, script);
    assert_eq!(server.get(&fresh).body, "another script");
    let gone = server.get(&script);
    assert_eq!((gone.status, gone.header("cache-control")), (404, "no-store"), "an old page learns that it is old");
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let site = small_site(folder.path());
    let server = Setup::in_folder(folder.path()).site(&site).start();
    let mut tags = Vec::new();
    for (path, encoding) in [
        ("/favicon.svg", ""),
        ("/pkg/noom.js", ""),
        ("/pkg/noom.js", "br"),
        ("/pkg/noom.js", "gzip"),
        ("/pkg/noom.css", "br"),
    ] {
        let ask = |more: &str| server.request("GET", path, &format!("Accept-Encoding: {encoding}\r\n{more}"));
        let first = ask("");
        assert_eq!((first.status, first.header("cache-control")), (200, "no-cache"));
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with('"') && !tags.contains(&tag), "{tag}");
        let dated = format!("If-Modified-Since: {}\r\n", first.header("last-modified"));
        for (condition, status) in [
            (format!("If-None-Match: {tag}\r\n"), 304),
            (format!("If-None-Match: \"other\", W/{tag}\r\n"), 304),
            (dated.clone(), 304),
            ("If-None-Match: \"other\"\r\n".to_owned(), 200),
            (format!("If-None-Match: \"other\"\r\n{dated}"), 200),
        ] {
            let again = ask(&condition);
            assert_eq!((again.status, again.body.is_empty()), (status, status == 304), "{path} {condition}");
            assert_eq!((again.header("cache-control"), again.header("vary")), ("no-cache", "accept-encoding"));
            if condition.starts_with("If-None") {
                assert_eq!(again.header("etag"), tag);
            }
        }
        tags.push(tag);
    }
    // Half of an old file and half of a new one would be none.
    let part = server.request("GET", "/pkg/noom.js", "Range: bytes=8-\r\nIf-Range: \"other\"\r\n");
    assert_eq!((part.status, part.body.as_str()), (200, "script, as it is"));
}

#[test]
fn pages_are_compressed_and_streams_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    for path in ["/", "/r/a"] {
        let plain = server.get(path);
        let packed = server.request("GET", path, "Accept-Encoding: gzip, br\r\n");
        assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"), "{path}");
        assert!(packed.header("vary").contains("accept-encoding"));
        assert!(packed.body.chars().count() < plain.body.chars().count() / 2, "{path}");
        assert_eq!((plain.header("content-encoding"), plain.header("cache-control")), ("", "no-store"));
    }
    let stream = server.head("/events", "Accept-Encoding: gzip\r\nSec-Fetch-Site: same-origin\r\n");
    assert!(stream.starts_with("HTTP/1.1 200") && !stream.contains("content-encoding"), "{stream}");
}

#[test]
fn a_path_that_is_no_page_leads_home_and_a_bad_room_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    for path in ["/elsewhere", "/a/b/c", "/rooms", "/index.php?x=y", "/%C3%28"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{path}");
    }
    for path in [
        "/static/nothing",
        "/pkg/nothing",
        "/api/nothing",
        "/health/nothing",
        "/pkg/../../Cargo.toml",
        "/pkg/%2e%2e/%2e%2e/Cargo.toml",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    let long = format!("/r/{}", "x".repeat(65));
    for path in ["/r/..%2f..%2fetc", "/r", "/r/", "/r/a%07b", "/r/a/b", "/r/%25", long.as_str()] {
        let answer = server.get(path);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.body.contains("This cannot be a room"), "{path}");
    }
    assert_eq!(server.get("/r/%C3%28").status, 200, "broken UTF-8 is shown as such");
}

#[tokio::test]
async fn a_room_has_one_address() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    Client::in_room(&server, "Book Club").await;
    for path in ["/r/book%20club", "/r/%20Book%20%20Club", "/r/BOOK%20CLUB"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("location")), (303, "/r/Book%20Club"), "{path}");
    }
    assert_eq!(server.get("/r/Book%20Club").status, 200);
}

#[tokio::test]
async fn looking_at_a_page_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let cookie = server.get("/r/unseen").cookie();
    assert!(!cookie.is_empty());
    drop(server);
    let database = rusqlite::Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    for table in ["rooms", "users", "messages"] {
        let count: i64 = database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{table}");
    }
}

#[tokio::test]
async fn a_room_page_has_the_last_messages_and_a_way_to_the_older_ones() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    for n in 1..=120 {
        ann.post("r", &format!("message-{n}.")).await;
    }
    let page = server.get("/r/r").body;
    assert!(page.contains(">message-71.<") && page.contains(">message-120.<") && !page.contains(">message-70.<"));
    assert!(page.contains("href=\"?before=71\""));
    let older = server.get("/r/r?before=71").body;
    assert!(older.contains(">message-21.<") && older.contains(">message-70.<") && !older.contains(">message-71.<"));
}

#[test]
fn many_pages_at_once_are_all_served() {
    // A title that read a signal after its page was rendered panicked on some threads.
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    for n in 0..40 {
                        let path = ["/", "/r/garden", "/r/a%2Fb"][n % 3];
                        let page = server.get(path);
                        assert!(matches!(page.status, 200 | 400) && page.body.contains("<title>"), "{path}: {page:?}");
                    }
                })
            })
            .collect();
        visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    });
}

#[test]
fn pages_speak_the_visitors_language_and_remember_the_choice() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let page = |headers: &str| server.request("GET", "/", headers).body;
    let (english, korean) = ("<html lang=\"en\"", "<html lang=\"ko\"");
    assert!(page("").contains(english));
    assert!(page("Accept-Language: ko-KR,ko;q=0.9,en;q=0.8\r\n").contains(korean));
    assert!(page("Accept-Language: ko-KR\r\n").contains("들어가기"));
    assert!(page("Accept-Language: fr\r\n").contains(english));
    let chosen = server.post("/api/language", "", "lang=ko&back=%2Fr%2Fa");
    assert_eq!((chosen.status, chosen.header("location")), (303, "/r/a"));
    let cookies: Vec<_> = chosen.headers("set-cookie");
    let cookie = cookies.iter().find(|cookie| cookie.starts_with("lang=ko")).expect("it is remembered");
    let cookie = cookie.split(';').next().unwrap();
    assert!(page(&format!("Accept-Language: en\r\nCookie: {cookie}\r\n")).contains(korean));
}

#[test]
fn big_bodies_and_strange_methods_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let big = format!("room=r&key={}&text={}", fresh_key(), "x".repeat(70_000));
    assert_eq!(server.post("/api/post", "", &big).status, 413);
    assert_eq!(server.request("DELETE", "/r/a", "Sec-Fetch-Site: same-origin\r\n").status, 405);
}

#[test]
fn help_and_version_are_worth_reading() {
    let run = |flag: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_noom")).arg(flag).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run("--version").trim(), concat!("noom ", env!("CARGO_PKG_VERSION")));
    let help = run("--help");
    for word in ["--listen", "--data-dir", "NOOM_LISTEN", "NOOM_DATA_DIR", "Leptos.toml", "127.0.0.1:3000"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(project().join("Leptos.toml").exists());
}

#[test]
fn the_database_is_made_where_it_was_said_and_the_key_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("deep/data");
    let _server = Setup::in_folder(&data).start();
    assert!(data.join("noom.sqlite3").exists());
    assert_eq!(std::fs::metadata(data.join("session.key")).unwrap().permissions().mode() & 0o777, 0o600);
}
