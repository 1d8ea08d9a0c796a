// Sends a request for one image: node build/producer.js ID PROMPT
import { SchemaRegistry } from "@kafkajs/confluent-schema-registry";
import { Kafka, logLevel, Partitioners } from "kafkajs";
import type { GenerationRequest } from "./genflow-types/GenerationRequest.js";

const { KAFKA_BROKERS = "127.0.0.1:9092", TOPIC_REQUESTS: topic = "gen.requests", WEBHOOK_URL = null } = process.env;
const { SCHEMA_REGISTRY_URL = "http://127.0.0.1:8081/apis/ccompat/v7" } = process.env;

const [id, prompt] = process.argv.slice(2);
if (!id || !prompt) throw new Error("usage: node build/producer.js ID PROMPT");
const request: GenerationRequest = {
  // Your own id of the work, made before the first send: if you send it again, it still runs once.
  request_id: id,
  user_id: "alice",
  spec: { "genflow.v1.ImageSpec": { prompt, width: 512, height: 512 } },
  webhook_url: WEBHOOK_URL,
  metadata: { from: "typescript" },
};

const registry = new SchemaRegistry({ host: SCHEMA_REGISTRY_URL });
// `genflow setup` has registered the schema.
const schema = await registry.getLatestSchemaId(`${topic}-value`);
const value = await registry.encode(schema, request);

const kafka = new Kafka({ brokers: KAFKA_BROKERS.split(","), logLevel: logLevel.ERROR });
const producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner });
await producer.connect();
// The key is the request's id. An idempotent producer waits for all replicas.
const [sent] = await producer.send({ topic, messages: [{ key: id, value }] });
console.log(`sent ${id} to ${topic}, partition ${sent.partition}`);
await producer.disconnect();
