// Microsoft's DAP client debugs an ERC-20 transfer: data breakpoint, forth, back, end. node debugging_round.mjs MODULES PORT
import { createRequire } from "node:module";

const [modules, port] = process.argv.slice(2);
const { DebugClient } = createRequire(`${modules}/`)("@vscode/debugadapter-testsupport");
const SLOT = "0xe8b7d5713dbfd2d58221bf4d336d2b17d836f038d64887300fdd2d793ac9db29";

const client = new DebugClient("none", "none", "zvmd");
await client.start(Number(port));
const stops = [];
const thread = { threadId: 1 };

async function stoppedAfter(request) {
  const [event] = await Promise.all([client.waitForEvent("stopped", 20000), request]);
  const [frame] = (await client.stackTraceRequest(thread)).body.stackFrames;
  const place = { memoryReference: frame.instructionPointerReference, instructionCount: 1 };
  const [line] = (await client.disassembleRequest(place)).body.instructions;
  stops.push([event.body.reason, line.instruction]);
  return frame;
}

const initialized = client.waitForEvent("initialized", 20000);
const { body } = await client.initializeRequest({ adapterID: "zvmd", linesStartAt1: true, columnsStartAt1: true });
await client.launchRequest({ template: "erc20-transfer" });
await initialized;
await client.setExceptionBreakpointsRequest({ filters: ["failure"] });
await stoppedAfter(client.configurationDoneRequest());

const info = (await client.dataBreakpointInfoRequest({ name: `storage[${SLOT}]` })).body;
const set = await client.setDataBreakpointsRequest({ breakpoints: [{ dataId: info.dataId, accessType: "write" }] });
if (!set.body.breakpoints[0].verified) throw new Error(JSON.stringify(set.body));
await stoppedAfter(client.continueRequest(thread));
await client.setDataBreakpointsRequest({ breakpoints: [{ dataId: info.dataId, accessType: "write" }] });
await Promise.all([client.waitForEvent("stopped", 20000), client.nextRequest(thread)]);
const scopes = (await client.scopesRequest({ frameId: 1 })).body.scopes;
const storage = scopes.find((scope) => scope.name === "storage").variablesReference;
const { variables } = (await client.variablesRequest({ variablesReference: storage })).body;
await stoppedAfter(client.reverseContinueRequest(thread));
await client.setDataBreakpointsRequest({ breakpoints: [] });
const frame = await stoppedAfter(client.reverseContinueRequest(thread));
const place = { memoryReference: frame.instructionPointerReference, instructionCount: 5 };
const disassembled = (await client.disassembleRequest(place)).body.instructions.length;
await stoppedAfter(client.continueRequest(thread));
const frames = (await client.stackTraceRequest(thread)).body.totalFrames;
const ended = client.waitForEvent("terminated", 20000);
await client.disconnectRequest({ terminateDebuggee: true });
await ended;
console.log(
  JSON.stringify({
    capabilities: body.supportsStepBack && body.supportsDataBreakpoints && body.supportsInstructionBreakpoints,
    stops,
    slot: variables.find((variable) => variable.name === SLOT).value,
    frames,
    disassembled,
  }),
);
process.exit(0);
