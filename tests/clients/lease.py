"""A lease with nats-py, as a program that nobody here wrote would take it: lease, renew, see, release, and an error."""

import asyncio
import json
import sys
import uuid

import nats

PREFIX = "onex.registry.v1"


class Refused(Exception):
    def __init__(self, error, headers):
        super().__init__(error["code"])
        self.error, self.headers = error, headers


async def ask(client, endpoint, **request):
    reply = await client.request(f"{PREFIX}.{endpoint}", json.dumps(request).encode(), timeout=30)
    body = json.loads(reply.data)
    if "error" in body:
        raise Refused(body["error"], reply.headers)
    return body


async def main(url):
    client = await nats.connect(url)
    me = str(uuid.uuid4())

    lease = await ask(client, "port.lease", requester_id=me, protocol="http", ttl=30, name="api")
    assert lease["status"] == "active" and lease["ports"] == [lease["port"]], lease

    renewed = await ask(client, "port.heartbeat", requester_id=me, lease_id=lease["lease_id"])
    assert renewed["fencing_token"] == lease["fencing_token"], renewed
    assert renewed["revision"] > lease["revision"], renewed

    found = await ask(client, "port.resolve", name="api")
    assert [item["lease_id"] for item in found["items"]] == [lease["lease_id"]], found

    released = await ask(client, "port.release", requester_id=me, lease_id=lease["lease_id"])
    assert released["status"] == "released", released

    try:
        await ask(client, "port.heartbeat", requester_id=me, lease_id=lease["lease_id"])
    except Refused as refused:
        assert refused.error["code"] == "LEASE_EXPIRED" and not refused.error["retryable"], refused.error
        assert refused.headers["Nats-Service-Error-Code"] == "409", refused.headers
        assert refused.headers["Nats-Service-Error"] == "LEASE_EXPIRED", refused.headers
    else:
        raise AssertionError("a released lease was renewed")

    await client.close()
    print("done", lease["port"])


asyncio.run(main(sys.argv[1]))
