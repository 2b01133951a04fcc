// What AsyncAPI's own parser finds wrong with a document: one line each, exit code 1.
import { readFileSync } from "node:fs";
import { DiagnosticSeverity, Parser } from "@asyncapi/parser";

const { diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const faults = diagnostics.filter(({ severity }) => severity <= DiagnosticSeverity.Warning);
for (const { path, message } of faults) console.log(`${path.join("/")}: ${message}`);
process.exitCode = faults.length ? 1 : 0;
