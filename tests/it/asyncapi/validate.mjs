// Checks the AsyncAPI document of standard input with AsyncAPI's own parser, and prints what is wrong as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The packages are not beside this file, but in the folder that is given.
const require = createRequire(`${process.argv[2]}/`);
const { Parser } = require("@asyncapi/parser");
const { AvroSchemaParser } = require("@asyncapi/avro-schema-parser");

const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
const { document, diagnostics } = await parser.parse(readFileSync(0, "utf8"));
// 0 is an error, 1 a warning; the others are advice.
const faults = diagnostics.filter(({ severity }) => severity <= 1);
const channels = document ? document.channels().all().map((channel) => channel.address()) : [];
console.log(JSON.stringify({ channels, faults: faults.map(({ code, path, message }) => ({ code, path, message })) }));
