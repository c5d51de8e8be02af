// web3.js 4. node web3js.mjs NODE_MODULES URL < contract
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { run } from "./steps.mjs";

const [folder, url] = process.argv.slice(2);
const { Web3 } = createRequire(`${folder}/`)("web3");
const { abi, bytecode } = JSON.parse(readFileSync(0, "utf8"));
const web3 = new Web3(url);
const socket = new Web3(new Web3.providers.WebsocketProvider(url.replace("http", "ws")));
const friend = "0x" + "e8".repeat(20);
let from, token;

await run({
  "getChainId, getBlockNumber, getGasPrice, isMining, getNodeInfo": async () => {
    assert.equal(await web3.eth.getChainId(), 31337n);
    assert.ok((await web3.eth.getBlockNumber()) >= 0n);
    assert.ok((await web3.eth.getGasPrice()) > 0n);
    assert.equal(typeof (await web3.eth.isMining()), "boolean");
    assert.ok(await web3.eth.getNodeInfo());
  },
  "getAccounts": async () => {
    from = (await web3.eth.getAccounts())[5];
    assert.ok(from);
  },
  "Contract.deploy": async () => {
    const made = new web3.eth.Contract(abi).deploy({ data: bytecode, arguments: ["Web3", "W3", "1000", from] });
    token = await made.send({ from });
    assert.ok(token.options.address);
  },
  "call, estimateGas, send": async () => {
    assert.equal(await token.methods.symbol().call(), "W3");
    assert.ok((await token.methods.transfer(friend, 1).estimateGas({ from })) > 21000n);
    const receipt = await token.methods.transfer(friend, 1).send({ from });
    assert.equal(receipt.events.Transfer.returnValues.value, 1n);
  },
  "a revert with its reason": async () =>
    assert.rejects(token.methods.transfer(friend, 10n ** 9n).call({ from }), (error) =>
      /exceeds balance/.test(JSON.stringify(error.innerError?.message ?? "") + error.message + (error.reason ?? "") + String(error.cause?.message))),
  "getPastEvents, getPastLogs": async () => {
    assert.ok((await token.getPastEvents("Transfer", { fromBlock: 0 })).length >= 2);
    assert.ok((await web3.eth.getPastLogs({ address: token.options.address, fromBlock: 0 })).length >= 2);
  },
  "sendTransaction": async () => {
    const receipt = await web3.eth.sendTransaction({ from, to: friend, value: 1 });
    assert.equal(receipt.status, 1n);
  },
  "accounts.signTransaction, sendSignedTransaction": async () => {
    const account = web3.eth.accounts.privateKeyToAccount(
      "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a");
    web3.eth.accounts.wallet.add(account);
    const receipt = await web3.eth.sendTransaction({ from: account.address, to: friend, value: 2 });
    assert.equal(receipt.status, 1n);
  },
  "a transaction object with chain and hardfork": async () => {
    const gas = await web3.eth.estimateGas({ from, to: friend, value: 1, chain: "mainnet", hardfork: "london" });
    assert.equal(gas, 21000n);
  },
  "getBlock, getTransaction, getTransactionReceipt, getFeeHistory, getProof": async () => {
    const block = await web3.eth.getBlock("latest", true);
    assert.ok(block.hash);
    assert.ok((await web3.eth.getFeeHistory(1, "latest", [50])).baseFeePerGas.length >= 1);
    assert.ok((await web3.eth.getProof(token.options.address, ["0x" + "00".repeat(32)], "latest")).accountProof.length > 0);
  },
  "sign": async () => assert.ok(await web3.eth.sign("0x68656c6c6f", from)),
  "subscriptions over WebSocket": async () => {
    const heads = await socket.eth.subscribe("newBlockHeaders");
    const logs = await socket.eth.subscribe("logs", { address: token.options.address });
    const seen = Promise.all([heads, logs].map((each) => new Promise((resolve) => each.on("data", resolve))));
    await token.methods.transfer(friend, 1).send({ from });
    const [head, log] = await seen;
    assert.equal(head.number, log.blockNumber);
    await heads.unsubscribe();
    await logs.unsubscribe();
  },
  "batch": async () => {
    const batch = new web3.BatchRequest();
    const one = batch.add({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] });
    const two = batch.add({ jsonrpc: "2.0", id: 2, method: "eth_blockNumber", params: [] });
    await batch.execute();
    assert.deepEqual([await one, typeof (await two)], ["0x7a69", "string"]);
  },
});
