//! Rooms as socketioxide has them: the server says it to everyone in the room, the sender too.

use std::future::ready;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};

#[derive(Deserialize)]
struct EnterRoom {
    room: String,
}

#[derive(Deserialize, Serialize)]
struct NewMessage {
    room: String,
    text: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // Its buffer of 128 packets a connection is too small to carry more than it can write at once.
    let (layer, io) = SocketIo::builder().max_buffer_size(4_096).build_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("enter_room", async |socket: SocketRef, Data::<EnterRoom>(wanted), ack: AckSender| {
            socket.join(wanted.room);
            let _ = ack.send::<[(); 0]>(&[]);
        });
        // What an async handler waits for is done in a task of its own, and messages would pass each other. So it is
        // done before: on one machine, sending to a room never waits.
        socket.on("new_message", |socket: SocketRef, io: SocketIo, Data::<NewMessage>(message)| {
            if socket.rooms().iter().any(|room| *room == message.room) {
                let _ = io.to(message.room.clone()).emit("new_message", &message).now_or_never();
            }
            ready(())
        });
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, axum::Router::new().layer(layer)).await
}
