// Every action of viem that a node without a fork and a local key can serve, each checked for its result.
// node actions.mjs NODE_MODULES URL < contract   prints a line of JSON per action: {"action", "ok", "error"?}
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, url] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const viem = require("viem");
const { foundry } = require("viem/chains");
const { privateKeyToAccount } = require("viem/accounts");
const { createSiweMessage } = require("viem/siwe");

const { abi, bytecode } = JSON.parse(readFileSync(0, "utf8"));
const chain = { ...foundry, rpcUrls: { default: { http: [url] } } };
const [owner, friend] = ["0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"];
const local = privateKeyToAccount("0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"); // account 2
const stranger = "0x00000000000000000000000000000000000057ab";
const transport = viem.http(url, { retryCount: 0 });
const client = viem
  .createTestClient({ chain, mode: "anvil", transport, pollingInterval: 50, cacheTime: 0 })
  .extend(viem.publicActions)
  .extend(viem.walletActions);
const batching = viem.createPublicClient({ chain, transport: viem.http(url, { batch: true }), cacheTime: 0 });
const socket = viem.createPublicClient({ chain, transport: viem.webSocket(url.replace("http", "ws")), cacheTime: 0 });

let failed = 0;
async function action(name, run) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("no answer in 20 s")), 20_000)));
  try {
    await Promise.race([run(), late]);
    console.log(JSON.stringify({ action: name, ok: true }));
  } catch (error) {
    failed += 1;
    console.log(JSON.stringify({ action: name, ok: false, error: String(error.details ?? error.message).slice(0, 300) }));
  } finally {
    clearTimeout(timer);
  }
}
const mined = async (hash) => {
  const receipt = await client.waitForTransactionReceipt({ hash });
  assert.equal(receipt.status, "success");
  return receipt;
};
const seen = async (watch) => {
  let stop;
  try {
    return await new Promise((resolve, reject) => (stop = watch(resolve, reject)));
  } finally {
    stop?.();
  }
};
const nudge = () => setTimeout(() => client.sendTransaction({ account: owner, to: friend, value: 1n }).catch(() => {}), 300);

// ---- a token to talk to
let token, deployment;
await action("deployContract", async () => {
  const hash = await client.deployContract({ abi, bytecode, account: owner, args: ["Viem", "VIEM", 1000n, owner] });
  deployment = await mined(hash);
  token = deployment.contractAddress;
  assert.ok(viem.isAddress(token));
});
const read = (functionName, args = []) => ({ abi, address: token, functionName, args });

// ---- public actions
await action("getChainId", async () => assert.equal(await client.getChainId(), 31337));
await action("getBlockNumber", async () => assert.ok((await client.getBlockNumber()) >= 1n));
await action("getBlock", async () => {
  const block = await client.getBlock({ includeTransactions: true });
  assert.equal(block.transactions[0].hash, deployment.transactionHash);
});
await action("getBlock pending", async () => {
  const [latest, pending] = [await client.getBlock(), await client.getBlock({ blockTag: "pending" })];
  assert.equal(pending.parentHash, latest.hash);
});
await action("getBlockTransactionCount", async () => assert.equal(await client.getBlockTransactionCount(), 1));
await action("getBlockReceipts", async () => {
  const receipts = await client.request({ method: "eth_getBlockReceipts", params: ["latest"] });
  assert.equal(receipts[0].transactionHash, deployment.transactionHash);
});
await action("getTransaction", async () => {
  const found = await client.getTransaction({ hash: deployment.transactionHash });
  assert.equal(viem.getAddress(found.from), owner);
  assert.equal(found.typeHex, "0x2");
});
await action("getTransaction by index", async () => {
  const found = await client.getTransaction({ blockNumber: deployment.blockNumber, index: 0 });
  assert.equal(found.hash, deployment.transactionHash);
});
await action("getRawTransaction", async () => {
  const raw = await client.request({ method: "eth_getRawTransactionByHash", params: [deployment.transactionHash] });
  assert.equal(viem.keccak256(raw), deployment.transactionHash);
});
await action("getTransactionReceipt", async () => {
  const receipt = await client.getTransactionReceipt({ hash: deployment.transactionHash });
  assert.equal(receipt.gasUsed, deployment.gasUsed);
});
await action("getTransactionConfirmations", async () =>
  assert.ok((await client.getTransactionConfirmations({ hash: deployment.transactionHash })) >= 1n));
await action("getTransactionCount", async () => assert.ok((await client.getTransactionCount({ address: owner })) >= 1));
await action("getBalance", async () => assert.ok((await client.getBalance({ address: owner })) > 10n ** 21n));
await action("getCode", async () => assert.ok((await client.getCode({ address: token })).length > 100));
await action("getStorageAt", async () =>
  assert.equal((await client.getStorageAt({ address: token, slot: "0x2" })).length, 66));
await action("getProof", async () => {
  const proof = await client.getProof({ address: token, storageKeys: [viem.pad("0x2")] });
  assert.ok(proof.accountProof.length > 0);
  assert.equal(BigInt(proof.storageProof[0].key), 2n);
});
await action("getGasPrice", async () => assert.ok((await client.getGasPrice()) > 0n));
await action("getBlobBaseFee", async () => assert.ok((await client.getBlobBaseFee()) >= 1n));
await action("getFeeHistory", async () => {
  const history = await client.getFeeHistory({ blockCount: 1, rewardPercentiles: [50] });
  assert.equal(history.baseFeePerGas.length, 2);
});
await action("estimateFeesPerGas", async () => assert.ok((await client.estimateFeesPerGas()).maxFeePerGas > 0n));
await action("estimateMaxPriorityFeePerGas", async () =>
  assert.ok((await client.estimateMaxPriorityFeePerGas()) >= 0n));
await action("estimateGas", async () =>
  assert.equal(await client.estimateGas({ account: owner, to: friend, value: 1n }), 21000n));
await action("estimateContractGas", async () =>
  assert.ok((await client.estimateContractGas({ ...read("transfer", [friend, 1n]), account: owner })) > 21000n));
await action("call", async () => {
  const { data } = await client.call({ to: token, data: viem.encodeFunctionData({ abi, functionName: "symbol" }) });
  assert.equal(viem.decodeFunctionResult({ abi, functionName: "symbol", data }), "VIEM");
});
await action("call without an address", async () =>
  assert.equal((await client.call({ data: "0x602a60005260206000f3" })).data, viem.pad("0x2a")));
await action("call with overrides", async () => {
  const stateOverride = [{ address: stranger, code: "0x602a60005260206000f3", balance: 5n }];
  assert.equal((await client.call({ to: stranger, stateOverride })).data, viem.pad("0x2a"));
});
await action("createAccessList", async () => {
  const data = viem.encodeFunctionData({ abi, functionName: "transfer", args: [friend, 1n] });
  const { accessList } = await client.createAccessList({ account: owner, to: token, data });
  assert.ok(accessList.length > 0);
});
await action("readContract", async () => assert.equal(await client.readContract(read("balanceOf", [owner])), 1000n));
await action("readContract deployless", async () => {
  const code = viem.encodeDeployData({ abi, bytecode, args: ["Lens", "LENS", 1n, owner] });
  assert.equal(await client.readContract({ abi, code, functionName: "symbol" }), "LENS");
});
await action("readContract in batches", async () => {
  const answers = await Promise.all(Array.from({ length: 150 }, () => batching.readContract(read("totalSupply"))));
  assert.deepEqual(new Set(answers), new Set([1000n]));
});
await action("multicall deployless", async () => {
  const contracts = [read("symbol"), read("balanceOf", [owner])];
  const answers = await client.multicall({ contracts, deployless: true, allowFailure: false });
  assert.deepEqual(answers, ["VIEM", 1000n]);
});
await action("multicall", async () => {
  const multicallAddress = "0xcA11bde05977b3631167028862bE2a173976CA11";
  const contracts = [read("symbol"), read("balanceOf", [owner])];
  assert.deepEqual(await client.multicall({ contracts, multicallAddress, allowFailure: false }), ["VIEM", 1000n]);
});
await action("simulateContract", async () => {
  const { result } = await client.simulateContract({ ...read("transfer", [friend, 1n]), account: owner });
  assert.equal(result, true);
});
await action("simulateContract reverted", async () =>
  assert.rejects(client.simulateContract({ ...read("transfer", [friend, 10n ** 9n]), account: owner }), (error) =>
    error.walk((cause) => cause instanceof viem.ContractFunctionRevertedError)?.reason ===
      "ERC20: transfer amount exceeds balance"));
await action("simulateCalls", async () => {
  const { results } = await client.simulateCalls({ account: owner, calls: [{ ...read("transfer", [friend, 1n]), to: token }] });
  assert.equal(results[0].status, "success");
});
await action("simulateBlocks", async () => {
  const [block] = await client.simulateBlocks({ blocks: [{ calls: [{ account: owner, to: friend, value: 1n }] }] });
  assert.equal(block.calls[0].status, "success");
});
await action("getEip712Domain absent", async () =>
  assert.rejects(client.getEip712Domain({ address: token }), (error) => error instanceof viem.BaseError));
await action("getDelegation", async () => assert.equal(await client.getDelegation({ address: friend }), undefined));
await action("getContractEvents", async () => {
  const events = await client.getContractEvents({ abi, address: token, eventName: "Transfer", fromBlock: 0n });
  assert.equal(events[0].args.value, 1000n);
});
await action("getLogs", async () => {
  const logs = await client.getLogs({ address: token, fromBlock: 0n, toBlock: "latest" });
  assert.equal(logs[0].blockNumber, deployment.blockNumber);
});
for (const [name, make] of [
  ["createBlockFilter", () => client.createBlockFilter()],
  ["createPendingTransactionFilter", () => client.createPendingTransactionFilter()],
  ["createEventFilter", () => client.createEventFilter({ address: token })],
  ["createContractEventFilter", () => client.createContractEventFilter({ abi, address: token, eventName: "Transfer" })],
]) {
  await action(`${name}, getFilterChanges, uninstallFilter`, async () => {
    const filter = await make();
    const hash = await client.writeContract({ ...read("transfer", [friend, 1n]), account: owner });
    await mined(hash);
    assert.ok((await client.getFilterChanges({ filter })).length >= 1);
    assert.equal(await client.uninstallFilter({ filter }), true);
  });
}
await action("getFilterLogs", async () => {
  const filter = await client.createEventFilter({ address: token, fromBlock: 0n });
  assert.ok((await client.getFilterLogs({ filter })).length >= 1);
});
for (const [way, watcher] of [["polling", client], ["WebSocket", socket]]) {
  await action(`watchBlockNumber, ${way}`, () => {
    nudge();
    return seen((onBlockNumber, onError) => watcher.watchBlockNumber({ onBlockNumber, onError }));
  });
  await action(`watchBlocks, ${way}`, async () => {
    nudge();
    const block = await seen((onBlock, onError) => watcher.watchBlocks({ onBlock, onError }));
    assert.equal(block.hash.length, 66);
  });
  await action(`watchPendingTransactions, ${way}`, async () => {
    nudge();
    const hashes = await seen((onTransactions, onError) => watcher.watchPendingTransactions({ onTransactions, onError }));
    assert.equal(hashes[0].length, 66);
  });
  await action(`watchEvent, ${way}`, async () => {
    setTimeout(() => client.writeContract({ ...read("transfer", [friend, 1n]), account: owner }).catch(() => {}), 300);
    const logs = await seen((onLogs, onError) => watcher.watchEvent({ address: token, onLogs, onError }));
    assert.equal(logs[0].address, token.toLowerCase());
  });
  await action(`watchContractEvent, ${way}`, async () => {
    setTimeout(() => client.writeContract({ ...read("transfer", [friend, 1n]), account: owner }).catch(() => {}), 300);
    const logs = await seen((onLogs, onError) =>
      watcher.watchContractEvent({ abi, address: token, eventName: "Transfer", onLogs, onError }));
    assert.equal(logs[0].args.value, 1n);
  });
}

// ---- wallet actions
await action("getAddresses", async () => assert.ok((await client.getAddresses()).includes(owner)));
await action("requestAddresses", async () => assert.ok((await client.requestAddresses()).includes(owner)));
await action("prepareTransactionRequest", async () => {
  const request = await client.prepareTransactionRequest({ account: owner, to: friend, value: 1n });
  assert.equal(request.gas, 21000n);
});
await action("fillTransaction", async () => {
  const { transaction } = await client.fillTransaction({ account: owner, to: friend, value: 1n });
  assert.equal(transaction.gas, 21000n);
});
await action("sendTransaction", async () => mined(await client.sendTransaction({ account: owner, to: friend, value: 1n })));
for (const type of ["legacy", "eip2930", "eip1559"]) {
  await action(`sendTransaction ${type}, local account`, async () => {
    const receipt = await mined(await client.sendTransaction({ account: local, to: friend, value: 1n, type }));
    assert.equal(receipt.type, type);
  });
}
await action("sendTransaction eip7702, local account", async () => {
  const authorization = await client.signAuthorization({ account: local, contractAddress: token, executor: "self" });
  await mined(await client.sendTransaction({ account: local, to: friend, authorizationList: [authorization] }));
  assert.equal(viem.getAddress(await client.getDelegation({ address: local.address })), viem.getAddress(token));
});
await action("sendTransaction to many at once", async () => {
  const hashes = await Promise.all(
    Array.from({ length: 20 }, () => client.sendTransaction({ account: owner, to: friend, value: 1n, gas: 21000n })));
  await Promise.all(hashes.map(mined));
  assert.equal(new Set(hashes).size, 20);
});
await action("sendTransactionSync", async () => {
  const receipt = await client.sendTransactionSync({ account: owner, to: friend, value: 1n });
  assert.equal(receipt.status, "success");
});
const signed = async () => {
  const request = await client.prepareTransactionRequest({ account: local, to: friend, value: 1n });
  return local.signTransaction(request);
};
await action("sendRawTransaction", async () =>
  mined(await client.sendRawTransaction({ serializedTransaction: await signed() })));
await action("sendRawTransactionSync", async () => {
  const receipt = await client.sendRawTransactionSync({ serializedTransaction: await signed() });
  assert.equal(receipt.status, "success");
});
await action("writeContract", async () =>
  mined(await client.writeContract({ ...read("transfer", [friend, 1n]), account: owner })));
await action("writeContractSync", async () => {
  const receipt = await client.writeContractSync({ ...read("transfer", [friend, 1n]), account: owner });
  assert.equal(receipt.logs.length, 1);
});
await action("signMessage, verifyMessage", async () => {
  const signature = await client.signMessage({ account: owner, message: "hello" });
  assert.equal(await client.verifyMessage({ address: owner, message: "hello", signature }), true);
  assert.equal(await client.verifyMessage({ address: friend, message: "hello", signature }), false);
});
const typed = {
  domain: { name: "zvmd", chainId: 31337, version: "1" },
  types: { Mail: [{ name: "to", type: "address" }, { name: "text", type: "string" }] },
  primaryType: "Mail",
  message: { to: friend, text: "hello" },
};
await action("signTypedData, verifyTypedData", async () => {
  const signature = await client.signTypedData({ account: owner, ...typed });
  assert.equal(await client.verifyTypedData({ address: owner, ...typed, signature }), true);
});
await action("verifySiweMessage", async () => {
  const { verifySiweMessage, generateSiweNonce } = require("viem/siwe");
  const message = createSiweMessage({
    address: owner, chainId: 31337, domain: "localhost", nonce: generateSiweNonce(), uri: "http://localhost/", version: "1",
  });
  const signature = await client.signMessage({ account: owner, message });
  assert.equal(await verifySiweMessage(client, { message, signature }), true);
});
await action("signTransaction", async () => {
  const raw = await client.signTransaction({
    account: owner, to: friend, value: 1n, gas: 21000n, nonce: 0, maxFeePerGas: 10n ** 10n, maxPriorityFeePerGas: 1n,
  });
  assert.equal(viem.parseTransaction(raw).value, 1n);
});
await action("signAuthorization, prepareAuthorization", async () => {
  const authorization = await client.prepareAuthorization({ account: local, contractAddress: token });
  assert.equal(authorization.chainId, 31337);
});

// ---- test actions
await action("mine", async () => {
  const before = await client.getBlockNumber();
  await client.mine({ blocks: 3, interval: 7 });
  assert.equal(await client.getBlockNumber(), before + 3n);
});
await action("increaseTime", async () => {
  const before = await client.getBlock();
  await client.increaseTime({ seconds: 1000 });
  await client.mine({ blocks: 1 });
  assert.ok((await client.getBlock()).timestamp >= before.timestamp + 1000n);
});
await action("setNextBlockTimestamp", async () => {
  const timestamp = (await client.getBlock()).timestamp + 5000n;
  await client.setNextBlockTimestamp({ timestamp });
  await client.mine({ blocks: 1 });
  assert.equal((await client.getBlock()).timestamp, timestamp);
});
await action("setBlockTimestampInterval, removeBlockTimestampInterval", async () => {
  await client.setBlockTimestampInterval({ interval: 13 });
  const before = await client.getBlock();
  await client.mine({ blocks: 1 });
  assert.equal((await client.getBlock()).timestamp, before.timestamp + 13n);
  await client.removeBlockTimestampInterval();
});
await action("snapshot, revert", async () => {
  const before = await client.getBalance({ address: stranger });
  const id = await client.snapshot();
  await client.setBalance({ address: stranger, value: before + 1n });
  await client.revert({ id });
  assert.equal(await client.getBalance({ address: stranger }), before);
});
await action("setBalance", async () => {
  await client.setBalance({ address: stranger, value: 10n ** 18n });
  assert.equal(await client.getBalance({ address: stranger }), 10n ** 18n);
});
await action("impersonateAccount, stopImpersonatingAccount", async () => {
  await client.impersonateAccount({ address: stranger });
  const hash = await client.sendTransaction({ account: stranger, to: friend, value: 1n });
  await mined(hash);
  const found = await client.getTransaction({ hash });
  assert.ok(BigInt(found.r) > 0n && BigInt(found.s) > 0n);
  await client.stopImpersonatingAccount({ address: stranger });
  await assert.rejects(client.sendTransaction({ account: stranger, to: friend, value: 1n }));
});
await action("setCode", async () => {
  await client.setCode({ address: stranger, bytecode: "0x602a60005260206000f3" });
  assert.equal(await client.getCode({ address: stranger }), "0x602a60005260206000f3");
});
await action("setNonce", async () => {
  await client.setNonce({ address: stranger, nonce: 99 });
  assert.equal(await client.getTransactionCount({ address: stranger }), 99);
});
await action("setStorageAt", async () => {
  await client.setStorageAt({ address: stranger, index: 3, value: viem.pad("0x7") });
  assert.equal(await client.getStorageAt({ address: stranger, slot: "0x3" }), viem.pad("0x7"));
});
await action("setCoinbase", async () => {
  await client.setCoinbase({ address: stranger });
  await client.mine({ blocks: 1 });
  assert.equal((await client.getBlock()).miner, stranger);
});
await action("setBlockGasLimit", async () => {
  const { gasLimit } = await client.getBlock();
  await client.setBlockGasLimit({ gasLimit: gasLimit - 1n });
  await client.mine({ blocks: 1 });
  assert.equal((await client.getBlock()).gasLimit, gasLimit - 1n);
  await client.setBlockGasLimit({ gasLimit });
});
await action("setNextBlockBaseFeePerGas", async () => {
  await client.setNextBlockBaseFeePerGas({ baseFeePerGas: 3n * 10n ** 9n });
  await client.mine({ blocks: 1 });
  assert.equal((await client.getBlock()).baseFeePerGas, 3n * 10n ** 9n);
});
await action("sendTransaction after setNextBlockBaseFeePerGas", async () => {
  await client.setNextBlockBaseFeePerGas({ baseFeePerGas: 5n * 10n ** 9n });
  await mined(await client.sendTransaction({ account: owner, to: friend, value: 1n }));
});
await action("getAutomine, setAutomine, dropTransaction", async () => {
  assert.equal(await client.getAutomine(), true);
  await client.setAutomine(false);
  const hash = await client.sendTransaction({ account: owner, to: friend, value: 1n });
  assert.equal((await client.getTxpoolStatus()).pending, 1);
  assert.equal(Object.keys((await client.getTxpoolContent()).pending).length, 1);
  assert.equal(Object.keys((await client.inspectTxpool()).pending).length, 1);
  await client.dropTransaction({ hash });
  assert.equal((await client.getTxpoolStatus()).pending, 0);
  await client.setAutomine(true);
});
await action("setIntervalMining", async () => {
  await client.setAutomine(false);
  await client.setIntervalMining({ interval: 1 });
  const before = await client.getBlockNumber();
  for (let tries = 0; tries < 80 && (await client.getBlockNumber()) < before + 1n; tries += 1)
    await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok((await client.getBlockNumber()) >= before + 1n);
  await client.setIntervalMining({ interval: 0 });
  await client.setAutomine(true);
});
await action("setLoggingEnabled", () => client.setLoggingEnabled(true));
await action("setMinGasPrice", async () => {
  // of chains without a base fee: anvil refuses it too on others
  await assert.rejects(client.setMinGasPrice({ gasPrice: 0n }));
});
await action("sendUnsignedTransaction", async () =>
  mined(await client.sendUnsignedTransaction({ from: stranger, to: friend, value: 1n })));
await action("dumpState, loadState", async () => {
  const state = await client.dumpState();
  await client.setBalance({ address: stranger, value: 7n });
  await client.loadState({ state });
});
await action("reset", async () => {
  await client.reset();
  assert.equal(await client.getBlockNumber(), 0n);
});
await socket.transport.getRpcClient().then((rpc) => rpc.close());
console.log(JSON.stringify({ action: "the script ended", ok: true }));
process.exit(failed ? 1 : 0);
