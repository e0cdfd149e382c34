//! A real S3-compatible server: `rclone serve s3` over a folder.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::Setup;

const BUCKET: &str = "noom-files";
const KEY: &str = "AKIDNOOMTEST";
const SECRET: &str = "noom-test-secret";

/// A running S3 server. Killed when dropped.
pub(crate) struct S3 {
    child: Child,
    stopped: StoppedS3,
}

/// The folder and the address of an S3 server that does not run.
pub(crate) struct StoppedS3 {
    folder: TempDir,
    address: SocketAddr,
}

impl S3 {
    /// Starts a server with an empty bucket.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        StoppedS3 { folder, address }.start_again()
    }

    /// A Noom that stores its files here.
    pub(crate) fn configure(&self, setup: Setup) -> Setup {
        setup
            .variable("NOOM_FILES_BUCKET", BUCKET)
            .variable("NOOM_FILES_ENDPOINT", &format!("http://{}", self.stopped.address))
            .variable("NOOM_FILES_ACCESS_KEY_ID", KEY)
            .variable("NOOM_FILES_SECRET_ACCESS_KEY", SECRET)
            .variable("NOOM_FILES_PREFIX", "chat")
    }

    /// The folder that has the objects.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.stopped.folder.path().join(BUCKET)
    }

    /// Ends the server, and keeps its objects.
    pub(crate) fn stop(mut self) -> StoppedS3 {
        self.end();
        let empty = StoppedS3 { folder: tempfile::tempdir().unwrap(), address: self.stopped.address };
        std::mem::replace(&mut self.stopped, empty)
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl StoppedS3 {
    /// Starts a server with the same objects at the same address.
    pub(crate) fn start_again(self) -> S3 {
        let tools = || std::env::home_dir().unwrap().join(".cache/noom/tools/s3/bin/rclone").into_os_string();
        let rclone = std::env::var_os("NOOM_RCLONE").unwrap_or_else(tools);
        let child = Command::new(&rclone)
            .args(["serve", "s3", "--config", "/dev/null", "--vfs-cache-mode", "off", "--dir-cache-time", "0"])
            .args(["--addr", &self.address.to_string(), "--auth-key", &format!("{KEY},{SECRET}")])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run scripts/setup.sh test", rclone.display()));
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < until, "the S3 server does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        S3 { child, stopped: self }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.end();
    }
}
