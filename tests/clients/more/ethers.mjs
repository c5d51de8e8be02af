// ethers v6: provider, signers, contracts, events, filters. node ethers.mjs NODE_MODULES URL < contract
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { run } from "./steps.mjs";

const [folder, url] = process.argv.slice(2);
const { ethers } = createRequire(`${folder}/`)("ethers");
const { abi, bytecode } = JSON.parse(readFileSync(0, "utf8"));
const provider = new ethers.JsonRpcProvider(url, undefined, { pollingInterval: 50, cacheTimeout: -1 });
const socket = new ethers.WebSocketProvider(url.replace("http", "ws"));
const wallet = new ethers.Wallet("0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6", provider);
const friend = "0x" + "e7".repeat(20);
let token, signer;

await run({
  "getNetwork, getBlockNumber, getFeeData": async () => {
    assert.equal((await provider.getNetwork()).chainId, 31337n);
    assert.ok((await provider.getFeeData()).maxFeePerGas > 0n);
    assert.ok((await provider.getBlockNumber()) >= 0);
  },
  "listAccounts, getSigner": async () => {
    signer = (await provider.listAccounts())[4];
    assert.equal((await provider.getSigner(4)).address, signer.address);
  },
  "ContractFactory.deploy, wait": async () => {
    token = await new ethers.ContractFactory(abi, bytecode, wallet).deploy("Ethers", "ETH6", 1000n, wallet.address);
    await token.waitForDeployment();
  },
  "call, estimateGas, staticCall, populateTransaction": async () => {
    assert.equal(await token.symbol(), "ETH6");
    assert.ok((await token.transfer.estimateGas(friend, 1n)) > 21000n);
    assert.equal(await token.transfer.staticCall(friend, 1n), true);
    assert.ok((await token.transfer.populateTransaction(friend, 1n)).data);
  },
  "a revert with its reason": async () =>
    assert.rejects(token.transfer.staticCall(friend, 10n ** 9n), { reason: "ERC20: transfer amount exceeds balance" }),
  "a transaction, its receipt and event": async () => {
    const receipt = await (await token.transfer(friend, 40n)).wait();
    assert.equal(receipt.status, 1);
    const [event] = await token.queryFilter(token.filters.Transfer(wallet.address), receipt.blockNumber);
    assert.equal(event.args.value, 40n);
  },
  "many transactions at once by an account of the node": async () => {
    const sent = await Promise.all(
      Array.from({ length: 20 }, () => signer.sendTransaction({ to: friend, value: 1n, gasLimit: 21000n })));
    const receipts = await Promise.all(sent.map((each) => each.wait()));
    assert.equal(new Set(receipts.map((receipt) => receipt.hash)).size, 20);
  },
  "getTransaction, getTransactionReceipt, getBlock, getLogs": async () => {
    const [log] = await provider.getLogs({ address: await token.getAddress(), fromBlock: 0 });
    assert.equal((await provider.getTransaction(log.transactionHash)).to, null);
    assert.equal((await provider.getTransactionReceipt(log.transactionHash)).logs.length, 1);
    assert.ok((await provider.getBlock("latest", true)).prefetchedTransactions);
  },
  "getBlock pending": async () => {
    const [latest, pending] = [await provider.getBlock("latest"), await provider.getBlock("pending")];
    assert.equal(pending.parentHash, latest.hash);
  },
  "getBalance, getCode, getStorage, getTransactionCount": async () => {
    assert.ok((await provider.getBalance(wallet.address)) > 0n);
    assert.ok((await provider.getCode(token)).length > 2);
    assert.equal((await provider.getStorage(token, 2)).length, 66);
    assert.ok((await provider.getTransactionCount(wallet.address)) > 0);
  },
  "signMessage, signTypedData, sign a transaction": async () => {
    assert.equal(ethers.verifyMessage("hi", await signer.signMessage("hi")), signer.address);
    const types = { Mail: [{ name: "text", type: "string" }] };
    const signature = await signer.signTypedData({ name: "zvmd" }, types, { text: "hi" });
    assert.equal(ethers.verifyTypedData({ name: "zvmd" }, types, { text: "hi" }, signature), signer.address);
    const raw = await wallet.signTransaction(await wallet.populateTransaction({ to: friend, value: 1n }));
    assert.equal((await (await provider.broadcastTransaction(raw)).wait()).status, 1);
  },
  "on block, contract events, once": async () => {
    const seen = new Promise((resolve) => token.once("Transfer", (from, to, value) => resolve(value)));
    await (await token.transfer(friend, 3n)).wait();
    assert.equal(await seen, 3n);
  },
  "WebSocket: block and pending": async () => {
    const block = new Promise((resolve) => socket.once("block", resolve));
    const pending = new Promise((resolve) => socket.once("pending", resolve));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const sent = await wallet.sendTransaction({ to: friend, value: 1n });
    assert.equal(await pending, sent.hash);
    assert.ok((await block) > 0);
  },
  "an impersonated transaction's signature parses": async () => {
    await provider.send("anvil_setBalance", [friend, "0xde0b6b3a7640000"]);
    await provider.send("anvil_impersonateAccount", [friend]);
    const sent = await (await provider.getSigner(friend)).sendTransaction({ to: wallet.address, value: 1n });
    assert.ok((await provider.getTransaction(sent.hash)).signature.s);
  },
});
