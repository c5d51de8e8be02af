import { createRequire } from "node:module";
import viem from "@nomicfoundation/hardhat-toolbox-viem";
import ethers from "@nomicfoundation/hardhat-toolbox-mocha-ethers";
import { defineConfig } from "hardhat/config";

export default defineConfig({
  plugins: process.env.TOOLBOX === "ethers" ? [ethers] : [viem],
  // the compiler from npm: nothing is downloaded
  solidity: { version: "0.8.37", path: createRequire(import.meta.url).resolve("solc/soljson.js") },
  networks: { zvmd: { type: "http", chainType: "l1", url: process.env.NODE_URL! } },
  paths: { tests: { nodejs: "test/viem", mocha: "test/ethers" } },
});
