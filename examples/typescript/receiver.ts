// Receives webhooks and prints each event once: WEBHOOK_SECRET=whsec_… node build/receiver.js
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

const { WEBHOOK_SECRET = "", PORT = "8000" } = process.env;
// What `genflow webhook-secret alice` prints: while the operator replaces the signing secret, alice has two. A webhook that
// matches one of them is genuine. (A line with whpk_ is a public key, for receivers that verify v1a.)
const words = WEBHOOK_SECRET.split(/\s+/).filter((word) => word.startsWith("whsec_"));
const secrets = words.map((secret) => new Webhook(secret));
// In your program, a table with a unique column: a webhook is delivered at least once.
const seen = new Set<string>();

interface Body {
  type: string;
  data: { request_id: string; retry: number; sequence: number; type: string };
}

function verify(body: Buffer, headers: Record<string, string>): Body | undefined {
  for (const secret of secrets) {
    try {
      return secret.verify(body, headers) as Body; // also refuses one that is more than five minutes old
    } catch {
      continue;
    }
  }
  return undefined;
}

const server = createServer(async (request, response) => {
  const body = await buffer(request); // the raw body, as it was signed
  const headers = request.headers as Record<string, string>;
  const event = verify(body, headers);
  if (!event) {
    response.writeHead(400).end();
    return;
  }
  const id = headers["webhook-id"];
  if (!seen.has(id)) {
    seen.add(id);
    const { request_id, retry, sequence, type } = event.data;
    // Webhooks may overtake each other: order them by retry, then sequence.
    console.log(request_id, `${retry}/${sequence}`, type);
  }
  response.writeHead(204).end();
});
server.listen(Number(PORT), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
