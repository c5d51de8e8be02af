// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Counter} from "../src/Counter.sol";

interface Vm {
    function envAddress(string calldata) external returns (address);
    function envUint(string calldata) external returns (uint256);
    function createSelectFork(string calldata, uint256) external returns (uint256);
    function rollFork(uint256) external;
    function rpc(string calldata, string calldata) external returns (bytes memory);
    function prank(address) external;
    function deal(address, uint256) external;
    function expectRevert(bytes calldata) external;
}

/// Runs on a fork of the node, `forge test --fork-url`.
contract ForkTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_TEST = true;

    function testReadsTheNodesState() public {
        require(Counter(payable(vm.envAddress("COUNTER"))).number() == 42, "number");
    }

    function testWritesToTheFork() public {
        Counter counter = Counter(payable(vm.envAddress("COUNTER")));
        vm.prank(address(0xbeef));
        counter.set(77);
        require(counter.number() == 77, "number");
        vm.expectRevert(abi.encodeWithSelector(Counter.TooBig.selector, 5000, 1000));
        counter.set(5000);
    }

    function testRollsBack() public {
        Counter counter = Counter(payable(vm.envAddress("COUNTER")));
        vm.rollFork(vm.envUint("BEFORE_SET"));
        require(counter.number() == 0, "not yet set");
    }

    function testFuzz(uint256 next) public {
        Counter counter = Counter(payable(vm.envAddress("COUNTER")));
        next %= 1001;
        counter.set(next);
        require(counter.number() == next, "number");
    }

    function testAsksTheNode() public {
        require(vm.rpc("eth_chainId", "[]").length > 0, "chain id");
    }
}
