// Hardhat 2 with its network helpers and chai matchers, against a node.
const { expect } = require("chai");
const { ethers } = require("hardhat");
const helpers = require("@nomicfoundation/hardhat-network-helpers");

const fixture = async () => ({ counter: await ethers.deployContract("Counter") });

describe("Hardhat 2", () => {
  it("loadFixture", async () => {
    const { counter } = await helpers.loadFixture(fixture);
    await counter.increment();
    const again = await helpers.loadFixture(fixture);
    expect(await again.counter.number()).to.equal(0n);
  });

  it("mine, time", async () => {
    const before = await helpers.time.latest();
    await helpers.mine(10, { interval: 3 });
    await helpers.time.increase(1000);
    expect(await helpers.time.latest()).to.be.at.least(before + 1000);
    await helpers.time.increaseTo((await helpers.time.latest()) + 50);
    await helpers.mineUpTo((await helpers.time.latestBlock()) + 5);
  });

  it("setBalance, setCode, setNonce, setStorageAt, setPrevRandao, setCoinbase", async () => {
    const address = "0x00000000000000000000000000000000000057ac";
    await helpers.setBalance(address, 5n);
    await helpers.setCode(address, "0x602a60005260206000f3");
    await helpers.setNonce(address, 3);
    await helpers.setStorageAt(address, 1, 9);
    await helpers.setPrevRandao(7);
    await helpers.setCoinbase(address);
    expect(await ethers.provider.getBalance(address)).to.equal(5n);
    expect(await ethers.provider.getStorage(address, 1)).to.equal(9n);
  });

  it("snapshots, impersonation", async () => {
    const snapshot = await helpers.takeSnapshot();
    const whale = "0x00000000000000000000000000000000000a11cf";
    await helpers.setBalance(whale, 10n ** 18n);
    const signer = await ethers.getImpersonatedSigner(whale);
    await (await signer.sendTransaction({ to: whale, value: 1n })).wait();
    await snapshot.restore();
    expect(await ethers.provider.getBalance(whale)).to.equal(0n);
  });

  it("chai matchers", async () => {
    const { counter } = await helpers.loadFixture(fixture);
    const [owner, other] = await ethers.getSigners();
    await expect(counter.set(7n)).to.emit(counter, "Set").withArgs(owner.address, 7n);
    await expect(counter.set(5000n)).to.be.revertedWithCustomError(counter, "TooBig").withArgs(5000n, 1000n);
    await expect(counter.refuse()).to.be.revertedWith("no");
    await expect(counter.overflow()).to.be.revertedWithPanic(0x11);
    await expect(counter.connect(other).sweep()).to.be.revertedWithCustomError(counter, "NotOwner");
    await expect(owner.sendTransaction({ to: counter, value: 5n })).to.changeEtherBalance(counter, 5n);
  });

  it("sends many at once", async () => {
    const { counter } = await helpers.loadFixture(fixture);
    await Promise.all(Array.from({ length: 10 }, () => counter.increment({ gasLimit: 100_000n })));
    expect(await counter.number()).to.equal(10n);
  });

  it("a block gas limit's worth of gas, as configured networks send it", async () => {
    const { counter } = await helpers.loadFixture(fixture);
    const { gasLimit } = await ethers.provider.getBlock("latest");
    await (await counter.increment({ gasLimit })).wait();
  });
});
