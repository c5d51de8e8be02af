// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

contract Counter {
    uint256 public number;
    address public owner = msg.sender;

    event Set(address indexed by, uint256 number);

    error TooBig(uint256 number, uint256 limit);
    error NotOwner();

    function set(uint256 next) public {
        if (next > 1000) revert TooBig(next, 1000);
        number = next;
        emit Set(msg.sender, next);
    }

    function increment() public {
        set(number + 1);
    }

    function sweep() public {
        if (msg.sender != owner) revert NotOwner();
        payable(msg.sender).transfer(address(this).balance);
    }

    function refuse() public pure {
        require(false, "no");
    }

    function overflow() public view returns (uint256) {
        return number - 2000;
    }

    function time() public view returns (uint256) {
        return block.timestamp;
    }

    receive() external payable {}
}
