// Prints each event once, in order, whatever is repeated on the topic: node build/consumer.js
//
// The state of the fold is in memory, so each start reads the topic from its beginning. In your program, store it in the
// same transaction as what you make of the events, and commit the offsets after that.
import { readFileSync } from "node:fs";
import { SchemaRegistry, SchemaType } from "@kafkajs/confluent-schema-registry";
import kafkajs from "kafkajs";
import { compressFrame, decompressFrame } from "lz4-napi";
import type { GenerationEvent } from "./genflow-types/GenerationEvent.js";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
const { KAFKA_BROKERS = "127.0.0.1:9092", TOPIC_EVENTS: topic = "gen.events" } = process.env;
const { SCHEMA_REGISTRY_URL = "http://127.0.0.1:8081/apis/ccompat/v7", GROUP = "example-typescript" } = process.env;

/** What the fold keeps of a request. */
interface Held {
  retry: number;
  sequence: number;
  run: string | null;
  occurredAt: number;
  /** When this life of the request began. */
  began: number | null;
}

/** Returns what to keep after a new event; undefined for an event that is a repeat (docs/events.md#the-fold). */
function fold(held: Held | undefined, event: GenerationEvent): Held | undefined {
  const { retry, sequence, run_id: run, occurred_at: occurredAt } = event;
  let began = retry === 0 && sequence === 0 ? occurredAt : null;
  if (held) {
    const newLife = began !== null && occurredAt > held.occurredAt && run !== held.run;
    const later = retry > held.retry || (retry === held.retry && sequence > held.sequence);
    const thisLife = held.began === null || occurredAt >= held.began;
    if (!newLife && !(later && thisLife)) return undefined;
    began ??= held.began;
  }
  return { retry, sequence, run, occurredAt, began };
}

// What this program reads; the registry's client resolves the schema of each record to it.
const schema = JSON.parse(readFileSync(new URL("../../../schemas/GenerationEvent.avsc", import.meta.url), "utf8"));
const readerSchema = { type: SchemaType.AVRO, ...schema };
const registry = new SchemaRegistry({ host: SCHEMA_REGISTRY_URL });
// genflow compresses its records by LZ4, which kafkajs leaves to other packages.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: ({ buffer }: { buffer: Buffer }) => compressFrame(buffer),
  decompress: (buffer: Buffer) => decompressFrame(buffer),
});
const kafka = new Kafka({ brokers: KAFKA_BROKERS.split(","), logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: GROUP });
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });

const state = new Map<string, Held>();
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ message }) => {
    if (!message.value) return;
    const event: GenerationEvent = await registry.decode(message.value, { [SchemaType.AVRO]: { readerSchema } });
    const held = fold(state.get(event.request_id), event);
    if (!held) return;
    state.set(event.request_id, held);
    const files = event.result?.outputs.map((output) => output.uri) ?? [];
    console.log(event.request_id, `${event.retry}/${event.sequence}`, event.type, ...files);
  },
});
