//! The pages as a browser without JavaScript gets them, and the headers of every response.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use serde_json::{Value, json};
use support::{Client, Server, Setup, fresh_key, project};

/// The value of the hidden field `key` in a room page.
fn hidden_key(page: &str) -> String {
    let at = page.find("name=\"key\"").expect("the form has a key");
    page[at..].split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[test]
fn forms_without_javascript_set_name_enter_room_and_post() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let cookie = server.get("/").cookie();
    assert!(cookie.starts_with("noom-"));

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
        assert_eq!((posted.status, posted.header("location")), (303, room), "a second submit is idempotent");
    }
    let page = server.get(room).body;
    assert_eq!(
        page.matches("first\nline").count(),
        1 + page.matches("first\\nline").count(),
        "the message appears once"
    );
    assert!(page.contains("Ann"));
}

#[tokio::test]
async fn message_posted_by_form_reaches_room_members() {
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
async fn page_of_a_crowded_room_shows_the_count_and_the_first_members() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let arrive =
        |count| futures::future::join_all((0..count).map(|_| Client::in_room_as_guest(&server, "hall".into())));
    let _few = arrive(101).await;
    // Without the marks for hydration.
    let page = || server.get("/r/hall").body.replace("<!>", "");
    let few = page();
    assert!(few.contains(">101 people<"), "{few}");
    let _many = arrive(200).await;
    let many = page();
    assert!(many.contains(">301 people<"));
    assert!(many.len() < few.len() + 200, "{} bytes, {} before", many.len(), few.len());
}

#[tokio::test]
async fn cookie_identifies_user_on_pages_and_websocket() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let cookie = server.get("/").cookie();
    server.post("/api/nickname", &cookie, "nickname=Ann&back=%2F");
    let mut client = Client::with_cookie(&server, &cookie).await;
    assert_eq!(client.ask("hello", json!({"protocol": 2})).await["user"]["nickname"], "Ann");
}

#[test]
fn refused_form_shows_error_and_keeps_input() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("message_burst", 3).limit("messages_per_second", 1).start();
    let cookie = server.get("/").cookie();
    let cases = [
        ("/api/nickname", "nickname=admin&back=%2F".to_owned(), "/?error=NICK_RESERVED", "value=\"admin\""),
        (
            "/api/nickname",
            "nickname=admin&back=%2F%2Fevil.example".to_owned(),
            "/?error=NICK_RESERVED",
            "value=\"admin\"",
        ),
        ("/api/enter", "room=a%2Fb".to_owned(), "/?error=ROOM_NAME_INVALID", "value=\"a/b\""),
        ("/api/post", format!("room=r&key={}&text=+", fresh_key()), "/r/r?error=TEXT_EMPTY", "The message is empty"),
        ("/api/post", "room=r&key=7&text=hi+there".to_owned(), "/r/r?error=KEY_INVALID", ">hi there</textarea>"),
        ("/api/post", format!("room=r&key={}&text=one", fresh_key()), "/r/r", ">one<"),
        ("/api/post", format!("room=r&key={}&text=two", fresh_key()), "/r/r?error=RATE_LIMITED", ">two</textarea>"),
    ];
    for (path, form, expected, shown) in cases {
        let answer = server.post(path, &cookie, &form);
        let location = answer.header("location");
        assert_eq!((answer.status, location.split("&form=").next().unwrap()), (303, expected), "{path} {form}");
        let page = server.request("GET", location, &format!("Cookie: {cookie}\r\n")).body;
        assert!(page.contains(shown), "{path} {form}: {page}");
    }
    assert!(server.get("/?error=ROOM_NAME_INVALID").body.contains("Room names have"), "the error is explained");
}

/// The text in a page's message field, as a browser reads it.
fn message_field(page: &str) -> String {
    let content =
        page.split("<textarea").nth(1).unwrap().split_once('>').unwrap().1.split("</textarea>").next().unwrap();
    let content = content.strip_prefix('\n').unwrap_or(content);
    content.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[test]
fn refused_text_comes_back_as_typed_and_not_in_a_url() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let ann = server.get("/").cookie();
    let refuse = |cookie: &str, text: &str| {
        let typed = text.replace('\n', "\r\n");
        let answer = server.post("/api/post", cookie, &format!("room=r&key=bad&text={}", encoded(&typed)));
        answer.header("location").to_owned()
    };
    let view = |cookie: &str, location: &str| server.request("GET", location, &format!("Cookie: {cookie}\r\n")).body;
    let long = "가".repeat(5_000);
    for text in [
        "50%25 off, 100%2541, %41 %FF",
        "a+b&c=d;e#f?g",
        "\n\n  <b>&amp;\"'</b>\n",
        "</textarea><script>",
        "한국어 😀 \u{202e}",
        long.as_str(),
    ] {
        let location = refuse(&ann, text);
        let query = location.strip_prefix("/r/r?error=KEY_INVALID&form=").unwrap();
        assert!(query.len() == 32 && query.bytes().all(|byte| byte.is_ascii_hexdigit()), "{location}");
        assert_eq!(message_field(&view(&ann, &location)), text);
        assert_ne!(message_field(&view(&ann, &location)), text, "it is shown once");
    }
    let location = refuse(&ann, "for Ann alone");
    let bob = server.get("/").cookie();
    assert!(!view(&bob, &location).contains("for Ann alone"));
    assert_eq!(message_field(&view(&ann, &location)), "for Ann alone");
    let location = refuse("", "without cookies");
    assert_eq!(message_field(&view("", &location)), "without cookies");
}

/// A text in the encoding of form bodies, without the exceptions.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn resume_token_works_only_with_the_cookie_of_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (ann, bob) = (server.get("/").cookie(), server.get("/").cookie());
    let hello = async |cookie: &str, resume: Option<&Value>| {
        let mut client = Client::with_cookie(&server, cookie).await;
        client.ask("hello", json!({"protocol": 2, "resume": resume})).await
    };
    let (as_ann, as_bob) = (hello(&ann, None).await, hello(&bob, None).await);
    let user = async |cookie: &str, resume: &Value| hello(cookie, Some(resume)).await["user"].clone();
    assert_eq!(user(&ann, &as_ann["resume"]).await, as_ann["user"]);
    assert_eq!(user(&bob, &as_ann["resume"]).await, as_bob["user"], "the cookie counts");
    assert_ne!(user("", &as_ann["resume"]).await, as_ann["user"], "the token alone is worth nothing");
    let guest = hello("", None).await;
    assert_eq!(user("", &guest["resume"]).await, guest["user"], "without a cookie, the token identifies the client");
    assert_eq!(user(&ann, &guest["resume"]).await, guest["user"], "also when a later page got a cookie");
}

#[test]
fn page_says_that_name_is_forgotten_where_cookies_are_blocked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let notice = "could not store a cookie";
    assert!(!server.get("/").body.contains(notice), "nothing is known yet");
    let named = server.post("/api/nickname", "", "nickname=Ann&back=%2Fr%2Fa");
    let location = named.header("location");
    assert!(server.get(location).body.contains(notice), "{location}");
    let accepted = server.request("GET", location, &format!("Cookie: {}\r\n", named.cookie()));
    assert!(!accepted.body.contains(notice), "the browser has kept the second cookie");
    let known = |cookie: &str| server.request("GET", "/api/cookie", &format!("Cookie: {cookie}\r\n")).body;
    assert_eq!(
        (known("").as_str(), known("noom=x").as_str(), known(&named.cookie()).as_str()),
        ("false", "false", "true")
    );
}

#[test]
fn cookies_of_two_servers_on_one_host_do_not_collide() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (Server::generous(one.path()), Server::generous(other.path()));
    let both = format!("{}; {}", one.get("/").cookie(), other.get("/").cookie());
    for server in [&one, &other] {
        server.post("/api/nickname", &both, "nickname=Ann&back=%2F");
        let page = server.request("GET", "/", &format!("Cookie: {both}\r\n"));
        assert_eq!(page.header("set-cookie"), "");
        assert!(page.body.contains("value=\"Ann\""), "{}", page.body);
    }
}

#[test]
fn visitor_stays_the_same_when_keys_are_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::in_folder(folder.path());
    let server = setup.start();
    let cookie = server.get("/").cookie();
    server.post("/api/nickname", &cookie, "nickname=Ann&back=%2F");
    let view = |cookie: &str| server.request("GET", "/", &format!("Cookie: {cookie}\r\n"));
    assert_eq!(view(&cookie).header("set-cookie"), "");

    let rotate = |days: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_noom"));
        command.args(["rotate-key", "--keep-days", days, "--data-dir"]).arg(folder.path());
        let output = command.arg("--config").arg(project().join("Leptos.toml")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        server.signal("HUP");
    };
    // The signal is handled at some time: until then the page sets no cookie.
    let until_renewed = |cookie: &str| loop {
        let page = view(cookie);
        if !page.cookie().is_empty() {
            return page;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    rotate("30");
    let page = until_renewed(&cookie);
    assert!(page.body.contains("value=\"Ann\""), "{}", page.body);
    let renewed = page.cookie();
    assert_ne!(renewed, cookie);
    assert!(view(&renewed).body.contains("value=\"Ann\"") && view(&renewed).cookie().is_empty());
    rotate("0");
    assert!(!until_renewed(&renewed).body.contains("value=\"Ann\""), "stolen keys are worth nothing");
}

#[tokio::test]
async fn cookie_of_version_0_1_is_exchanged_once_and_keeps_the_user() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("session.key"), [7; 64]).unwrap();
    let server = Server::generous(folder.path());
    // As version 0.1 signed it with this key.
    let old = "noom=AzRgcjWqoeZGueoYjyTW2qsBBDdpB4lWPHJ6hPPlNr4=user.00c0ffee00c0ffee";
    let upgraded = server.raw_upgrade(&format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {}\r\nCookie: {old}\r\n",
        server.origin()
    ));
    assert!(upgraded.starts_with("HTTP/1.1 101") && upgraded.contains("set-cookie: noom-"), "{upgraded}");
    let page = server.request("GET", "/", &format!("Cookie: {old}\r\n"));
    let cookies = page.headers("set-cookie");
    assert!(cookies.len() == 2 && cookies[1].starts_with("noom=;") && cookies[1].contains("Max-Age=0"), "{cookies:?}");
    let new = page.cookie();
    assert_eq!(server.request("GET", "/", &format!("Cookie: {new}\r\n")).header("set-cookie"), "");
    for cookie in [old, &new, &format!("{old}; {new}")] {
        let mut client = Client::with_cookie(&server, cookie).await;
        assert_eq!(client.ask("hello", json!({"protocol": 2})).await["user"]["id"], "00c0ffee00c0ffee");
    }
}

#[tokio::test]
async fn form_posters_with_one_name_do_not_speak_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let post = |cookie: &str, text: &str| {
        let answer = server.post("/api/post", cookie, &format!("room=r&key={}&text={text}", fresh_key()));
        answer.header("location").split("&form=").next().unwrap().to_owned()
    };
    let people: Vec<_> = (0..2).map(|_| server.get("/").cookie()).collect();
    for cookie in &people {
        assert_eq!(server.post("/api/nickname", cookie, "nickname=Ann&back=%2F").header("location"), "/");
    }
    assert_eq!(post(&people[0], "first"), "/r/r");
    assert_eq!(post(&people[1], "second"), "/r/r?error=NICK_TAKEN");
    assert_eq!(post(&people[0], "third"), "/r/r");
    let mut client = Client::with_cookie(&server, &people[1]).await;
    client.ask("hello", json!({"protocol": 2})).await;
    assert_eq!(client.refusal("enter_room", json!({"room": "r"})).await, "NICK_TAKEN");
}

#[tokio::test]
async fn new_room_name_cannot_pass_for_another_and_old_rooms_stay_reachable() {
    let folder = tempfile::tempdir().unwrap();
    drop(Server::generous(folder.path()));
    let old = "gar\u{200d}den";
    let database = rusqlite::Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    database.execute("INSERT INTO rooms (name, folded, head, created_at) VALUES (?1, ?1, 0, 0)", [old]).unwrap();
    drop(database);
    let server = Server::generous(folder.path());
    let mut ann = Client::greeted(&server).await;
    let cookie = server.get("/").cookie();
    let path = |name: &str| format!("/r/{}", encoded(name));
    for name in ["garden\u{200b}", "gаrden", "garden\u{fe0f}", "g\u{ad}arden", "\u{3164}garden"] {
        let page = server.get(&path(name));
        assert_eq!(page.status, 400, "{name:?}");
        assert!(page.body.contains("This is not a valid room name"), "{name:?}");
        assert_eq!(ann.refusal("enter_room", json!({"room": name})).await, "ROOM_NAME_INVALID", "{name:?}");
        let form = format!("room={}&key={}&text=x", encoded(name), fresh_key());
        assert!(server.post("/api/post", &cookie, &form).header("location").contains("error=ROOM_NAME_INVALID"));
    }
    assert_eq!(server.get(&path(old)).status, 200);
    ann.ask("enter_room", json!({"room": old})).await;
    ann.post(old, "still here").await;
    assert!(server.get(&path(old)).body.contains("still here"));
}

#[test]
fn cross_site_forms_are_refused() {
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
        let answer =
            server.post_with("/api/post", &format!("Cookie: {cookie}\r\nAccept: text/html\r\n{headers}"), &form);
        assert_eq!(answer.status, status, "{headers}");
    }
}

#[test]
fn every_response_has_security_headers() {
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
        server.post_with("/api/post", "Accept: text/html\r\n", "x=y"),
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
fn page_scripts_have_the_nonce_of_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    for path in ["/", "/r/a", "/r/a%2Fb"] {
        let page = server.get(path);
        let policy = page.header("content-security-policy").to_owned();
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        let scripts: Vec<_> =
            page.body.match_indices("<script").map(|(at, _)| page.body[at..].split('>').next().unwrap()).collect();
        assert!(scripts.len() >= 3);
        // The router renders an empty script element without attributes.
        for script in scripts.into_iter().filter(|script| *script != "<script") {
            assert!(script.contains(&format!("nonce=\"{nonce}\"")), "{path}: {script}");
        }
        assert!(!page.body.contains(" style=\""), "the policy blocks style attributes");
        assert_ne!(server.get(path).header("content-security-policy"), policy, "each response has a new nonce");
    }
}

/// Creates a small site with the file names of a build. Returns its folder.
fn small_site(folder: &std::path::Path) -> std::path::PathBuf {
    let site = folder.join("site");
    std::fs::create_dir_all(site.join("pkg")).unwrap();
    for (name, content) in [
        ("favicon.svg", "<svg/>"),
        ("pkg/noom.js", "script, as it is"),
        ("pkg/noom.js.br", "with brotli"),
        ("pkg/noom.js.gz", "with gzip"),
        ("pkg/noom.css", "style"),
        // The names with and without cargo-leptos.
        ("pkg/noom.wasm", "program"),
        ("pkg/noom_bg.wasm", "program"),
    ] {
        std::fs::write(site.join(name), content).unwrap();
    }
    site
}

/// The URL in a page whose end is `end`.
fn url_in(page: &str, end: &str) -> String {
    let at = page.find(&format!("{end}\"")).unwrap_or_else(|| panic!("{end} is in the page: {page}"));
    let begin = page[..at].rfind('"').unwrap() + 1;
    page[begin..at + end.len()].to_owned()
}

#[test]
fn page_files_are_immutable_and_change_url_with_content() {
    let folder = tempfile::tempdir().unwrap();
    let site = small_site(folder.path());
    let setup = Setup::in_folder(folder.path()).site(&site);
    let server = setup.start();
    let page = server.get("/").body;
    let (mut script, ends) = (String::new(), ["/favicon.svg", "/noom.css", ".wasm", "/noom.js"]);
    for end in ends {
        script = url_in(&page, end);
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

    // The file is replaced while the server runs: it no longer matches the digest in the URL.
    std::fs::write(site.join("pkg/noom.js"), "another script").unwrap();
    let replaced = server.get(&script);
    assert_eq!((replaced.body.as_str(), replaced.header("cache-control")), ("another script", "no-cache"));
    drop(server);

    let server = setup.start();
    let fresh = url_in(&server.get("/").body, "/noom.js");
    assert_ne!(fresh, script);
    assert_eq!(server.get(&fresh).body, "another script");
    let gone = server.get(&script);
    assert_eq!((gone.status, gone.header("cache-control")), (404, "no-store"), "the URLs of an old page are gone");
}

#[test]
fn cached_file_is_revalidated_with_304() {
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
    // A range of a changed file would mix two versions.
    let part = server.request("GET", "/pkg/noom.js", "Range: bytes=8-\r\nIf-Range: \"other\"\r\n");
    assert_eq!((part.status, part.body.as_str()), (200, "script, as it is"));
}

#[test]
fn pages_are_compressed_and_event_streams_are_not() {
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
fn unknown_page_redirects_home_and_invalid_room_shows_error() {
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
        assert!(answer.body.contains("This is not a valid room name"), "{path}");
    }
    assert_eq!(server.get("/r/%C3%28").status, 200, "broken UTF-8 is shown as such");
}

#[tokio::test]
async fn room_has_one_canonical_url() {
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
async fn viewing_a_page_stores_nothing() {
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
async fn room_page_shows_last_messages_and_links_older_ones() {
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

#[tokio::test]
async fn markdown_in_messages_is_rendered_as_elements_and_html_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let cases = [
        (
            "**bold** and *`<i>`*",
            "<strong>bold</strong> and <em><code dir=\"auto\" translate=\"no\">&lt;i&gt;</code></em>",
        ),
        ("**\"강조\"**은 ~~<s>~~", "<strong>\"강조\"</strong>은 <s>&lt;s&gt;</s>"),
        ("> <script>alert(1)</script>", "<blockquote><p>&lt;script&gt;alert(1)&lt;/script&gt;</p></blockquote>"),
        (
            "3. one\n   - two",
            "<ol role=\"list\"><li><span class=\"marker\">3. </span>one<ul role=\"list\"><li>\
             <span class=\"marker\">• </span>two</li></ul></li></ol>",
        ),
        ("```html\n</code></pre><b>\n```", "<code>&lt;/code&gt;&lt;/pre&gt;&lt;b&gt;</code></pre>"),
        ("**www.a.example**", "nofollow ugc\">www.a.example</a></strong>"),
        // Plain texts are one element, as they were before there was markup.
        ("2 * 3 * 4 <b>", "class=\"text\">2 * 3 * 4 &lt;b&gt;</p>"),
        ("# **no** <img src=x onerror=alert(1)>", "<p># <strong>no</strong> &lt;img src=x onerror=alert(1)&gt;</p>"),
    ];
    for (text, _) in &cases {
        ann.post("r", text).await;
    }
    // Without the marks for hydration.
    let page = server.get("/r/r").body.replace("<!>", "");
    for (text, html) in cases {
        assert!(page.contains(html), "{text:?} is not {html} in {page}");
    }
    assert!(!page.contains("<script>alert") && !page.contains("<img src=x"));
}

#[test]
fn concurrent_page_requests_are_all_served() {
    // Regression: a title that read a signal after its page was rendered panicked on some threads.
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
fn pages_use_accept_language_until_visitor_chooses() {
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
    let cookie = cookies.iter().find(|cookie| cookie.starts_with("lang=ko")).expect("the choice is in a cookie");
    let cookie = cookie.split(';').next().unwrap();
    assert!(page(&format!("Accept-Language: en\r\nCookie: {cookie}\r\n")).contains(korean));
}

#[test]
fn oversized_body_and_unknown_method_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let big = format!("room=r&key={}&text={}", fresh_key(), "x".repeat(70_000));
    assert_eq!(server.post("/api/post", "", &big).status, 413);
    assert_eq!(server.request("DELETE", "/r/a", "Sec-Fetch-Site: same-origin\r\n").status, 405);
}

#[test]
fn help_lists_flags_variables_and_defaults() {
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
fn data_folder_is_created_with_private_key_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("deep/data");
    let _server = Setup::in_folder(&data).start();
    assert!(data.join("noom.sqlite3").exists());
    assert_eq!(std::fs::metadata(data.join("session.key")).unwrap().permissions().mode() & 0o777, 0o600);
}
