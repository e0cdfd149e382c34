// Rooms as Bun topics. The server publishes, so the sender receives its own message too.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("expected a WebSocket upgrade", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    message(socket, data) {
      const { type, payload } = JSON.parse(data);
      if (type === "enter_room") {
        socket.subscribe(payload.room);
        socket.send(JSON.stringify({ type: "ack", payload: {} }));
      } else if (type === "new_message" && socket.isSubscribed(payload.room)) {
        const { room, text } = payload;
        server.publish(room, JSON.stringify({ type: "new_message", payload: { room, text } }));
      }
    },
  },
});

console.log(`listening on 127.0.0.1:${server.port}`);
