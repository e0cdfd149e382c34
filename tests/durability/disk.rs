//! Full, slow and read-only disks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Client, Received, Server, Setup, fresh_key};
use crate::{all_messages, integrity};

fn generous(folder: &Path) -> Command {
    Setup::in_folder(folder)
        .limit("messages_per_second", 100_000)
        .limit("message_burst", 100_000)
        .limit("signals_per_second", 100_000)
        .limit("signal_burst", 100_000)
        .command()
}

/// Wraps `command` in a shell script that ends in `exec "$@"`. `$0` in the script is the data folder.
fn through(wrapper: &[&str], script: &str, folder: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped.args(&wrapper[1..]).args(["sh", "-c", script]).arg(folder);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.stdout(std::process::Stdio::piped());
    wrapped
}

/// A server on a small disk.
struct SmallDisk {
    server: Server,
    /// The path of its data folder as seen from this process.
    data: PathBuf,
    /// A file that occupies space and can be removed. `None` if the disk is simulated by a file size limit.
    ballast: Option<PathBuf>,
}

impl SmallDisk {
    /// Uses a tmpfs of 2 MiB in a mount namespace of its own. Where namespaces are not permitted, it uses a
    /// file size limit instead: the write fails at the same point.
    fn start(folder: &Path) -> Self {
        const MOUNT: &str = "mount -t tmpfs -o size=2m noom \"$0\"";
        let namespaces: [&[&str]; 2] = [&["unshare", "--mount"], &["unshare", "--mount", "--map-root-user"]];
        let works = |wrapper: &&&[&str]| {
            let probe = Command::new(wrapper[0]).args(&wrapper[1..]).args(["sh", "-c", MOUNT]).arg(folder).output();
            probe.is_ok_and(|probe| probe.status.success())
        };
        match namespaces.iter().find(works) {
            Some(wrapper) => {
                eprintln!("the small disk is a tmpfs of 2 MiB");
                let script = format!("{MOUNT} && head -c 1048576 /dev/zero > \"$0/ballast\" && exec \"$@\"");
                let server = Server::spawn(through(wrapper, &script, folder, &generous(folder)));
                let data = PathBuf::from(format!("/proc/{}/root{}", server.pid(), folder.display()));
                Self { server, ballast: Some(data.join("ballast")), data }
            }
            None => {
                eprintln!("the small disk is a limit of 600 KiB on the size of files");
                Self { server: start_under_a_limit(folder, 600), data: folder.to_owned(), ballast: None }
            }
        }
    }

    fn make_space(&self) {
        match &self.ballast {
            Some(ballast) => std::fs::remove_file(ballast).unwrap(),
            None => limit_files(&self.server, "unlimited"),
        }
    }
}

fn start_under_a_limit(folder: &Path, kib: u64) -> Server {
    // With SIGXFSZ ignored, a write beyond the limit fails instead of killing the process. `ulimit` counts blocks
    // of 512 bytes.
    let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", kib * 2);
    Server::spawn(through(&["env"], &script, folder, &generous(folder)))
}

fn limit_files(server: &Server, bytes: &str) {
    let limit = ["--pid".to_owned(), server.pid().to_string(), format!("--fsize={bytes}:")];
    assert!(Command::new("prlimit").args(limit).status().unwrap().success());
}

#[tokio::test]
async fn full_disk_refuses_posts_serves_history_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let small = SmallDisk::start(folder.path());
    let mut ann = Client::in_room(&small.server, "r").await;
    let text = "x".repeat(4_000);
    let (mut stored, refused) = (0_u64, fresh_key());
    loop {
        let answer = ann.answer("new_message", json!({"room": "r", "key": fresh_key(), "text": text})).await;
        if answer["type"] == "error" {
            assert_eq!(answer["payload"]["code"], "STORE_UNAVAILABLE");
            break;
        }
        stored += 1;
    }
    assert!(stored > 5);
    let again = json!({"room": "r", "key": refused, "text": text});
    assert_eq!(ann.refusal("new_message", again.clone()).await, "STORE_UNAVAILABLE");
    let served = all_messages(&mut ann, "r").await;
    assert_eq!(served.len() as u64, stored, "no message is lost or partly written");

    small.make_space();
    assert_eq!(ann.ask("new_message", again).await["seq"], stored + 1, "the same server accepts messages again");
    for _ in 0..20 {
        ann.post("r", &text).await;
    }
    let served = all_messages(&mut ann, "r").await;
    let (kept, data) = (tempfile::tempdir().unwrap(), &small.data);
    for name in ["noom.sqlite3", "noom.sqlite3-wal"] {
        std::fs::copy(data.join(name), kept.path().join(name)).unwrap();
    }
    drop((ann, small));
    assert_eq!(integrity(kept.path()), "ok");
    let server = Server::generous(kept.path());
    let mut ann = Client::in_room(&server, "r").await;
    assert_eq!(all_messages(&mut ann, "r").await, served);
}

/// Files that are immutable until this is dropped, even for descriptors that are already open.
struct Frozen(Vec<PathBuf>);

impl Frozen {
    /// Returns `None` if the file system or missing privileges do not permit it.
    fn try_new(paths: Vec<PathBuf>) -> Option<Self> {
        let done = Command::new("chattr").arg("+i").args(&paths).output();
        let frozen = Self(paths);
        done.is_ok_and(|output| output.status.success()).then_some(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").args(&self.0).output();
    }
}

#[tokio::test]
async fn read_only_database_refuses_posts_serves_history_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_under_a_limit(folder.path(), 1_000_000);
    let mut ann = Client::in_room(&server, "r").await;
    ann.post("r", "before").await;

    let files = ["noom.sqlite3", "noom.sqlite3-wal"].map(|name| folder.path().join(name));
    let frozen = Frozen::try_new(files.into());
    if frozen.is_some() {
        eprintln!("the files are made immutable");
    } else {
        eprintln!("files cannot be made immutable here; their size is limited to one byte instead");
        limit_files(&server, "1");
    }
    for _ in 0..3 {
        let message = json!({"room": "r", "key": fresh_key(), "text": "meanwhile"});
        assert_eq!(ann.refusal("new_message", message).await, "STORE_UNAVAILABLE");
    }
    assert_eq!(ann.refusal("enter_room", json!({"room": "a new one"})).await, "STORE_UNAVAILABLE");
    let mut bob = Client::in_room(&server, "r").await;
    assert_eq!(all_messages(&mut bob, "r").await.len(), 1);

    drop(frozen);
    limit_files(&server, "unlimited");
    assert_eq!(ann.post("r", "after").await["seq"], 2, "the same server accepts messages again");
    assert_eq!(bob.until_type("new_message").await["payload"]["text"], "after");
}

#[tokio::test]
async fn slow_disk_refuses_excess_posts_and_bounds_memory() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::spawn(generous(folder.path()));
    let mut ann = Client::in_room(&server, "r").await;
    let before = server.resident_kib();
    // An open write transaction blocks all other writers.
    let blocker = Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();

    // Four times the capacity of the write queue.
    let text = "한".repeat(4_000);
    let mut asked: BTreeSet<u64> = BTreeSet::new();
    let mut refusals = Vec::new();
    for _ in 0..2_800 {
        asked.insert(ann.command("new_message", json!({"room": "r", "key": fresh_key(), "text": text})).await);
    }
    while refusals.len() < 1_400 {
        let refusal = ann.until(|frame| frame["type"] == "error").await;
        assert!(asked.remove(&refusal["id"].as_u64().unwrap()));
        refusals.push(refusal["payload"].clone());
    }
    let grown = server.resident_kib() - before;
    assert!(grown < 64 * 1_024, "{grown} KiB more");

    blocker.execute_batch("ROLLBACK").unwrap();
    let mut stored: BTreeSet<u64> = BTreeSet::new();
    while !asked.is_empty() {
        let Received::Frame(frame) = ann.receive().await else { panic!("the connection ended") };
        let Some(id) = frame["id"].as_u64() else { continue };
        assert!(asked.remove(&id), "each command gets one answer");
        match frame["type"].as_str() {
            Some("ack") => assert!(stored.insert(frame["payload"]["seq"].as_u64().unwrap())),
            _ => refusals.push(frame["payload"].clone()),
        }
    }
    // A batch that has waited longer than the busy timeout is refused as well.
    let code = |refusal: &Value| refusal["code"].as_str().unwrap().to_owned();
    let codes: BTreeSet<_> = refusals.iter().map(code).collect();
    assert!(codes.contains("RATE_LIMITED") && codes.iter().all(|code| code != "BAD_JSON"), "{codes:?}");
    assert!(refusals.iter().all(|refusal| code(refusal) != "RATE_LIMITED" || refusal["retry_after_ms"].is_u64()));
    assert!(stored.len() > 100, "{} stored", stored.len());
    let logged = all_messages(&mut ann, "r").await.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!(stored, logged, "exactly the acknowledged messages are stored");
}
