import { readFileSync } from "node:fs";
import { env } from "node:process";

// Messages come from memory: reading a database would only slow this server down.
const messages = env.ROOM_FILE ? JSON.parse(readFileSync(env.ROOM_FILE)) : [];

export function load({ params }) {
  return { room: params.room, messages, me: { id: "77e6ee9e1705e03d", nickname: "Anon9859" } };
}
