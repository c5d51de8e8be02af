"""Functions and errors that many contracts share, so that they are named without an ABI."""

from __future__ import annotations

from typing import Final

FUNCTIONS: Final = (
    # ERC-20, ERC-2612, WETH
    *("transfer(address,uint256)", "transferFrom(address,address,uint256)", "approve(address,uint256)"),
    *("allowance(address,address)", "balanceOf(address)", "totalSupply()", "name()", "symbol()", "decimals()"),
    *("mint(address,uint256)", "mint(uint256)", "burn(uint256)", "burn(address,uint256)", "burnFrom(address,uint256)"),
    *("increaseAllowance(address,uint256)", "decreaseAllowance(address,uint256)", "nonces(address)"),
    *("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", "DOMAIN_SEPARATOR()"),
    *("deposit()", "withdraw(uint256)", "withdraw()"),
    # ERC-165, ERC-721, ERC-1155
    *("supportsInterface(bytes4)", "ownerOf(uint256)", "tokenURI(uint256)", "getApproved(uint256)"),
    *("setApprovalForAll(address,bool)", "isApprovedForAll(address,address)", "safeMint(address,uint256)"),
    *("safeTransferFrom(address,address,uint256)", "safeTransferFrom(address,address,uint256,bytes)"),
    *("balanceOf(address,uint256)", "balanceOfBatch(address[],uint256[])", "uri(uint256)"),
    *("safeTransferFrom(address,address,uint256,uint256,bytes)",),
    *("safeBatchTransferFrom(address,address,uint256[],uint256[],bytes)",),
    *("onERC721Received(address,address,uint256,bytes)", "onERC1155Received(address,address,uint256,uint256,bytes)"),
    # ERC-4626
    *("asset()", "totalAssets()", "deposit(uint256,address)", "mint(uint256,address)"),
    *("withdraw(uint256,address,address)", "redeem(uint256,address,address)"),
    # Ownable, AccessControl, Pausable, proxies
    *("owner()", "transferOwnership(address)", "acceptOwnership()", "renounceOwnership()"),
    *("hasRole(bytes32,address)", "grantRole(bytes32,address)", "revokeRole(bytes32,address)"),
    *("renounceRole(bytes32,address)", "pause()", "unpause()", "paused()"),
    *("upgradeTo(address)", "upgradeToAndCall(address,bytes)", "implementation()", "proxiableUUID()"),
    *("initialize()", "initialize(address)"),
    # Multicall, ERC-1271, ERC-4337, governance
    *("multicall(bytes[])", "aggregate((address,bytes)[])", "aggregate3((address,bool,bytes)[])"),
    *("isValidSignature(bytes32,bytes)", "execute(address,uint256,bytes)"),
    *("propose(address[],uint256[],bytes[],string)", "castVote(uint256,uint8)", "delegate(address)"),
    # what tutorials begin with
    *("increment()", "decrement()", "setNumber(uint256)", "number()", "set(uint256)", "get()"),
    *("inc()", "incBy(uint256)", "setGreeting(string)", "greet()", "store(uint256)", "retrieve()"),
)  # fmt: skip
ERRORS: Final = (
    # OpenZeppelin 5 (ERC-6093)
    *("ERC20InsufficientBalance(address,uint256,uint256)", "ERC20InvalidSender(address)"),
    *("ERC20InvalidReceiver(address)", "ERC20InsufficientAllowance(address,uint256,uint256)"),
    *("ERC20InvalidApprover(address)", "ERC20InvalidSpender(address)"),
    *("ERC721InvalidOwner(address)", "ERC721NonexistentToken(uint256)"),
    *("ERC721IncorrectOwner(address,uint256,address)", "ERC721InvalidSender(address)"),
    *("ERC721InvalidReceiver(address)", "ERC721InsufficientApproval(address,uint256)"),
    *("ERC721InvalidApprover(address)", "ERC721InvalidOperator(address)"),
    *("ERC1155InsufficientBalance(address,uint256,uint256,uint256)", "ERC1155InvalidSender(address)"),
    *("ERC1155InvalidReceiver(address)", "ERC1155MissingApprovalForAll(address,address)"),
    *("ERC1155InvalidApprover(address)", "ERC1155InvalidOperator(address)"),
    *("ERC1155InvalidArrayLength(uint256,uint256)", "ERC2612ExpiredSignature(uint256)"),
    *("ERC2612InvalidSigner(address,address)", "InvalidAccountNonce(address,uint256)"),
    *("OwnableUnauthorizedAccount(address)", "OwnableInvalidOwner(address)"),
    *("AccessControlUnauthorizedAccount(address,bytes32)", "AccessControlBadConfirmation()"),
    *("EnforcedPause()", "ExpectedPause()", "ReentrancyGuardReentrantCall()", "InvalidInitialization()"),
    *("NotInitializing()", "SafeERC20FailedOperation(address)", "AddressEmptyCode(address)"),
    *("AddressInsufficientBalance(address)", "FailedInnerCall()", "FailedCall()", "FailedDeployment()"),
    *("InsufficientBalance(uint256,uint256)", "ECDSAInvalidSignature()", "ERC1967InvalidImplementation(address)"),
    *("UUPSUnauthorizedCallContext()", "ERC4626ExceededMaxDeposit(address,uint256,uint256)"),
)  # fmt: skip
