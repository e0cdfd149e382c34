//! socketioxide rooms. The server emits to everyone in the room, including the sender.

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
    // The default buffer of 128 packets per connection overflows under this load.
    let (layer, io) = SocketIo::builder().max_buffer_size(4_096).build_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on("enter_room", async |socket: SocketRef, Data::<EnterRoom>(request), ack: AckSender| {
            socket.join(request.room);
            let _ = ack.send::<[(); 0]>(&[]);
        });
        // An async handler runs in its own task, so messages could overtake each other. Emitting here keeps their order;
        // `now_or_never` suffices because emitting to a room on one node never waits.
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
