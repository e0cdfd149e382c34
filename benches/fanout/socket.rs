//! The client's side of a WebSocket (RFC 6455), as cheap as can be: a load generator must do less work than
//! the server it measures. It trusts the server; whether that keeps to the RFC is for the tests.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

/// No answer takes longer while a client enters.
const PATIENCE: Duration = Duration::from_secs(20);

/// A frame's kind.
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// Text.
    Text(&'a [u8]),
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// It closes.
    Close,
    /// Nothing of interest.
    Other,
}

/// Opens a WebSocket. What came behind the answer's head is in the second.
pub(crate) fn open(address: SocketAddr, path: &str) -> Outcome<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm9vbSBpcyBtZWFzdXJlZA==\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let end = loop {
        if let Some(at) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            break at + 4;
        }
        read_some(&mut stream, &mut answer)?;
    };
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        return Err(format!("the upgrade was refused: {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok((stream, answer.split_off(end)))
}

/// Reads until a text frame holds `wanted`; the frames up to it are taken out of `waiting`.
pub(crate) fn wait_for(stream: &mut TcpStream, waiting: &mut Vec<u8>, wanted: &str) -> Outcome<()> {
    loop {
        let (mut at, mut found) = (0, false);
        while let Some((frame, length)) = next(&waiting[at..]) {
            at += length;
            if let Frame::Text(text) = frame
                && memchr::memmem::find(text, wanted.as_bytes()).is_some()
            {
                found = true;
                break;
            }
        }
        waiting.drain(..at);
        if found {
            return Ok(());
        }
        read_some(stream, waiting).map_err(|error| format!("while waiting for {wanted}: {error}"))?;
    }
}

/// The first whole frame in `bytes`, and its length with its head.
pub(crate) fn next(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (kind, short) = (bytes.first()? & 0xf, bytes.get(1)? & 0x7f);
    let (head, length) = match short {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, short as usize),
    };
    let payload = bytes.get(head..head + length)?;
    let frame = match kind {
        TEXT => Frame::Text(payload),
        PING => Frame::Ping(payload),
        CLOSE => Frame::Close,
        _ => Frame::Other,
    };
    Some((frame, head + length))
}

/// Adds a text frame to `bytes`, masked as clients must; a mask of zeros leaves the text as it is.
pub(crate) fn write_text(bytes: &mut Vec<u8>, text: &str) {
    write(bytes, TEXT, text.as_bytes());
}

/// Adds the answer to a ping.
pub(crate) fn write_pong(bytes: &mut Vec<u8>, payload: &[u8]) {
    write(bytes, PONG, payload);
}

fn write(bytes: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    bytes.push(0x80 | kind);
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | length as u8),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
}

fn read_some(stream: &mut TcpStream, into: &mut Vec<u8>) -> Outcome<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) => Err("the server closed the connection".into()),
        Ok(length) => {
            into.extend(&buffer[..length]);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("no answer".into()),
        Err(error) => Err(error.into()),
    }
}
