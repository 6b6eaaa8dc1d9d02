// A port for as long as a test takes.
//
//     NATS_URL=nats://127.0.0.1:4222 node port-for-a-test.mjs

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import os from "node:os";
import { basename } from "node:path";
import { connect } from "@nats-io/transport-node";

// What others see who look for the port's holder: nobody checks it. ONEX_NO_HOLDER=1 keeps it back.
const SAID = {
  user: process.env.USER || String(process.getuid?.()),
  host: os.hostname(),
  pid: process.pid,
  command: basename(process.argv[1] ?? "") || undefined,
};
const SAYS = ["", "0", "false", "no", "off"].includes(
  (process.env.ONEX_NO_HOLDER ?? "").toLowerCase(),
);
const HOLDER = SAYS ? SAID : {};

/**
 * Calls `test` with a port of the registry's host that nobody else gets. Without a heartbeat it is ours
 * for `ttl` seconds: more than the test takes. Before they are over the signal aborts that it gets as
 * well: then it has to stop using the port.
 */
async function withPort(nc, test, { protocol = "http", ttl = 60 } = {}) {
  const late = AbortSignal.timeout(ttl * 900); // counted from before we ask
  const requester_id = randomUUID();
  const ask = async (endpoint, fields) => {
    const request = JSON.stringify({ requester_id, request_id: randomUUID(), ...fields });
    const reply = await nc.request(`onex.registry.v1.${endpoint}`, request, { timeout: 5000 });
    const answer = reply.json();
    if (answer.error) throw new Error(JSON.stringify(answer.error));
    return answer;
  };
  const { port, lease_id } = await ask("port.lease", { protocol, ttl, holder: HOLDER });
  try {
    return await test(port, late);
  } finally {
    // A test that is killed does not get here: then the port is free when the ttl is over.
    await ask("port.release", { lease_id });
  }
}

const nc = await connect({ servers: process.env.NATS_URL || "nats://127.0.0.1:4222" });
await withPort(nc, async (port, signal) => {
  const server = createServer().listen({ port, host: "127.0.0.1", signal });
  await once(server, "listening");
  console.log("the test runs on port", port);
  server.close();
});
await nc.close();
