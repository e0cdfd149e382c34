// Rooms over `ws`, with the broadcast loop of its documentation: encode once, send to each client.
import { WebSocketServer, WebSocket } from "ws";

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });

server.on("connection", (socket) => {
  const entered = new Set();
  socket.on("message", (data) => {
    const { type, payload } = JSON.parse(data);
    if (type === "enter_room") {
      if (!rooms.has(payload.room)) rooms.set(payload.room, new Set());
      rooms.get(payload.room).add(socket);
      entered.add(payload.room);
      socket.send(JSON.stringify({ type: "ack", payload: {} }));
    } else if (type === "new_message" && entered.has(payload.room)) {
      const { room, text } = payload;
      const frame = JSON.stringify({ type: "new_message", payload: { room, text } });
      for (const member of rooms.get(room)) {
        if (member.readyState === WebSocket.OPEN) member.send(frame);
      }
    }
  });
  socket.on("close", () => entered.forEach((room) => rooms.get(room).delete(socket)));
});

server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
