//! The HTTP load generator: keep-alive connections that each request the page again as soon as it has arrived (closed
//! loop).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::Outcome;

/// Concurrent connections.
const CONNECTIONS: usize = 8;

/// Counters shared by the load's threads.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pages: AtomicU64,
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl Counts {
    /// Pages and bytes received so far.
    pub(crate) fn now(&self) -> (u64, u64) {
        (self.pages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Keeps requesting a page on all connections while `measure` runs.
pub(crate) fn under_load<T>(
    address: SocketAddr,
    path: &str,
    measure: impl FnOnce(&Counts) -> Outcome<T>,
) -> Outcome<T> {
    let counts = Counts::default();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| request_loop(address, path, &counts).map_err(|error| error.to_string())))
            .collect();
        let measured = measure(&counts);
        counts.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        measured
    })
}

/// Requests a page once and returns the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> Outcome<String> {
    let mut stream = connect(address)?;
    let mut buffer = Vec::new();
    get_over(&mut stream, address, path, &mut buffer)?;
    let text = String::from_utf8_lossy(&buffer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no head")?;
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok(if is_chunked { unchunk(body) } else { body.to_owned() })
}

fn request_loop(address: SocketAddr, path: &str, counts: &Counts) -> Outcome<()> {
    let mut stream = connect(address)?;
    let mut buffer = Vec::new();
    while !counts.stop.load(Ordering::Relaxed) {
        get_over(&mut stream, address, path, &mut buffer)?;
        counts.pages.fetch_add(1, Ordering::Relaxed);
        counts.bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Sends one request and reads the complete response, header included.
fn get_over(stream: &mut TcpStream, address: SocketAddr, path: &str, answer: &mut Vec<u8>) -> Outcome<()> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/html\r\nAccept-Language: en\r\n\r\n")?;
    answer.clear();
    let mut part = [0; 64 * 1024];
    while !is_whole(answer)? {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err("the server closed the connection".into());
        }
        answer.extend(&part[..length]);
    }
    Ok(())
}

fn is_whole(answer: &[u8]) -> Outcome<bool> {
    let Some(head) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(false) };
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(String::from_utf8_lossy(&answer[..head]).into_owned().into());
    }
    let fields = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    match fields.lines().find_map(|line| line.strip_prefix("content-length:")) {
        Some(length) => Ok(answer.len() >= head + 4 + length.trim().parse::<usize>()?),
        None => Ok(answer.ends_with(b"0\r\n\r\n")),
    }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = Vec::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        whole.extend(&rest.as_bytes()[..size]);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    String::from_utf8_lossy(&whole).into_owned()
}
