// A micro service with nats.js, as somebody would write it who has never heard of a registry of tools.

import nats from "nats";

const [url, subject] = process.argv.slice(2);
const client = await nats.connect({ servers: url });
const service = await client.services.add({ name: "printer", version: "1.0.0" });

service.addEndpoint("print", {
  subject,
  handler: (error, request) => {
    if (error) throw error;
    const { text } = request.json();
    if (text === "burn") {
      request.respondError(500, "fire in tray 1");
    } else if (text === "") {
      request.respondError(422, "nothing to print");
    } else if (text === "long") {
      request.respondError(507, "OUT_OF_PAPER", "tray 2");
    } else {
      const order = request.headers?.get("Onex-Correlation-Id");
      request.respond(JSON.stringify({ printed: text, order }));
    }
  },
});
