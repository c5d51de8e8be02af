// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Counter} from "../src/Counter.sol";

interface Vm {
    function startBroadcast() external;
    function stopBroadcast() external;
}

/// Deploys with and without a salt, and uses what it deployed.
contract Deploy {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_SCRIPT = true;

    function run() external returns (address salted, address plain) {
        vm.startBroadcast();
        Counter first = new Counter{salt: bytes32(uint256(7))}();
        Counter second = new Counter();
        first.set(41);
        first.increment();
        second.set(5);
        (bool sent,) = address(second).call{value: 3}("");
        require(sent);
        vm.stopBroadcast();
        return (address(first), address(second));
    }
}
