// Makes genflow-types from the schemas: npm run types
import { readFileSync, writeFileSync } from "node:fs";
import avroTs from "@ovotech/avro-ts";

// Who writes a record may leave out fields with a default; who reads one has them all.
for (const [name, defaultsAsOptional] of [["GenerationRequest", true], ["GenerationEvent", false]]) {
  const schema = JSON.parse(readFileSync(`../../schemas/${name}.avsc`, "utf8"));
  writeFileSync(`genflow-types/${name}.ts`, avroTs.toTypeScript(schema, { defaultsAsOptional }));
}
