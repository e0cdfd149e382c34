//! A minimal WebSocket client (RFC 6455). It does as little work as possible, because a load generator must do less than
//! the server it measures. It does not validate what the server sends; the tests check conformance.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Outcome;

/// Read timeout while a client joins.
const TIMEOUT: Duration = Duration::from_secs(20);

// Opcodes of RFC 6455, section 5.2.
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A text frame's payload.
    Text(&'a [u8]),
    /// A ping's payload, to be echoed in a pong.
    Ping(&'a [u8]),
    /// The server closes the connection.
    Close,
    /// Any other opcode; ignored.
    Other,
}

/// Opens a WebSocket. Also returns the bytes received after the head of the response.
pub(crate) fn open(address: SocketAddr, path: &str) -> Outcome<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(upgrade_request(address, path).as_bytes())?;
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

/// The request that opens a WebSocket.
pub(crate) fn upgrade_request(address: SocketAddr, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm9vbSBpcyBtZWFzdXJlZA==\r\n\r\n"
    )
}

/// Sends a text frame.
pub(crate) fn send_text(stream: &mut TcpStream, text: &str) -> Outcome<()> {
    let mut frame = Vec::new();
    write_text(&mut frame, text);
    Ok(stream.write_all(&frame)?)
}

/// Reads until a text frame contains `wanted`, and removes it and all frames before it from `waiting`. Returns its text.
pub(crate) fn wait_for(stream: &mut TcpStream, waiting: &mut Vec<u8>, wanted: &str) -> Outcome<Vec<u8>> {
    loop {
        let (mut at, mut found) = (0, None);
        while let Some((frame, length)) = next(&waiting[at..]) {
            at += length;
            if let Frame::Text(text) = frame
                && memchr::memmem::find(text, wanted.as_bytes()).is_some()
            {
                found = Some(text.to_vec());
                break;
            }
        }
        waiting.drain(..at);
        if let Some(text) = found {
            return Ok(text);
        }
        read_some(stream, waiting).map_err(|error| format!("while waiting for {wanted}: {error}"))?;
    }
}

/// Parses the first complete frame in `bytes`. Returns it with its length including the header.
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

/// Appends a text frame to `bytes`. Clients must mask (RFC 6455, section 5.3); a mask of zeros leaves the text unchanged.
pub(crate) fn write_text(bytes: &mut Vec<u8>, text: &str) {
    write(bytes, TEXT, text.as_bytes());
}

/// Appends a pong to `bytes`.
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
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("timed out waiting for the server".into()),
        Err(error) => Err(error.into()),
    }
}
