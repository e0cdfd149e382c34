//! Baseline: the least that any server must do. It sends each received text to all clients unchanged, with `send()` and
//! without rooms, JSON or a second thread.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use super::socket;
use crate::Outcome;

/// Serves until killed. Batches `gather` messages into each `send()`.
pub(crate) fn serve(gather: usize) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, epoll::EventData::new_u64(u64::MAX), epoll::EventFlags::IN)?;
    let mut clients: Vec<Client> = Vec::new();
    let mut events = Vec::with_capacity(64);
    let mut buffer = vec![0; 64 * 1024];
    let (mut gathered, mut frames) = (0, Vec::new());
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in &events {
            let data = event.data;
            let index = data.u64();
            if index == u64::MAX {
                let stream = upgrade(listener.accept()?.0)?;
                epoll::add(&poll, &stream, epoll::EventData::new_u64(clients.len() as u64), epoll::EventFlags::IN)?;
                clients.push(Client { stream, unread: Vec::new() });
                continue;
            }
            let client = &mut clients[index as usize];
            let length = client.stream.read(&mut buffer)?;
            if length == 0 {
                epoll::delete(&poll, &client.stream)?;
                continue;
            }
            client.unread.extend(&buffer[..length]);
            while let Some(text) = take_text(&mut clients[index as usize].unread) {
                frames.extend([0x81, 126]);
                frames.extend((text.len() as u16).to_be_bytes());
                frames.extend(text);
                gathered += 1;
                if gathered == gather {
                    for client in &mut clients {
                        client.stream.write_all(&frames)?;
                    }
                    gathered = 0;
                    frames.clear();
                }
            }
        }
    }
}

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// Answers an upgrade request. The accept key is left out, because the load does not check it.
fn upgrade(mut stream: TcpStream) -> Outcome<TcpStream> {
    stream.set_nodelay(true)?;
    let mut request = [0; 4_096];
    let _ = stream.read(&mut request)?;
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
    Ok(stream)
}

/// Removes the first complete frame and returns its text, which is masked with zeros.
fn take_text(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    const MASK: usize = 4;
    let (_, size) = socket::next(unread)?;
    let head = if unread[1] & 0x7f == 126 { 4 } else { 2 };
    let text = unread.get(head + MASK..size + MASK)?.to_vec();
    unread.drain(..size + MASK);
    Some(text)
}
