"""A port for as long as a test takes.

NATS_URL=nats://127.0.0.1:4222 python3 port_for_a_test.py
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import uuid

import nats

# What others see who look for the port's holder: nobody checks it. ONEX_NO_HOLDER=1 keeps it back.
HOLDER = {
    "user": os.environ.get("USER") or str(os.getuid()),
    "host": socket.gethostname(),
    "pid": os.getpid(),
    "command": os.path.basename(sys.argv[0]) or None,
}
if os.environ.get("ONEX_NO_HOLDER", "").lower() not in ("", "0", "false", "no", "off"):
    HOLDER = {}


@contextlib.asynccontextmanager
async def leased_port(nc, protocol="http", ttl=60):
    """A port of the registry's host that nobody else gets. Without a heartbeat it is ours for `ttl`
    seconds: more than the test takes. One that takes longer is cancelled before they are over."""
    ours_until = asyncio.get_running_loop().time() + ttl * 0.9  # counted from before we ask
    requester_id = str(uuid.uuid4())

    async def ask(endpoint, **fields):
        request = {"requester_id": requester_id, "request_id": str(uuid.uuid4()), **fields}
        reply = await nc.request(
            f"onex.registry.v1.{endpoint}", json.dumps(request).encode(), timeout=5
        )
        answer = json.loads(reply.data)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    lease = await ask("port.lease", protocol=protocol, ttl=ttl, holder=HOLDER)
    try:
        async with asyncio.timeout_at(ours_until):
            yield lease["port"]
    finally:  # a test that is killed does not get here: then the port is free when the ttl is over
        await ask("port.release", lease_id=lease["lease_id"])


async def main():
    async with await nats.connect(os.environ.get("NATS_URL") or "nats://127.0.0.1:4222") as nc:
        async with leased_port(nc) as port:
            server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
            print("the test runs on port", port)
            server.close()


asyncio.run(main())
