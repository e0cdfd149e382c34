//! Quotas for what is stored.

use serde_json::json;

use crate::all_messages;
use crate::support::{Client, Server, Setup, fresh_key};

/// A figure at `/health/live`.
fn figure(server: &Server, name: &str) -> u64 {
    let live = server.get("/health/live").body;
    let line = live.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_else(|| panic!("{name} is not in {live:?}")).parse().unwrap()
}

#[tokio::test]
async fn full_room_refuses_messages_and_other_rooms_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::in_folder(folder.path()).limit("stored_bytes_per_room", 1_000);
    let server = setup.start();
    let mut ann = Client::in_room(&server, "r").await;
    let (first, text) = (fresh_key(), "x".repeat(200));
    let message = |key: &str| json!({"room": "r", "key": key, "text": text});
    ann.ask("new_message", message(&first)).await;
    ann.post("r", &text).await;
    let before = figure(&server, "stored_bytes");
    assert_eq!(ann.refusal("new_message", message(&fresh_key())).await, "ROOM_FULL");
    assert_eq!(ann.ask("new_message", message(&first)).await["dup"], true, "it takes no more space");
    assert_eq!(figure(&server, "stored_bytes"), before);
    ann.post("r", "short").await;
    ann.ask("enter_room", json!({"room": "other"})).await;
    ann.post("other", &text).await;

    drop(server);
    let server = setup.start();
    let mut ann = Client::in_room(&server, "r").await;
    assert_eq!(ann.refusal("new_message", message(&fresh_key())).await, "ROOM_FULL", "the size survives a restart");
    assert_eq!(all_messages(&mut ann, "r").await.len(), 3);
}

#[tokio::test]
async fn full_server_refuses_what_needs_space_and_serves_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("stored_bytes", 1_000).start();
    let mut ann = Client::in_room(&server, "r").await;
    ann.post("r", &"x".repeat(700)).await;
    for (command, payload) in [
        ("new_message", json!({"room": "r", "key": fresh_key(), "text": "y".repeat(200)})),
        ("enter_room", json!({"room": "a room with a name that is so long that it takes a lot of space"})),
        ("nickname", json!({"nickname": "A nickname of 32 characters, too"})),
    ] {
        assert_eq!(ann.refusal(command, payload).await, "SERVER_FULL", "{command}");
    }
    assert_eq!(all_messages(&mut ann, "r").await.len(), 1);
    assert!(figure(&server, "stored_bytes") <= figure(&server, "stored_bytes_limit"));
    drop((ann, server));

    // The quota of a day is renewed at midnight, which the refusal tells.
    let server = Setup::in_folder(folder.path()).limit("stored_bytes_per_day", 1_000).start();
    let mut ann = Client::in_room(&server, "r").await;
    let message = json!({"room": "r", "key": fresh_key(), "text": "y".repeat(900)});
    let refused = ann.answer("new_message", message).await;
    assert_eq!(refused["payload"]["code"], "SERVER_FULL");
    assert!((1..=86_400_000).contains(&refused["payload"]["retry_after_ms"].as_u64().unwrap()));
    ann.ask("enter_room", json!({"room": "a new one"})).await;
}
