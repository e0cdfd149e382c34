import { readFileSync } from 'node:fs';
import { env } from 'node:process';

// From memory: a database would make it slower than this.
const messages = env.ROOM_FILE ? JSON.parse(readFileSync(env.ROOM_FILE)) : [];

export function load({ params }) {
  return { room: params.room, messages, me: { id: '77e6ee9e1705e03d', nickname: 'Anon9859' } };
}
