import { readFileSync } from "node:fs";
import { connection } from "next/server";
import { Room } from "./room";

// Messages come from memory: reading a database would only slow this server down.
const messages = process.env.ROOM_FILE ? JSON.parse(readFileSync(process.env.ROOM_FILE)) : [];

export default async function Page({ params }) {
  await connection();
  const { room } = await params;
  return <Room room={room} messages={messages} me={{ id: "77e6ee9e1705e03d", nickname: "Anon9859" }} />;
}
