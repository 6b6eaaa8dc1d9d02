#!/usr/bin/env python3
"""A node on the event bus: it registers, leases a port, serves on it, stays alive, and leaves.

To be copied, with tool.py beside it. It speaks plain NATS request/reply and needs nats-py only;
docs/nodes.md says why it does what it does in this order. Ctrl-C ends it.

    pip install nats-py
    NATS_URL=nats://127.0.0.1:4222 python3 node.py [NODE_ID]
"""

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import sys
import time
import uuid

import nats

from tool import Failure, Tool

NODE_ID = sys.argv[1] if len(sys.argv) > 1 else "greeter"
# Who we are: the same after every start, so that a new start takes the old one's place at once.
REQUESTER_ID = str(uuid.uuid5(uuid.NAMESPACE_URL, f"onex:node:{NODE_ID}"))
ME = {"node_id": NODE_ID, "requester_id": REQUESTER_ID}
# The machine where the port is bound. By that name the registry knows which ports are given away.
HOST = os.environ.get("ONEX_HOST") or socket.gethostname().lower()
TTL = int(os.environ.get("ONEX_TTL") or 30)  # seconds that the node lasts without a heartbeat
GRACE = TTL / 10  # so long before they are over we begin to stop: that takes time as well
# What others see who look for the port's holder: nobody checks it. ONEX_NO_HOLDER=1 keeps it back.
HOLDER = {
    "user": os.environ.get("USER") or str(os.getuid()),
    "host": socket.gethostname(),
    "pid": os.getpid(),
    "command": os.path.basename(sys.argv[0]) or None,
}
if os.environ.get("ONEX_NO_HOLDER", "").lower() not in ("", "0", "false", "no", "off"):
    HOLDER = {}
TEXT = {"type": "string"}
A_WHILE = {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 60000, "default": 0}
GREET = {
    "name": "greet",
    "version": "1.0.0",
    "description": "Greets somebody by name.",
    "input_schema": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": TEXT, "after_ms": A_WHILE},
    },
    "output_schema": {"type": "object", "required": ["greeting"], "properties": {"greeting": TEXT}},
    "error_codes": ["NO_NAME"],
    "idempotent": True,
}
ABOUT = {"version": "1.0.0", "node_type": "tool", "host": HOST, "ttl": TTL, "tools": [GREET]}

# ---- What every node needs -----------------------------------------------------------------------


class Refused(Exception):
    """The registry said no. `code` says why (docs/errors.md): a fault to mend, or SUPERSEDED."""

    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']} {json.dumps(error['details'])}")
        self.code = error["code"]


class Over(Exception):
    """This life of the node is over: its time is up, or the registry says that it has ended."""


def now():
    """Seconds on a clock that runs while the machine sleeps, where there is one; no wall clock."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


async def ask(nc, endpoint, deadline, **fields):
    """The reply. After silence, or a refusal that may pass, the *same* request is sent again: the
    registry knows it by its request_id, so nothing is done twice."""
    body = json.dumps({"request_id": str(uuid.uuid4()), **fields}).encode()
    pause = 0.1
    while (left := deadline - now()) > 0:
        wait = min(left, 2)
        headers = {"Onex-Protocol": "1.0", "Onex-Timeout-Ms": str(int(wait * 1000) or 1)}
        pause = min(pause * 2, 2)
        try:
            subject = f"onex.registry.v1.{endpoint}"
            reply = json.loads((await nc.request(subject, body, wait, headers=headers)).data)
            if "error" not in reply:
                return reply
            error = reply["error"]
            if error["code"] in ("NODE_NOT_FOUND", "LEASE_NOT_FOUND", "LEASE_EXPIRED"):
                raise Over(error["message"])
            if not error["retryable"]:
                raise Refused(error)
            pause = max(pause, (error["retry_after_ms"] or 0) / 1000)
        except nats.errors.Error:
            pass  # nobody answered, or the server is away: nats-py connects again by itself
        await asyncio.sleep(max(0, min(pause, deadline - now())))
    raise Over(f"no answer to {endpoint} in time")


class Node:
    def __init__(self, nc):
        self.nc, self.epoch, self.valid_until, self.greeted = nc, None, None, 0
        self.ending, self.connections = False, set()
        self.tool = Tool(GREET, self.greet, self.may_be_called)

    async def renew(self, endpoint, **fields):
        """Registers, or sends a heartbeat. Our time counts from *before* that was first sent, and we
        stop before it is up: then the registry may give our port to others."""
        valid_until = now() + TTL - GRACE
        reply = await ask(self.nc, endpoint, self.valid_until or valid_until, **ME, **fields)
        self.valid_until = valid_until
        return reply

    def valid(self):
        return self.valid_until is not None and now() < self.valid_until

    def may_be_called(self):
        """Also while it is being registered: others may know of it before we do."""
        return self.valid_until is None or now() < self.valid_until

    async def live(self):
        """One life of the node, until it is over."""
        server = None
        subject = f"onex.node.v1.tool.greet.{NODE_ID.replace('.', '=2E')}"
        await self.tool.listen(self.nc, subject)
        try:
            # No epoch: the registry gives the next, and so ends what is left of an earlier life.
            self.epoch = (await self.renew("node.register", **ABOUT))["epoch"]
            lease, server = await self.listen()
            # Others learn of the port only now that somebody listens there.
            port = {"name": "http", "protocol": "http", "port": lease["port"], "dynamic": True}
            ports = [port | {"lease_id": lease["lease_id"]}]
            about = ABOUT | {"epoch": self.epoch, "inbound_ports": ports}
            reply = await self.renew("node.register", **about)
            print(f"online: {NODE_ID}, epoch {self.epoch}, port {lease['port']}", flush=True)
            while True:
                due = now() + reply["heartbeat_after_ms"] / 1000
                while now() < due:  # in small steps: the timers of asyncio stand while we sleep
                    await asyncio.sleep(min(0.5, max(0, due - now())))
                health = {"status": "ok", "greeted": self.greeted}
                reply = await self.renew("node.heartbeat", epoch=self.epoch, health=health)
        finally:  # whatever happened, nobody is served any more
            self.valid_until = None
            if server:
                server.close()
                for writer in self.connections:  # they use our port as well
                    writer.transport.abort()
            await self.tool.stop()

    async def listen(self):
        """A port, and a server on it. With node_id it is ours as long as the node lives."""
        while True:
            wish = ME | {"protocol": "http", "host": HOST, "holder": HOLDER}
            lease = await ask(self.nc, "port.lease", self.valid_until, **wish)
            try:
                return lease, await asyncio.start_server(self.serve, "127.0.0.1", lease["port"])
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            # A program that never asked the registry was quicker: another one, please.
            mine = {"requester_id": REQUESTER_ID, "lease_id": lease["lease_id"]}
            await ask(self.nc, "port.release", self.valid_until, **mine)
            await asyncio.sleep(0.1)

    async def leave(self):
        """Ends the node; its port and its tool end with it. Nobody is served any more by now."""
        if self.epoch is not None:
            await ask(self.nc, "node.deregister", now() + 5, **ME, epoch=self.epoch)

    # ---- What this node does ---------------------------------------------------------------------

    async def serve(self, reader, writer):
        """One HTTP request on our port."""
        self.connections.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError):
                while (await reader.readline()).strip():
                    pass
                if self.valid():  # asked at the last moment: what came before may have taken long
                    writer.write(f"HTTP/1.0 200 OK\r\n\r\n{NODE_ID} is here\n".encode())
                    await writer.drain()
        finally:
            self.connections.discard(writer)
            writer.close()

    async def greet(self, arguments, headers):
        """One call of the tool. `headers` have the call's ids and what else the caller said."""
        await asyncio.sleep(arguments.get("after_ms", 0) / 1000)  # as one that asks others would
        if not arguments["name"].strip():
            raise Failure("NO_NAME", "the name is blank")
        self.greeted += 1
        return {"greeting": f"Hello, {arguments['name']}!"}


async def trouble(error):
    print(f"nats: {error}", file=sys.stderr, flush=True)


async def end(node, main):
    """Calls that are under way are answered while the node lives on; then it ends."""
    await node.tool.drain()
    while not node.ending:  # a cancellation is lost where nats-py waits for its socket
        main.cancel()
        await asyncio.sleep(0.1)


async def main():
    url = os.environ.get("NATS_URL") or "nats://127.0.0.1:4222"
    patience = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.5}
    loop, task, ends = asyncio.get_running_loop(), asyncio.current_task(), []
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, task.cancel)
    node = Node(await nats.connect(url, error_cb=trouble, **patience))
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, lambda: ends.append(loop.create_task(end(node, task))))
    try:
        while True:
            try:
                await node.live()
            except Over as why:
                print(f"{why}: registering anew", file=sys.stderr, flush=True)
            await asyncio.sleep(1)
    except asyncio.CancelledError:  # SIGTERM or Ctrl-C
        node.ending = True
        with contextlib.suppress(Over, Refused):  # without a word, its time runs out by itself
            await node.leave()
        print("left")
    except Refused as why:
        print(why, file=sys.stderr)
        await node.tool.drain()
        # Another copy has taken over: whoever started us must not start us again for that.
        sys.exit(0 if why.code == "SUPERSEDED" else 1)


asyncio.run(main())
