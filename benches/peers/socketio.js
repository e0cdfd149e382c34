// Socket.IO rooms. The server emits to everyone in the room, including the sender.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { perMessageDeflate: false, httpCompression: false, transports: ["websocket"] });

io.on("connection", (socket) => {
  socket.on("enter_room", ({ room }, done) => {
    socket.join(room);
    done();
  });
  socket.on("new_message", ({ room, text }) => {
    if (socket.rooms.has(room)) io.to(room).emit("new_message", { room, text });
  });
});

http.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${http.address().port}`));
