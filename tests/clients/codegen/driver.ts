// Calls tools through a client that `onex codegen` wrote, for tests/callers/codegen.rs.

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import {
  ContractChanged,
  ToolError,
  Tools,
  type CallOptions,
  type CornersArguments,
  type EverythingArguments,
  type OddNamesArguments,
} from "./tools.js";

async function works(tools: Tools): Promise<void> {
  const { sum } = await tools.add({ left: 1, right: 2.5, mode: "exact" });
  assert.equal(sum, 3.5);
  await assert.rejects(tools.add({ left: 1e300, right: 1e300 }), (error) => {
    assert(error instanceof ToolError && !(error instanceof ContractChanged));
    assert.deepEqual([error.code, error.toolCode], ["TOOL_ERROR", "OVERFLOW"]);
    assert.deepEqual([error.executed, error.retryable], [true, false]);
    return true;
  });
  // Types are gone when it runs: only the registry sees that this is no sum.
  if (import.meta.url.includes("/registry/")) {
    await assert.rejects(tools.add({ left: 13, right: 0 }), (error) => {
      assert(error instanceof ToolError && error.code === "INVALID_RESULT");
      assert(error.executed === true && error.message.includes("sum"), error.message);
      return true;
    });
  }

  const everything: EverythingArguments = {
    text: "2026-01-01T00:00:00Z",
    whole: -7,
    count: 7,
    level: "top",
    number: 0.5,
    flag: true,
    nothing: null,
    maybe: null,
    list: [1.5, null],
    lists: [[{ x: 1.5, y: 2.5 }], []],
    pair: ["a", 1],
    map: { odd: [1, 3], none: [] },
    at: { x: 0.5, y: -0.5 },
    figure: { kind: "polygon", points: [{ x: 0.5, y: 0.25 }] },
    id: "abc",
    tree: [[], [[]]],
    who: { name: "Ada", address: { city: "London", zip: null } },
    answer: 42,
    either: { a: "x", b: "y" },
    merged: { x: 1.5, y: 2.5, z: 3.5 },
    keyed: { unit: "m", height: 1.5 },
    exact: { version: 1, tags: ["a", null] },
    deep: { left: 1.5, right: { of: { left: 2.5, right: 3.5 } } },
    listed: ["red", "blue"],
    optional_maybe: null,
  };
  const listed: EverythingArguments = { ...everything, either: ["x", "y"] };
  assert.deepEqual(await tools.everything(listed), listed);
  const result = await tools.everything(everything);
  assert.deepEqual(result, everything);
  // The compiler knows which it is.
  assert(result.figure.kind === "polygon" && result.figure.points[0]?.x === 0.5);

  const corners: CornersArguments = {
    strict: { a: "x" },
    sum: ["add", 1.5, [2.5]],
    origin: 0.5,
    closed: { kind: "a" },
    source: { url: "u" },
    short: ["a", 1],
    long: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, "a"],
    tail: ["a"],
    versioned: { version: 2 },
    named: null,
    free: null,
    either: null,
  };
  const closed = { kind: "a", more: 1 };
  assert.deepEqual(await tools.corners(corners), { ...corners, closed });

  for (const tail of [[], ["a", 1]] as const) {
    const arguments_: CornersArguments = { tail: [...tail] };
    assert.deepEqual((await tools.corners(arguments_)).tail, tail);
  }

  const far = { mole: 6.02214076e23, power: 1e23, long: 1e17 } as const;
  assert.deepEqual(await tools.far(far), far);

  const odd: OddNamesArguments = {
    class: 1,
    type: 2,
    self: 3,
    maxItems: 4,
    max_items: 5,
    "a b": 6,
    "a-b": 7,
    "1st": 8,
    "": 9,
    größe: 10,
    int: 11,
    list: [12],
    to_json: 13,
    async: 14,
    None: "none",
    Self: "",
    a: { b: { c: "d" } },
  };
  assert.deepEqual(await tools.oddNames(odd), odd);

  await tools.hostile({ "quote\"\n\\u0041{x}*/\u202e": "${x}" });
  const told = await tools.twiceV1_10_0({ a: 1 });
  assert(!told.ok && told.why === "no");
  assert.deepEqual(await tools.bare({ a: [1, null] }), { a: [1, null] });
}

/** What a call says goes before what the client says; what it does not say stays. */
async function merged(): Promise<void> {
  const elsewhere = new Tools(nc, { prefix: "onex.nobody.v1" });
  await assert.rejects(elsewhere.add({ left: 1, right: 2 }, { timeoutMs: 1000 }), (error) => {
    assert(error instanceof ToolError && error.code === "NO_RESPONDERS", `${error}`);
    return error.message.includes("onex.nobody.v1");
  });
  const pinned = new Tools(nc, { providerNodeId: "nobody" });
  const unsaid = { providerNodeId: undefined } as unknown as CallOptions;
  for (const options of [unsaid, { correlationId: "of-the-test" }]) {
    await assert.rejects(pinned.add({ left: 1, right: 2 }, options), (error) => {
      return error instanceof ToolError && error.code === "PROVIDER_NOT_FOUND";
    });
  }
  const { sum } = await pinned.add({ left: 1, right: 2 }, { providerNodeId: "calc" });
  assert.equal(sum, 3);
}

async function patched(tools: Tools): Promise<void> {
  assert.equal((await tools.add({ left: 1, right: 2.5 })).sum, 3.5);
}

async function changed(tools: Tools): Promise<void> {
  await assert.rejects(tools.add({ left: 1, right: 2 }), (error) => {
    assert(error instanceof ContractChanged);
    assert(error.message.includes("onex codegen --lang typescript"), error.message);
    assert(error.executed === false && error.details["offered"]);
    return true;
  });
}

const nc = await connect({ servers: process.env["NATS_URL"] ?? "" });
const tools = new Tools(nc, { timeoutMs: 30_000, correlationId: "of-the-test" });
const modes: { [name: string]: (tools: Tools) => Promise<void> } = { works, patched, changed };
await modes[process.argv[2] ?? ""]?.(tools);
if (process.argv[2] === "works") await merged();
await nc.close();
