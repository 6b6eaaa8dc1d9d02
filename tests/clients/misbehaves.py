"""A tool served by examples/python/tool.py, whose handler does as it is told."""

import asyncio
import signal
import sys

import nats
from tool import Tool

CONTRACT = {
    "name": "work",
    "version": "1.0.0",
    "input_schema": {"type": "object", "properties": {"how": {"type": "string"}}},
    "output_schema": {
        "type": "object",
        "required": ["done"],
        "properties": {"done": {"type": "boolean"}},
    },
}


async def work(arguments, headers):
    how = arguments["how"]
    if how == "wrong":
        return {"done": "yes"}
    if how == "huge":
        return {"done": True, "text": "x" * 2_000_000}
    if how == "odd":
        return {"done": True, "not in JSON": float("nan")}
    if how == "fails":
        raise RuntimeError("a secret of ours")
    if how in ("waits", "never"):
        await asyncio.Event().wait()
    return {"done": True}


async def main(url, subject):
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    async with await nats.connect(url) as client:
        tool = Tool(CONTRACT, work, lambda: True)
        await tool.listen(client, subject)
        await end.wait()
        await tool.drain()


asyncio.run(main(*sys.argv[1:]))
