"""A micro service with nats-py, as somebody would write it who has never heard of a registry of tools."""

import asyncio
import json
import sys

import nats
from nats.micro import add_service
from nats.micro.request import ServiceError


async def print_text(request):
    asked = json.loads(request.data)
    if asked["text"] == "burn":
        raise RuntimeError("fire in tray 1")
    if asked["text"] == "":
        raise ServiceError("422", "nothing to print")
    if asked["text"] == "long":
        await request.respond_error("507", "OUT_OF_PAPER", b"tray 2")
        return
    order = (request.headers or {}).get("Onex-Correlation-Id")
    await request.respond(json.dumps({"printed": asked["text"], "order": order}).encode())


async def main(url, subject):
    client = await nats.connect(url)
    service = await add_service(client, name="printer", version="1.0.0")
    await service.add_endpoint(name="print", subject=subject, handler=print_text)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
