"""A call participant written with aiortc from PROTOCOL.md, without code of the project.

Usage: peer.py URL ROOM NICKNAME. Joins the call of the room, and sends video, a tone and a raised hand. Prints
a report of what it receives as one JSON line per second, until its standard input ends.
"""

import asyncio
import fractions
import json
import math
import struct
import sys
import time

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame, VideoFrame
from websockets.asyncio.client import connect


class Picture(MediaStreamTrack):
    """A moving pattern at 15 frames per second."""

    kind = "video"

    def __init__(self):
        super().__init__()
        self.count = 0
        self.started = time.monotonic()

    async def recv(self):
        await asyncio.sleep(max(0, self.started + self.count / 15 - time.monotonic()))
        frame = VideoFrame(320, 240, "yuv420p")
        for index, plane in enumerate(frame.planes):
            rows = [(x // 8 * 16 + self.count * 8) % 200 + 20 for x in range(plane.line_size)]
            line = bytes(rows) if index == 0 else bytes([128]) * plane.line_size
            plane.update(line * plane.height)
        frame.pts, frame.time_base = self.count * 6000, fractions.Fraction(1, 90000)
        self.count += 1
        return frame


class Tone(MediaStreamTrack):
    """A sine wave of 440 Hz."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.count = 0
        self.started = time.monotonic()

    async def recv(self):
        await asyncio.sleep(max(0, self.started + self.count * 0.02 - time.monotonic()))
        frame = AudioFrame(format="s16", layout="mono", samples=960)
        at = self.count * 960
        wave = [int(9000 * math.sin(2 * math.pi * 440 * (at + n) / 48000)) for n in range(960)]
        frame.planes[0].update(struct.pack("<960h", *wave))
        frame.pts, frame.sample_rate, frame.time_base = at, 48000, fractions.Fraction(1, 48000)
        self.count += 1
        return frame


class Peer:
    def __init__(self, socket, name):
        # The id of the room is known when it was entered.
        self.socket, self.name, self.room = socket, name, None
        self.next_id, self.answers = 0, {}
        self.connections = {}
        self.received = {"video": 0, "audio": 0, "loudest": 0, "messages": [], "left": []}

    async def request(self, kind, payload):
        self.next_id += 1
        answer = self.answers[self.next_id] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"type": kind, "payload": payload, "id": self.next_id}))
        return await answer

    async def listen(self):
        async for text in self.socket:
            frame = json.loads(text)
            if "id" in frame:
                answer = self.answers.pop(frame["id"])
                if frame["type"] == "ack":
                    answer.set_result(frame["payload"])
                else:
                    answer.set_exception(RuntimeError(text))
            else:
                asyncio.ensure_future(self.handle(frame["type"], frame["payload"]))

    def connection(self, peer):
        if peer in self.connections:
            return self.connections[peer]
        connection = self.connections[peer] = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.addTrack(Tone())
        connection.addTrack(Picture())
        channel = connection.createDataChannel("noom", negotiated=True, id=0)

        @channel.on("open")
        def opened():
            channel.send(json.dumps({"type": "hand", "payload": {"on": True}}))

        @channel.on("message")
        def message(text):
            self.received["messages"] = (self.received["messages"] + [json.loads(text)["type"]])[-20:]

        @connection.on("track")
        def track(track):
            asyncio.ensure_future(self.count(track))

        return connection

    async def count(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.received[track.kind] += 1
            if track.kind == "audio":
                samples = memoryview(bytes(frame.planes[0])).cast("h")
                self.received["loudest"] = max(self.received["loudest"], max(samples))

    async def describe(self, peer, kind, connection):
        description = {"type": kind, "sdp": connection.localDescription.sdp}
        await self.request(kind, {"room": self.room, "peer": peer, "description": description})

    async def handle(self, kind, payload):
        peer = payload.get("peer")
        if kind == "offer":
            connection = self.connection(peer)
            await connection.setRemoteDescription(RTCSessionDescription(**payload["description"]))
            await connection.setLocalDescription(await connection.createAnswer())
            await self.describe(peer, "answer", connection)
        elif kind == "answer":
            await self.connection(peer).setRemoteDescription(RTCSessionDescription(**payload["description"]))
        elif kind == "ice" and payload.get("candidate", {}).get("candidate"):
            init = payload["candidate"]
            candidate = candidate_from_sdp(init["candidate"].split(":", 1)[1])
            candidate.sdpMid, candidate.sdpMLineIndex = init.get("sdpMid"), init.get("sdpMLineIndex")
            await self.connection(peer).addIceCandidate(candidate)
        elif kind == "call_left" and peer in self.connections:
            self.received["left"].append(peer)
            await self.connections.pop(peer).close()

    async def join(self, nickname):
        await self.request("hello", {"protocol": 2})
        await self.request("nickname", {"nickname": nickname})
        entered = await self.request("enter_room", {"name": self.name})
        self.room = entered["room"]
        ack = await self.request("join_call", {"room": self.room})
        await self.request("media", {"room": self.room, "audio": True, "video": True, "screen": False})
        # The peer that joins sends an offer to each peer in the call.
        for other in ack["peers"]:
            connection = self.connection(other["peer"])
            await connection.setLocalDescription(await connection.createOffer())
            await self.describe(other["peer"], "offer", connection)


async def main(url, name, nickname):
    async with connect(url.replace("http", "ws", 1) + "/ws", origin=url) as socket:
        peer = Peer(socket, name)
        listening = asyncio.ensure_future(peer.listen())
        await peer.join(nickname)
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        while not ended.done() and not listening.done():
            print(json.dumps(peer.received), flush=True)
            await asyncio.wait([ended], timeout=1)
        for connection in list(peer.connections.values()):
            await connection.close()


asyncio.run(main(*sys.argv[1:4]))
