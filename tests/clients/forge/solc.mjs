#!/usr/bin/env node
// The command line of a native Solidity compiler, as far as forge uses it, over npm's build of the same compiler.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const solc = createRequire(`${process.env.CLIENT_MODULES}/`)("solc");
const [command] = process.argv.slice(2);
if (command === "--version") {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version().replace(".Emscripten.clang", ".Linux.g++")}`);
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error(`solc.mjs does not know ${process.argv.slice(2).join(" ")}`);
  process.exit(1);
}
