// A tool served by examples/javascript/tool.mjs, whose handler does as it is told.

import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@nats-io/transport-node";
import { Tool } from "./tool.mjs";

const contract = {
  name: "work",
  version: "1.0.0",
  input_schema: { type: "object", properties: { how: { type: "string" } } },
  output_schema: {
    type: "object",
    required: ["done"],
    properties: { done: { type: "boolean" } },
  },
};

async function work({ how }, head, late) {
  if (how === "wrong") return { done: "yes" };
  if (how === "huge") return { done: true, text: "x".repeat(2_000_000) };
  if (how === "odd") return { done: true, "not in JSON": 1n };
  if (how === "fails") throw new Error("a secret of ours");
  if (how === "waits") await sleep(600_000, undefined, { signal: late });
  if (how === "never") await new Promise(() => {});
  return { done: true };
}

const [url, subject] = process.argv.slice(2);
const client = await connect({ servers: url });
const tool = new Tool(contract, work, () => true);
tool.listen(client, subject);
process.once("SIGTERM", async () => {
  await tool.drain();
  await client.close();
});
