#!/usr/bin/env node
// A node on the event bus: it registers, leases a port, serves on it, stays alive, and leaves.
//
// To be copied, with tool.mjs beside it. It speaks plain NATS request/reply and needs nats.js only;
// docs/nodes.md says why it does what it does in this order. Ctrl-C ends it.
//
//     npm ci
//     NATS_URL=nats://127.0.0.1:4222 node node.mjs [NODE_ID]

import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import os from "node:os";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, headers } from "@nats-io/transport-node";
import { Failure, Tool } from "./tool.mjs";

const NODE_ID = process.argv[2] ?? "greeter";
// Who we are: the same after every start, so that a new start takes the old one's place at once.
const hash = createHash("sha256").update(`onex:node:${NODE_ID}`).digest("hex");
const REQUESTER_ID = hash.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/, "$1-$2-8$3-8$4-$5");
const ME = { node_id: NODE_ID, requester_id: REQUESTER_ID };
// The machine where the port is bound. By that name the registry knows which ports are given away.
const HOST = process.env.ONEX_HOST || os.hostname().toLowerCase();
const TTL = Number(process.env.ONEX_TTL || 30); // seconds that the node lasts without a heartbeat
const GRACE = TTL / 10; // so long before they are over we begin to stop: that takes time as well
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
const TEXT = { type: "string" };
const A_WHILE = { type: "integer", format: "uint32", minimum: 0, maximum: 60000, default: 0 };
const GREET = {
  name: "greet",
  version: "1.0.0",
  description: "Greets somebody by name.",
  input_schema: {
    type: "object",
    required: ["name"],
    properties: { name: TEXT, after_ms: A_WHILE },
  },
  output_schema: { type: "object", required: ["greeting"], properties: { greeting: TEXT } },
  error_codes: ["NO_NAME"],
  idempotent: true,
};
const ABOUT = { version: "1.0.0", node_type: "tool", host: HOST, ttl: TTL, tools: [GREET] };

// ---- What every node needs ---------------------------------------------------------------------

/** The registry said no. `code` says why (docs/errors.md): a fault to mend, or SUPERSEDED. */
class Refused extends Error {
  constructor(error) {
    super(`${error.code}: ${error.message} ${JSON.stringify(error.details)}`);
    this.code = error.code;
  }
}

/** This life of the node is over: its time is up, or the registry says that it has ended. */
class Over extends Error {}

// Time is counted on three clocks, and the one that says most of it has passed is believed. The first
// stands while the machine sleeps. The second does not, but can be set back. The third runs during
// sleep on Linux, and cannot be set there. Too early costs a new registration; too late, two servers.
const CLOCKS = [() => performance.now(), () => Date.now(), () => os.uptime() * 1000];
const mark = () => CLOCKS.map((clock) => clock());
const since = (from) => Math.max(...CLOCKS.map((clock, i) => clock() - from[i]));

/** A moment `ms` milliseconds after `from`; `left()` says how many are left, 0 when it is past. */
const after = (from, ms) => ({ left: () => Math.max(0, ms - since(from)) });

const stop = new AbortController(); // aborted when we are asked to end

/**
 * The reply. After silence, or a refusal that may pass, the *same* request is sent again: the
 * registry knows it by its request_id, so nothing is done twice.
 */
async function ask(nc, endpoint, deadline, fields, signal = stop.signal) {
  const body = JSON.stringify({ request_id: randomUUID(), ...fields });
  for (let pause = 200; deadline.left() > 0; pause = Math.min(pause * 2, 2000)) {
    signal?.throwIfAborted();
    const timeout = Math.min(Math.ceil(deadline.left()) || 1, 2000);
    const head = headers();
    head.set("Onex-Protocol", "1.0");
    head.set("Onex-Timeout-Ms", `${timeout}`);
    const subject = `onex.registry.v1.${endpoint}`;
    // No reply: nobody answered, or the server is away. nats.js connects again by itself.
    const message = await nc.request(subject, body, { timeout, headers: head }).catch(() => {});
    const reply = message?.json();
    const error = reply?.error;
    if (reply && !error) return reply;
    if (["NODE_NOT_FOUND", "LEASE_NOT_FOUND", "LEASE_EXPIRED"].includes(error?.code)) {
      throw new Over(error.message);
    }
    if (error && !error.retryable) throw new Refused(error);
    const wait = Math.max(pause, error?.retry_after_ms ?? 0);
    await sleep(Math.min(wait, deadline.left()), undefined, { signal });
  }
  throw new Over(`no answer to ${endpoint} in time`);
}

class Node {
  greeted = 0;

  constructor(nc) {
    this.nc = nc;
    const greet = (args, head, late) => this.greet(args, head, late);
    this.tool = new Tool(GREET, greet, () => this.mayBeCalled());
  }

  /**
   * Registers, or sends a heartbeat. Our time counts from *before* that was first sent, and we stop
   * before it is up: then the registry may give our port to others.
   */
  async renew(endpoint, fields) {
    const validity = after(mark(), (TTL - GRACE) * 1000);
    const reply = await ask(this.nc, endpoint, this.validity ?? validity, { ...ME, ...fields });
    this.validity = validity;
    return reply;
  }

  valid() {
    return (this.validity?.left() ?? 0) > 0;
  }

  /** Also while it is being registered: others may know of it before we do. */
  mayBeCalled() {
    return this.validity === undefined || this.valid();
  }

  /** One life of the node, until it is over. */
  async live() {
    let server;
    const subject = `onex.node.v1.tool.greet.${NODE_ID.replaceAll(".", "=2E")}`;
    this.tool.listen(this.nc, subject);
    try {
      // No epoch: the registry gives the next, and so ends what is left of an earlier life.
      this.epoch = (await this.renew("node.register", ABOUT)).epoch;
      const lease = await this.lease();
      server = lease.server;
      // Others learn of the port only now that somebody listens there.
      const { lease_id, port } = lease;
      const inbound_ports = [{ name: "http", protocol: "http", port, lease_id, dynamic: true }];
      const about = { ...ABOUT, epoch: this.epoch, inbound_ports };
      let reply = await this.renew("node.register", about);
      console.log(`online: ${NODE_ID}, epoch ${this.epoch}, port ${port}`);
      for (;;) {
        const due = after(mark(), reply.heartbeat_after_ms);
        while (due.left() > 0) {
          // In small steps: timers stand while the machine sleeps.
          await sleep(Math.min(due.left(), 500), undefined, { signal: stop.signal });
        }
        const health = { status: "ok", greeted: this.greeted };
        reply = await this.renew("node.heartbeat", { epoch: this.epoch, health });
      }
    } finally {
      // Whatever happened, nobody is served any more.
      this.validity = undefined;
      server?.close();
      server?.closeAllConnections(); // they use our port as well
      await this.tool.stop();
    }
  }

  /** A port, and a server on it. With node_id it is ours as long as the node lives. */
  async lease() {
    for (;;) {
      const wish = { ...ME, protocol: "http", host: HOST, holder: HOLDER };
      const lease = await ask(this.nc, "port.lease", this.validity, wish);
      const server = http.createServer((request, response) => this.serve(request, response));
      try {
        await once(server.listen(lease.port, "127.0.0.1"), "listening");
        return { ...lease, server };
      } catch (error) {
        if (error.code !== "EADDRINUSE") throw error;
      }
      // A program that never asked the registry was quicker: another one, please.
      const mine = { requester_id: REQUESTER_ID, lease_id: lease.lease_id };
      await ask(this.nc, "port.release", this.validity, mine);
      await sleep(100);
    }
  }

  /** Ends the node; its port and its tool end with it. Nobody is served any more by now. */
  async leave() {
    if (this.epoch === undefined) return;
    const soon = after(mark(), 5000);
    await ask(this.nc, "node.deregister", soon, { ...ME, epoch: this.epoch }, null);
  }

  // ---- What this node does -----------------------------------------------------------------------

  /** One HTTP request on our port. */
  serve(request, response) {
    // Asked at the last moment: whatever came before may have taken long.
    if (this.valid()) response.end(`${NODE_ID} is here\n`);
    else request.destroy();
  }

  /** One call of the tool. `head` has the call's ids and what else the caller said. */
  async greet({ name, after_ms = 0 }, head, late) {
    await sleep(after_ms, undefined, { signal: late }); // as one that asks others would
    if (!name.trim()) throw new Failure("NO_NAME", "the name is blank");
    this.greeted += 1;
    return { greeting: `Hello, ${name}!` };
  }
}

let node;
for (const name of ["SIGTERM", "SIGINT"]) {
  process.on(name, async () => {
    // Calls that are under way are answered while the node lives on; then it may end.
    await node?.tool.drain();
    stop.abort();
  });
}
const servers = process.env.NATS_URL || "nats://127.0.0.1:4222";
const patience = { waitOnFirstConnect: true, maxReconnectAttempts: -1, reconnectTimeWait: 500 };
const nc = await connect({ servers, ...patience });
node = new Node(nc);
while (!stop.signal.aborted) {
  try {
    await node.live();
  } catch (error) {
    if (error instanceof Refused) {
      console.error(error.message);
      await node.tool.drain();
      // Another copy has taken over: whoever started us must not start us again for that.
      process.exit(error.code === "SUPERSEDED" ? 0 : 1);
    }
    if (stop.signal.aborted) break;
    if (!(error instanceof Over)) throw error;
    console.error(`${error.message}: registering anew`);
    await sleep(1000);
  }
}
await node.leave().catch(() => {}); // without a word, its time runs out by itself
console.log("left");
process.exit();
