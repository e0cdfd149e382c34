// A client written from PROTOCOL.md, without code of the project.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import WebSocket from "ws";
import { expect, test } from "./support";

test("client written from PROTOCOL.md posts, loses its connection and misses nothing", async ({ server }) => {
  const connect = async (resume?: string) => {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/ws`, { headers: { origin: server.url } });
    const frames: any[] = [];
    socket.on("message", (data) => frames.push(JSON.parse(data.toString())));
    await once(socket, "open");
    const until = async (wanted: (frame: any) => boolean) => {
      while (!frames.some(wanted)) await once(socket, "message");
      return frames.find(wanted);
    };
    let id = 0;
    const request = async (type: string, payload: object) => {
      const own = ++id;
      socket.send(JSON.stringify({ type, payload, id: own }));
      const answer = await until((frame) => frame.id === own);
      expect(answer.type).toBe("ack");
      return answer.payload;
    };
    const hello = await request("hello", { protocol: 2, ...(resume ? { resume } : {}) });
    return { socket, request, until, hello };
  };

  const ann = await connect();
  const bob = await connect();
  const { room } = await ann.request("enter_room", { name: "garden" });
  const entered = await bob.request("enter_room", { name: "garden" });
  expect(entered).toMatchObject({ room, name: "garden", head: 0, count: 2, messages: [], recovered: false });
  const key = randomUUID();
  const ack = await ann.request("new_message", { room, key, text: "hello" });
  expect(ack).toMatchObject({ room, key, seq: 1 });
  const received = await bob.until((frame) => frame.type === "new_message");
  expect(received.payload).toMatchObject({ seq: 1, key, text: "hello", user: ann.hello.user });

  bob.socket.terminate();
  await ann.request("new_message", { room, key: randomUUID(), text: "are you there?" });
  const again = await connect(bob.hello.resume);
  expect(again.hello.user).toEqual(bob.hello.user);
  const resumed = await again.request("enter_room", {
    name: "garden",
    room,
    after: { epoch: entered.epoch, seq: 1, rev: 0 },
  });
  expect(resumed.recovered).toBe(true);
  expect(resumed.messages.map((message: any) => message.text)).toEqual(["are you there?"]);
  again.socket.close();
  ann.socket.close();
});
