// hardhat-ethers and its chai matchers.
import { expect } from "chai";
import { network } from "hardhat";

const { ethers, networkHelpers } = await network.create();

describe("hardhat-ethers", () => {
  const fixture = async () => ({ counter: await ethers.deployContract("Counter") });

  it("emits, reverts, changes balances", async () => {
    const { counter } = await networkHelpers.loadFixture(fixture);
    const [owner, other] = await ethers.getSigners();
    await expect(counter.set(7n)).to.emit(counter, "Set").withArgs(owner.address, 7n);
    await expect(counter.set(5000n)).to.be.revertedWithCustomError(counter, "TooBig").withArgs(5000n, 1000n);
    await expect(counter.refuse()).to.be.revertedWith("no");
    await expect(counter.overflow()).to.be.revertedWithPanic(0x11);
    await expect(counter.connect(other).sweep()).to.be.revertedWithCustomError(counter, "NotOwner");
    await expect(owner.sendTransaction({ to: counter, value: 5n })).to.changeEtherBalance(ethers, counter, 5n);
  });

  it("sends many at once", async () => {
    const { counter } = await networkHelpers.loadFixture(fixture);
    await Promise.all(Array.from({ length: 10 }, () => counter.increment({ gasLimit: 100_000n })));
    expect(await counter.number()).to.equal(10n);
  });

  it("impersonates", async () => {
    const whale = "0x00000000000000000000000000000000000a11ce";
    await networkHelpers.setBalance(whale, 10n ** 18n);
    const signer = await ethers.getImpersonatedSigner(whale);
    await (await signer.sendTransaction({ to: whale, value: 1n })).wait();
  });
});
