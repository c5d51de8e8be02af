"""Root of the error tree: every error has a slug, a JSON-RPC code and a hint.

    ZvmdError
    ├── InvalidHex                 input.hex
    ├── InvalidRlp                 input.rlp
    ├── InvalidGenesis             input.genesis
    ├── InvalidBlock               block.invalid
    │   ├── BlockTooLarge          block.size
    │   ├── InvalidHeader          block.header
    │   ├── InvalidBody            block.body
    │   ├── InvalidUncles          block.uncles
    │   └── WrongResult            block.result
    └── InvalidTransaction         tx.*  (one subclass per reason, below)

Each package shows its own branches in its ``errors.py``. ``code`` is stable and documented; ``rpc_code`` is
what JSON-RPC and QUIC answers carry; ``hint`` tells the user what to do; ``exit_code`` is the status of a process
that the error ends (docs/operations.md; most are those of sysexits.h).
"""

from __future__ import annotations

from typing import ClassVar

EXIT_FAILED = 1
EXIT_CORRUPT = 65
EXIT_ROOT_MISMATCH = 66
EXIT_TOO_NEW = 67
EXIT_UNAVAILABLE = 69
EXIT_PANIC = 70
EXIT_FULL = 73
EXIT_LOCKED = 75
EXIT_CONFIG = 78


class ZvmdError(Exception):
    """An error a user can cause or has to know of."""

    code: ClassVar[str] = "zvmd.error"
    rpc_code: ClassVar[int] = -32000
    hint: ClassVar[str] = ""
    exit_code: ClassVar[int] = EXIT_FAILED


class InvalidHex(ZvmdError):
    """Text that should be hex is not, or has the wrong length."""

    code = "input.hex"
    rpc_code = -32602
    hint = "give 0x followed by an even number of hex digits of the right length"


class InvalidRlp(ZvmdError):
    """Bytes are not canonical RLP, or not of the expected shape."""

    code = "input.rlp"
    rpc_code = -32602
    hint = "send the canonical RLP (or EIP-2718) encoding"


class InvalidGenesis(ZvmdError):
    """A genesis description cannot be used."""

    code = "input.genesis"
    rpc_code = -32602
    hint = "use geth's genesis.json format"


class InvalidBlock(ZvmdError):
    """A block that no chain may contain on top of its parent."""

    code = "block.invalid"
    rpc_code = -32003
    hint = "check that the block was made for this chain and that its bytes are whole"


class BlockTooLarge(InvalidBlock):
    """The encoded block is above the limit of EIP-7934."""

    code = "block.size"


class InvalidHeader(InvalidBlock):
    """A header field does not follow from the parent and the chain's rules."""

    code = "block.header"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        """Which, as `chain.blocks.Header` calls it."""


class InvalidBody(InvalidBlock):
    """Transactions, withdrawals or uncles are not those whose roots the header names."""

    code = "block.body"


class InvalidUncles(InvalidBlock):
    """An uncle is too many, too old, known already or wrong itself."""

    code = "block.uncles"


class WrongResult(InvalidBlock):
    """Executing the block gives another value than its header says."""

    code = "block.result"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        """Which, as `chain.blocks.Header` calls it."""


class InvalidTransaction(ZvmdError):
    """A transaction that no block may contain at this point."""

    code = "tx.invalid"
    rpc_code = -32003
    hint = "the transaction was refused and changed nothing"
    phrase: ClassVar[str] = ""
    """How geth says it. Messages begin with it: ethers, viem and web3.py tell refusals apart by these words."""

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.phrase}: {message}" if self.phrase else message


class MalformedTransaction(InvalidTransaction):
    """The bytes are not a transaction of a known type."""

    code = "tx.malformed"
    rpc_code = -32602
    hint = "send a signed legacy, 2930, 1559, 4844 or 7702 transaction"


class UnsupportedTransactionType(InvalidTransaction):
    """The transaction type does not exist at this fork."""

    code = "tx.type_unsupported"
    hint = "use a type the chain's fork knows"
    phrase = "transaction type not supported"


class InvalidSignature(InvalidTransaction):
    """The signature is out of range, malleable (high s) or recovers no key."""

    code = "tx.signature"
    hint = "sign the transaction again with a current library"


class WrongChainId(InvalidTransaction):
    """The transaction was signed for another chain."""

    code = "tx.chain_id"
    hint = "sign with the chain id eth_chainId returns"
    phrase = "invalid chain id for signer"


class NonceTooLow(InvalidTransaction):
    """The sender has already used this nonce."""

    code = "tx.nonce_low"
    hint = "use the pending nonce: eth_getTransactionCount(sender, 'pending')"
    phrase = "nonce too low"


class NonceTooHigh(InvalidTransaction):
    """The nonce leaves a gap after the sender's next nonce."""

    code = "tx.nonce_high"
    hint = "send the missing nonces first"
    phrase = "nonce too high"


class NonceOverflow(InvalidTransaction):
    """The sender's nonce is at its maximum, 2**64 - 1 (EIP-2681)."""

    code = "tx.nonce_max"
    hint = "use another account"
    phrase = "nonce has max value"


class InsufficientFunds(InvalidTransaction):
    """The sender cannot pay gas limit x fee cap + value."""

    code = "tx.funds"
    hint = "fund the sender, or lower value, gas limit or fee"
    phrase = "insufficient funds for gas * price + value"


class GasLimitTooHigh(InvalidTransaction):
    """The gas limit exceeds the block's or the transaction cap (EIP-7825)."""

    code = "tx.gas_limit_high"
    hint = "lower the gas limit"
    phrase = "gas limit reached"


class IntrinsicGasTooLow(InvalidTransaction):
    """The gas limit is below the intrinsic gas (Yellow Paper 6.2) or the floor of EIP-7623."""

    code = "tx.gas_intrinsic"
    hint = "raise the gas limit; eth_estimateGas tells how much"
    phrase = "intrinsic gas too low"


class FeeTooLow(InvalidTransaction):
    """The fee cap is below the block's base fee."""

    code = "tx.fee_low"
    hint = "raise maxFeePerGas or gasPrice to at least the base fee"
    phrase = "max fee per gas less than block base fee"


class PriorityFeeAboveMaxFee(InvalidTransaction):
    """maxPriorityFeePerGas is above maxFeePerGas (EIP-1559)."""

    code = "tx.fee_order"
    hint = "lower the priority fee or raise the max fee"
    phrase = "max priority fee per gas higher than max fee per gas"


class BlobFeeTooLow(InvalidTransaction):
    """maxFeePerBlobGas is below the blob base fee (EIP-4844)."""

    code = "tx.blob_fee_low"
    hint = "raise maxFeePerBlobGas"
    phrase = "max fee per blob gas less than block blob gas fee"


class InvalidBlobs(InvalidTransaction):
    """A blob transaction has no blobs, too many, a wrong version byte, or no recipient (EIP-4844)."""

    code = "tx.blobs"
    hint = "check the blob versioned hashes"


class BlobsMissing(InvalidTransaction):
    """A blob transaction was sent without its blobs (EIP-4844)."""

    code = "tx.blobs_missing"
    hint = "send the network form: the transaction with its blobs, commitments and proofs"
    phrase = "missing sidecar in blob transaction"


class InvalidAuthorizationList(InvalidTransaction):
    """A set-code transaction has an empty or malformed authorization list, or no recipient (EIP-7702)."""

    code = "tx.authorizations"
    hint = "give at least one well-formed authorization and a recipient"


class SenderNotEoa(InvalidTransaction):
    """The sender has code and is not a delegated account (EIP-3607)."""

    code = "tx.sender_code"
    hint = "send from an externally owned account"
    phrase = "sender not an eoa"


class InitcodeTooLarge(InvalidTransaction):
    """Creation code exceeds 49,152 bytes (EIP-3860)."""

    code = "tx.initcode_size"
    hint = "make the contract smaller"
    phrase = "max initcode size exceeded"


class TransactionTooLarge(InvalidTransaction):
    """The transaction is larger than a record of the node's log."""

    code = "tx.size"
    hint = "send less data; a node with larger storage.segment_size_bytes takes up to 8 MiB"
    phrase = "oversized data"


class UnderpricedReplacement(InvalidTransaction):
    """Another transaction with this sender and nonce waits, and the new one does not pay 10 % more."""

    code = "tx.replacement"
    hint = "raise both fees by at least 10 %"
    phrase = "replacement transaction underpriced"
