// Unmodified ethers: deploys an ERC-20, uses it, prints what it saw as JSON. node erc20.mjs ETHERS URL-OR-SOCKET SECRET < contract
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [ethersFolder, url, secret] = process.argv.slice(2);
const ethers = createRequire(`${ethersFolder}/`)("ethers");
const { abi, bytecode } = JSON.parse(readFileSync(0, "utf8"));

// without its cache: it would repeat a nonce it read less than 250 ms ago, and blocks here come faster
const options = { pollingInterval: 50, cacheTimeout: -1 };
const provider = url.startsWith("/")
  ? new ethers.IpcSocketProvider(url, undefined, options)
  : new ethers.JsonRpcProvider(url, undefined, options);
const wallet = new ethers.Wallet(secret, provider);
const friend = "0x" + "e7".repeat(20);

const token = await new ethers.ContractFactory(abi, bytecode, wallet).deploy("Ethers", "ETH6", 1000n, wallet.address);
await token.waitForDeployment();
const receipt = await (await token.transfer(friend, 40n)).wait();
let refusal = "";
try {
  await token.transfer.staticCall(friend, 10000n);
} catch (error) {
  refusal = error.reason ?? error.shortMessage;
}
const [event] = await token.queryFilter(token.filters.Transfer(wallet.address), receipt.blockNumber, receipt.blockNumber);
const fees = await provider.getFeeData();
console.log(
  JSON.stringify({
    chainId: Number((await provider.getNetwork()).chainId),
    symbol: await token.symbol(),
    friendHas: Number(await token.balanceOf(friend)),
    status: receipt.status,
    gasUsed: Number(receipt.gasUsed),
    eventValue: Number(event.args.value),
    refusal,
    maxFeePerGasIsSet: fees.maxFeePerGas > 0n,
    blockHashAgrees: (await provider.getBlock(receipt.blockNumber)).hash === receipt.blockHash,
  }),
);
provider.destroy();
