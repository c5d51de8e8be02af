// Everything of hardhat-network-helpers, as a project that uses Hardhat 3 with viem calls it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { network } from "hardhat";
import { getAddress } from "viem";

const { viem, networkHelpers, ignition } = await network.create();
const { time } = networkHelpers;
const publicClient = await viem.getPublicClient();
const [owner, other] = await viem.getWalletClients();
const stranger = "0x00000000000000000000000000000000000057ab";

async function fixture() {
  return { counter: await viem.deployContract("Counter") };
}

describe("network helpers", () => {
  it("loadFixture returns to the state after the fixture", async () => {
    const { counter } = await networkHelpers.loadFixture(fixture);
    await counter.write.increment();
    assert.equal(await counter.read.number(), 1n);
    const again = await networkHelpers.loadFixture(fixture);
    assert.equal(again.counter.address, counter.address);
    assert.equal(await again.counter.read.number(), 0n);
  });

  it("mine, mineUpTo, time.latestBlock", async () => {
    const before = await time.latestBlock();
    await networkHelpers.mine(5, { interval: 10 });
    assert.equal(await time.latestBlock(), before + 5);
    await networkHelpers.mineUpTo(before + 8);
    assert.equal(await time.latestBlock(), before + 8);
  });

  it("mine more blocks than anybody waits for one by one", async () => {
    const before = await time.latestBlock();
    await networkHelpers.mine(45_818);
    assert.equal(await time.latestBlock(), before + 45_818);
  });

  it("time.increase, increaseTo, latest, setNextBlockTimestamp", async () => {
    const before = await time.latest();
    await time.increase(3_600);
    assert.equal(await time.latest(), before + 3_600);
    await time.increaseTo(before + 7_200);
    assert.equal(await time.latest(), before + 7_200);
    await time.setNextBlockTimestamp(before + 10_000);
    await networkHelpers.mine();
    assert.equal(await time.latest(), before + 10_000);
  });

  it("a view function sees the time that time.increase made", async () => {
    const { counter } = await networkHelpers.loadFixture(fixture);
    const before = await counter.read.time();
    await time.increase(500);
    assert.ok((await counter.read.time()) >= before + 500n);
  });

  it("takeSnapshot", async () => {
    const snapshot = await networkHelpers.takeSnapshot();
    await networkHelpers.setBalance(stranger, 5n);
    await snapshot.restore();
    assert.equal(await publicClient.getBalance({ address: stranger }), 0n);
  });

  it("setBalance, setCode, setNonce, setStorageAt, getStorageAt", async () => {
    await networkHelpers.setBalance(stranger, 10n ** 18n);
    await networkHelpers.setCode(stranger, "0x602a60005260206000f3");
    await networkHelpers.setNonce(stranger, 7);
    await networkHelpers.setStorageAt(stranger, 1, 9);
    assert.equal(await publicClient.getBalance({ address: stranger }), 10n ** 18n);
    assert.equal(await publicClient.getCode({ address: stranger }), "0x602a60005260206000f3");
    assert.equal(await publicClient.getTransactionCount({ address: stranger }), 7);
    assert.equal(BigInt(await networkHelpers.getStorageAt(stranger, 1)), 9n);
  });

  it("impersonateAccount, stopImpersonatingAccount", async () => {
    const whale = "0x00000000000000000000000000000000000a11ce";
    await networkHelpers.setBalance(whale, 10n ** 18n);
    await networkHelpers.impersonateAccount(whale);
    const wallet = await viem.getWalletClient(whale);
    await wallet.sendTransaction({ to: stranger, value: 1n });
    await networkHelpers.stopImpersonatingAccount(whale);
    await assert.rejects(wallet.sendTransaction({ to: stranger, value: 1n }));
  });

  it("setCoinbase, setBlockGasLimit, setNextBlockBaseFeePerGas, setPrevRandao", async () => {
    await networkHelpers.setCoinbase(stranger);
    await networkHelpers.setNextBlockBaseFeePerGas(2n * 10n ** 9n);
    await networkHelpers.setPrevRandao(12345n);
    await networkHelpers.mine();
    const block = await publicClient.getBlock();
    assert.equal(block.miner, stranger);
    assert.equal(block.baseFeePerGas, 2n * 10n ** 9n);
    assert.equal(BigInt(block.mixHash), 12345n);
    await networkHelpers.setBlockGasLimit(block.gasLimit - 1n);
    await networkHelpers.mine();
    assert.equal((await publicClient.getBlock()).gasLimit, block.gasLimit - 1n);
    await networkHelpers.setBlockGasLimit(block.gasLimit);
  });

  it("dropTransaction", async () => {
    const test = await viem.getTestClient();
    await test.setAutomine(false);
    try {
      const hash = await owner.sendTransaction({ to: stranger, value: 1n });
      assert.equal(await networkHelpers.dropTransaction(hash), true);
    } finally {
      await test.setAutomine(true);
    }
  });

  it("many transactions at once", async () => {
    const { counter } = await networkHelpers.loadFixture(fixture);
    await Promise.all(Array.from({ length: 10 }, () => counter.write.increment({ gas: 100_000n })));
    assert.equal(await counter.read.number(), 10n);
  });
});

describe("viem assertions", () => {
  it("emitWithArgs", async () => {
    const { counter } = await networkHelpers.loadFixture(fixture);
    const by = getAddress(owner.account.address);
    await viem.assertions.emitWithArgs(counter.write.set([7n]), counter, "Set", [by, 7n]);
  });

  it("revertWith, custom errors", async () => {
    const { counter } = await networkHelpers.loadFixture(fixture);
    await viem.assertions.revertWith(counter.read.refuse(), "no");
    await viem.assertions.revertWithCustomErrorWithArgs(counter.write.set([5000n]), counter, "TooBig", [5000n, 1000n]);
    await viem.assertions.revertWithCustomError(counter.write.sweep({ account: other.account }), counter, "NotOwner");
  });

  it("balancesHaveChanged", async () => {
    const { counter } = await networkHelpers.loadFixture(fixture);
    await viem.assertions.balancesHaveChanged(
      owner.sendTransaction({ to: counter.address, value: 11n }), [{ address: counter.address, amount: 11n }]);
  });
});

describe("ignition", () => {
  it("deploys a module", async () => {
    const { default: module } = await import("../../ignition/modules/Counter.js");
    const { counter } = await ignition.deploy(module);
    assert.equal(await counter.read.number(), 42n);
  });
});
