// A tool that a node serves: takes its calls, checks what goes in and out, and answers.
//
// To be copied together with node.mjs. docs/nodes.md says what callers may rely on.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { headers } from "@nats-io/transport-node";

const AT_ONCE = 16; // calls that are under way at the same time; one more is told to come back
const PATIENCE = 10_000; // milliseconds that calls which are under way get when the node stops

/**
 * What a tool answers in the place of a result: one of its error codes, and what happened. `number` is
 * in the style of HTTP; what was not `begun` the registry may ask of another node.
 */
export class Failure extends Error {
  constructor(code, message, { number = 422, retryable = false, begun = true, ...details } = {}) {
    super(message);
    Object.assign(this, { number, begun, error: { code, message, retryable, details } });
  }
}

const busy = (why) => new Failure("BUSY", why, { number: 503, retryable: true, begun: false });
const FAILED = "the tool has failed; its log says why";

/**
 * `handler` takes the arguments, the headers of a call, and a signal that aborts when nobody waits any
 * more; it gives the result. `alive` says whether the node lives.
 */
export class Tool {
  calls = new Set();

  constructor(contract, handler, alive) {
    Object.assign(this, { contract, handler, alive });
    check(contract.input_schema);
    check(contract.output_schema);
  }

  /**
   * Takes calls: before the node is registered, for then others may call. As one of a group: where an
   * old process and a new one both listen, one of them gets each call.
   */
  listen(nc, subject) {
    this.nc = nc;
    this.open = true;
    const callback = (_, message) => this.take(message);
    this.sub = nc.subscribe(subject, { queue: "onex-node", callback });
  }

  /** Takes no more calls. What was on its way is refused; what is under way goes on. */
  async stop() {
    this.open = false;
    await this.unsubscribe();
  }

  /** Takes no more calls, and waits for those that have come, but not for ever. */
  async drain() {
    await this.unsubscribe();
    const late = sleep(PATIENCE, undefined, { ref: false });
    await Promise.race([Promise.all([...this.calls].map((call) => call.done)), late]);
    const stopped = "the node was stopped while the tool was at work";
    for (const call of this.calls) call.stop(new Failure("INTERNAL", stopped, { number: 500 }));
    await Promise.race([this.nc?.flush().catch(() => {}), sleep(2000, undefined, { ref: false })]);
  }

  async unsubscribe() {
    const sub = this.sub;
    this.sub = undefined;
    await Promise.race([sub?.drain().catch(() => {}), sleep(2000, undefined, { ref: false })]);
  }

  /** One call: refused at once, or done beside the others. */
  take(message) {
    if (!message.reply) return; // whoever sent that cannot be told what came of it
    const { version } = this.contract;
    const asked = message.headers?.get("Onex-Tool-Version") || version;
    if (!this.open || !this.alive()) {
      this.refuse(message, busy("the node's life is over"));
    } else if (this.calls.size >= AT_ONCE) {
      this.refuse(message, busy("the tool has as many calls under way as it takes"));
    } else if (asked !== version) {
      // Meant for a process of this node that has taken our place, and we do not know yet.
      const why = `served here: version ${version}`;
      this.refuse(message, new Failure("TOOL_NOT_FOUND", why, { number: 503, begun: false }));
    } else {
      const call = {};
      const stopped = new Promise((_, stop) => Object.assign(call, { stop }));
      call.done = this.work(message, stopped).finally(() => this.calls.delete(call));
      this.calls.add(call);
    }
  }

  async work(message, stopped) {
    // What the caller still waits. Then nobody is answered; a handler that goes on keeps its place.
    const said = Number(message.headers?.get("Onex-Timeout-Ms"));
    const late = AbortSignal.timeout(said > 0 && said < 300_000 ? said : 300_000);
    try {
      const result = await Promise.race([this.checked(message, late), stopped]);
      const body = JSON.stringify(result);
      const limit = this.nc.info.max_payload;
      if (Buffer.byteLength(body) > limit - 1024 /* room for headers */) {
        throw new Failure("TOO_LARGE", "the result is too large", { number: 413, limit });
      }
      if (!late.aborted) message.respond(body);
    } catch (error) {
      if (late.aborted) return;
      if (error instanceof Failure) return this.refuse(message, error);
      // A fault of ours: the caller is told that it is one, and we are told all.
      console.error(error);
      this.refuse(message, new Failure("INTERNAL", FAILED, { number: 500 }));
    }
  }

  async checked(message, late) {
    let wrong;
    let args;
    try {
      args = JSON.parse(message.string().trim() || "{}");
      wrong = violations({ type: "object" }, args);
      if (!wrong.length) wrong = violations(this.contract.input_schema, args);
    } catch (error) {
      wrong = [{ pointer: "", message: `is not JSON: ${error.message}` }];
    }
    if (wrong.length) {
      const why = "the arguments are not as the tool's contract says";
      const refused = { number: 400, begun: false, violations: wrong.slice(0, 64) };
      throw new Failure("INVALID_ARGUMENTS", why, refused);
    }
    const result = (await this.handler(args, message.headers ?? headers(), late)) ?? null;
    wrong = violations(this.contract.output_schema, result);
    if (wrong.length) {
      const why = "the result is not as the tool's contract says";
      throw new Failure("INVALID_RESULT", why, { number: 502, violations: wrong.slice(0, 64) });
    }
    return result;
  }

  /** An error, as NATS micro services tell it, with more of it for who wants that. */
  refuse(message, failure) {
    const head = headers();
    head.set("Nats-Service-Error-Code", `${failure.number}`);
    head.set("Nats-Service-Error", failure.error.code);
    if (!failure.begun) head.set("Onex-Executed", "false");
    const correlation_id = message.headers?.get("Onex-Correlation-Id") || randomUUID();
    const error = { ...failure.error, correlation_id };
    message.respond(JSON.stringify({ error }), { headers: head });
  }
}

// ---- A part of JSON Schema ---------------------------------------------------------------------

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const TYPES = {
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: Number.isInteger,
  boolean: (value) => typeof value === "boolean",
  null: (value) => value === null,
};
const CHECKED = ["type", "required", "properties", "items", "minimum", "maximum"];
const FOR_PEOPLE = ["title", "description", "examples", "default", "format"];

/** Refuses what this file does not know: the package ajv knows all of JSON Schema. */
function check(schema) {
  for (const keyword of Object.keys(schema)) {
    if (![...CHECKED, ...FOR_PEOPLE].includes(keyword)) {
      throw new Error(`this file does not check ${keyword}`);
    }
  }
  for (const part of Object.values(schema.properties ?? {})) check(part);
  if (schema.items) check(schema.items);
}

/** What is wrong with a value, and where: a JSON Pointer. */
function violations(schema, value, pointer = "") {
  const wrong = [];
  let parts = [];
  if (schema.type && !TYPES[schema.type](value)) wrong.push(`must be of type ${schema.type}`);
  if (isObject(value)) {
    for (const name of schema.required ?? []) {
      if (!Object.hasOwn(value, name)) wrong.push(`"${name}" is required`);
    }
    parts = Object.entries(schema.properties ?? {})
      .filter(([name]) => Object.hasOwn(value, name))
      .map(([name, part]) => [escaped(name), part, value[name]]);
  }
  if (Array.isArray(value)) {
    parts = value.map((item, index) => [index, schema.items ?? {}, item]);
  }
  if (typeof value === "number") {
    if (value < schema.minimum) wrong.push(`must be at least ${schema.minimum}`);
    if (value > schema.maximum) wrong.push(`must be at most ${schema.maximum}`);
  }
  const here = wrong.map((message) => ({ pointer, message }));
  const inside = ([name, part, inner]) => violations(part, inner, `${pointer}/${name}`);
  return here.concat(parts.flatMap(inside));
}

const escaped = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");
