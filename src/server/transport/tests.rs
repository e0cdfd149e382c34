use leptos::config::LeptosOptions;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::server::attachments::Attachments;
use crate::server::call::ice::IceSettings;
use crate::server::config::{Config, FileStore, LimitSettings, TrustedProxies};
use crate::server::identity::Identity;
use crate::server::page_threads::PageThreads;
use crate::server::store::Store;

/// A transport whose other ends the test has. It panics when the test drops `up`.
struct TestTransport {
    up: UnboundedReceiver<String>,
    down: UnboundedSender<String>,
}

impl Transport for TestTransport {
    async fn receive(&mut self) -> Received {
        Received::Frame(self.up.recv().await.expect("a transport that panics").into())
    }

    async fn write(&mut self, frames: VecDeque<Utf8Bytes>) -> Result<(), Disconnected> {
        frames.iter().try_for_each(|frame| self.down.send(frame.to_string())).map_err(|_| Disconnected)
    }

    async fn ping(&mut self) -> Result<(), Disconnected> {
        Ok(())
    }

    async fn close(self, end: End) {
        let _ = self.down.send(format!("{end:?}"));
    }
}

fn server(folder: &std::path::Path) -> Arc<Server> {
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        data_dir: folder.to_owned(),
        job: None,
        tls: None,
        leptos: LeptosOptions::builder().output_name("noom").build(),
        public_url: None,
        message_days: None,
        allowed_hosts: None,
        trusted_proxies: TrustedProxies::None,
        hsts_seconds: 0,
        index_rooms: false,
        json_logs: false,
        files: FileStore::default(),
        ice: IceSettings::default(),
        limits: LimitSettings::default(),
    };
    let (identity, store) = (Identity::load(folder, false).unwrap(), Store::open(folder, "e").unwrap());
    let store = Arc::new(store);
    let attachments = Attachments::open(store.clone(), folder, &config.files, &config.limits).unwrap();
    let server = Arc::new(Server::new(config, None, identity, store, attachments, PageThreads::start().unwrap()));
    server.hub.spawn_workers();
    server
}

fn connect(server: &Arc<Server>) -> (UnboundedSender<String>, UnboundedReceiver<String>) {
    let ((send, up), (down, received)) = (unbounded_channel(), unbounded_channel());
    let admitted = Admitted::admit(server, ([127, 0, 0, 1], 9).into(), &HeaderMap::new()).unwrap();
    tokio::spawn(serve(server.clone(), TestTransport { up, down }, admitted));
    send.send(r#"{"type":"hello","payload":{"protocol":2},"id":1}"#.into()).unwrap();
    send.send(r#"{"type":"enter_room","payload":{"name":"r"},"id":2}"#.into()).unwrap();
    (send, received)
}

async fn until(received: &mut UnboundedReceiver<String>, part: &str) -> String {
    loop {
        let frame = received.recv().await.expect("the connection is open");
        if frame.contains(part) {
            return frame;
        }
    }
}

/// A connection that has entered the room, and the room's id.
async fn enter(server: &Arc<Server>) -> (UnboundedSender<String>, UnboundedReceiver<String>, String) {
    let (send, mut received) = connect(server);
    let entered = until(&mut received, r#""id":2"#).await;
    let room = entered.split_once(r#""room":""#).expect("the room").1[..16].to_owned();
    (send, received, room)
}

#[tokio::test]
async fn connection_panic_closes_only_that_connection() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let (ann, mut to_ann, room) = enter(&server).await;
    let (bob, mut to_bob, _) = enter(&server).await;
    drop(bob);
    until(&mut to_bob, "Close(Internal)").await;
    let key = "5f0c9f0e-7b0e-4c8e-9a53-1d3f5f0b7c11";
    let post = format!(r#"{{"room":"{room}","key":"{key}","text":"x"}}"#);
    ann.send(format!(r#"{{"type":"new_message","payload":{post},"id":3}}"#)).unwrap();
    until(&mut to_ann, key).await;
    assert_eq!(server.hub.outboxes().len(), 1, "its slot is free again");
}

#[tokio::test]
async fn frames_are_written_while_a_command_waits() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let (ann, mut to_ann, _) = enter(&server).await;
    let (bob, _to_bob, room) = enter(&server).await;
    // A new room has to be stored, which waits for this transaction.
    let blocker = rusqlite::Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    ann.send(r#"{"type":"enter_room","payload":{"name":"new"},"id":3}"#.into()).unwrap();
    bob.send(format!(r#"{{"type":"typing","payload":{{"room":"{room}"}}}}"#)).unwrap();
    loop {
        let frame = to_ann.recv().await.expect("the connection is open");
        assert!(!frame.contains(r#""id":3"#), "the command is answered first");
        if frame.contains(r#""type":"typing""#) {
            break;
        }
    }
    blocker.execute_batch("ROLLBACK").unwrap();
    until(&mut to_ann, r#""id":3"#).await;
}
