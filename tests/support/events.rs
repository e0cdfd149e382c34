//! The fallback transport: frames from the server as server-sent events, frames to it as POSTs.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{Received, Server};

/// One connection.
pub struct Events {
    address: SocketAddr,
    cookie: String,
    /// Identifies the connection in the path of its POSTs.
    pub token: String,
    /// The head of the response that carries the stream.
    pub head: String,
    down: BufReader<TcpStream>,
    /// Bytes of the stream that are not parsed yet.
    text: String,
    /// Answer pings, which keeps the connection open.
    pub answers_pings: bool,
}

impl Events {
    /// Opens a stream and reads its token.
    pub async fn open(server: &Server, cookie: &str) -> Self {
        let address = server.address;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
             Sec-Fetch-Site: same-origin\r\nCookie: {cookie}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut down = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(down.read_line(&mut head).await.unwrap() > 0, "the head ends: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let cookie = cookie.to_owned();
        let mut events =
            Self { address, cookie, token: String::new(), head, down, text: String::new(), answers_pings: true };
        let (name, token) = events.next().await.expect("the first event has the token");
        assert_eq!(name, "token");
        events.token = token;
        events
    }

    /// The next event as (name, data).
    pub async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                let event = (field("event").unwrap_or("message").to_owned(), field("data").unwrap_or("").to_owned());
                self.text = rest.to_owned();
                return Some(event);
            }
            // A chunk: its size, its bytes, a line end. The last one is empty.
            let mut size = String::new();
            self.down.read_line(&mut size).await.ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok().filter(|size| *size > 0)?;
            let mut bytes = vec![0; size + 2];
            self.down.read_exact(&mut bytes).await.ok()?;
            self.text.push_str(std::str::from_utf8(&bytes[..size]).unwrap());
        }
    }

    /// The next frame, or the end of the connection. Answers pings.
    pub async fn receive(&mut self) -> Received {
        loop {
            match self.next().await {
                Some((name, _)) if name == "ping" => {
                    if self.answers_pings {
                        self.post(b"").await;
                    }
                }
                Some((name, code)) if name == "close" => return Received::Closed(code.parse().unwrap()),
                Some((name, frame)) => {
                    assert_eq!(name, "message");
                    return Received::Frame(serde_json::from_str(&frame).unwrap());
                }
                None => return Received::Disconnected,
            }
        }
    }

    /// Posts a body; returns the status.
    pub async fn post(&self, body: &[u8]) -> u16 {
        self.post_as(&self.cookie, body).await
    }

    /// Posts a body with a cookie; returns the status.
    pub async fn post_as(&self, cookie: &str, body: &[u8]) -> u16 {
        let mut stream = self.begin(cookie, body.len()).await;
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Sends the head of a POST whose body will have this length.
    pub async fn begin(&self, cookie: &str, length: usize) -> TcpStream {
        let (address, token) = (self.address, &self.token);
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /events/{token} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Sec-Fetch-Site: same-origin\r\nCookie: {cookie}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}
