"""A tool that a node serves: takes its calls, checks what goes in and out, and answers.

To be copied together with node.py. docs/nodes.md says what callers may rely on.
"""

import asyncio
import contextlib
import json
import traceback
import uuid

import nats

AT_ONCE = 16  # calls that are under way at the same time; one more is told to come back
PATIENCE = 10  # seconds that calls which are under way get when the node stops


class Failure(Exception):
    """What a tool answers in the place of a result: one of its error codes, and what happened.
    `number` is in the style of HTTP; what was not `begun` the registry may ask of another node."""

    def __init__(self, code, message, *, number=422, retryable=False, begun=True, **details):
        super().__init__(message)
        self.number, self.begun = number, begun
        self.error = {"code": code, "message": message, "retryable": retryable, "details": details}


def busy(why):
    return Failure("BUSY", why, number=503, retryable=True, begun=False)


class Tool:
    """`handler` takes the arguments and the headers of a call, and gives the result. `alive` says
    whether the node lives."""

    def __init__(self, contract, handler, alive):
        self.contract, self.handler, self.alive = contract, handler, alive
        self.open, self.nc, self.sub, self.calls = False, None, None, set()
        for schema in ("input_schema", "output_schema"):
            check(contract[schema])

    async def listen(self, nc, subject):
        """Takes calls: before the node is registered, for then others may call. As one of a group:
        where an old process and a new one both listen, one of them gets each call."""
        self.nc, self.open = nc, True
        self.sub = await nc.subscribe(subject, queue="onex-node", cb=self.take)

    async def stop(self):
        """Takes no more calls. What was on its way is refused; what is under way goes on."""
        self.open = False
        await self.unsubscribe()

    async def drain(self):
        """Takes no more calls, and waits for those that have come, but not for ever."""
        await self.unsubscribe()
        if calls := set(self.calls):
            _, late = await asyncio.wait(calls, timeout=PATIENCE)
            for call in late:
                call.cancel()
            await asyncio.wait(calls)
        if self.nc:
            with contextlib.suppress(nats.errors.Error):
                await self.nc.flush(2)

    async def unsubscribe(self):
        sub, self.sub = self.sub, None
        if sub is None:
            return
        with contextlib.suppress(nats.errors.Error, asyncio.TimeoutError):
            if self.nc.is_connected:
                await asyncio.wait_for(sub.drain(), 2)
            else:  # nothing is on its way
                await sub.unsubscribe()

    async def take(self, message):
        """One call: refused at once, or done beside the others."""
        if not message.reply:
            return  # whoever sent that cannot be told what came of it
        headers = message.headers or {}
        version = headers.get("Onex-Tool-Version", self.contract["version"])
        if not (self.open and self.alive()):
            await self.refuse(message, busy("the node's life is over"))
        elif len(self.calls) >= AT_ONCE:
            await self.refuse(message, busy("the tool has as many calls under way as it takes"))
        elif version != self.contract["version"]:
            # Meant for a process of this node that has taken our place, and we do not know yet.
            why = f"served here: version {self.contract['version']}"
            error = Failure("TOOL_NOT_FOUND", why, number=503, begun=False)
            await self.refuse(message, error)
        else:
            call = asyncio.create_task(self.work(message, headers))
            self.calls.add(call)
            call.add_done_callback(self.calls.discard)

    async def work(self, message, headers):
        try:
            # What the caller still waits. Then the handler is cancelled, and nobody is answered.
            said = headers.get("Onex-Timeout-Ms", "")
            wait = int(said) / 1000 if said.isdecimal() else 300
            result = asyncio.ensure_future(self.checked(message.data, headers))
            try:
                done, _ = await asyncio.wait([result], timeout=wait)
            finally:
                result.cancel()  # if it is not done
            if not done:
                return
            body = json.dumps(result.result(), allow_nan=False).encode()
            if len(body) > self.nc.max_payload - 1024:  # room for headers
                limit = self.nc.max_payload
                raise Failure("TOO_LARGE", "the result is too large", number=413, limit=limit)
            await self.nc.publish(message.reply, body)
        except Failure as error:
            await self.refuse(message, error)
        except asyncio.CancelledError:
            why = "the node was stopped while the tool was at work"
            await self.refuse(message, Failure("INTERNAL", why, number=500))
        except Exception:  # a fault of ours: the caller is told that it is one, and we are told all
            traceback.print_exc()
            error = Failure("INTERNAL", "the tool has failed; its log says why", number=500)
            await self.refuse(message, error)

    async def checked(self, data, headers):
        try:
            arguments = json.loads(data.strip() or "{}")
        except ValueError as error:
            wrong = [{"pointer": "", "message": f"is not JSON: {error}"}]
        else:
            wrong = violations({"type": "object"}, arguments)
            wrong = wrong or violations(self.contract["input_schema"], arguments)
        if wrong:
            why = "the arguments are not as the tool's contract says"
            refused = {"number": 400, "begun": False, "violations": wrong[:64]}
            raise Failure("INVALID_ARGUMENTS", why, **refused)
        result = await self.handler(arguments, headers)
        if wrong := violations(self.contract["output_schema"], result):
            why = "the result is not as the tool's contract says"
            raise Failure("INVALID_RESULT", why, number=502, violations=wrong[:64])
        return result

    async def refuse(self, message, failure):
        """An error, as NATS micro services tell it, with more of it for who wants that."""
        headers = {"Nats-Service-Error-Code": str(failure.number)}
        headers["Nats-Service-Error"] = failure.error["code"]
        if not failure.begun:
            headers["Onex-Executed"] = "false"
        known = (message.headers or {}).get("Onex-Correlation-Id") or str(uuid.uuid4())
        error = failure.error | {"correlation_id": known}
        await self.nc.publish(message.reply, json.dumps({"error": error}).encode(), headers=headers)


# ---- A part of JSON Schema -----------------------------------------------------------------------

TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: TYPES["number"](value) and value % 1 == 0,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
CHECKED = {"type", "required", "properties", "items", "minimum", "maximum"}
FOR_PEOPLE = {"title", "description", "examples", "default", "format"}


def check(schema):
    """Refuses what this file does not know: the package jsonschema knows all of it."""
    if unknown := schema.keys() - CHECKED - FOR_PEOPLE:
        raise ValueError(f"this file does not check {sorted(unknown)}")
    for part in [*schema.get("properties", {}).values(), schema.get("items", {})]:
        if part:
            check(part)


def violations(schema, value, pointer=""):
    """What is wrong with a value, and where: a JSON Pointer."""
    wrong, parts = [], []
    if "type" in schema and not TYPES[schema["type"]](value):
        wrong.append(f"must be of type {schema['type']}")
    if isinstance(value, dict):
        names = [name for name in schema.get("required", []) if name not in value]
        wrong += [f"{name!r} is required" for name in names]
        inner = schema.get("properties", {}).items()
        parts = [(escaped(name), part, value[name]) for name, part in inner if name in value]
    if isinstance(value, list):
        parts = [(index, schema.get("items", {}), item) for index, item in enumerate(value)]
    if TYPES["number"](value):
        if value < schema.get("minimum", value):
            wrong.append(f"must be at least {schema['minimum']}")
        if value > schema.get("maximum", value):
            wrong.append(f"must be at most {schema['maximum']}")
    found = [{"pointer": pointer, "message": message} for message in wrong]
    for name, part, inner in parts:
        found += violations(part, inner, f"{pointer}/{name}")
    return found


def escaped(name):
    return name.replace("~", "~0").replace("/", "~1")
