"""Why a block must be refused: the vectors' names for reasons, and the errors here that mean the same."""

from __future__ import annotations

from chain.errors import InvalidHeader, InvalidUncles, WrongResult, ZvmdError

_OLD_BODIES = ("block.body",)
"""Older vectors put bad transactions into blocks whose transactions root is that of other ones."""

REASONS: dict[str, tuple[str, ...]] = {
    # Names of retesteth
    "3675PreParis1559BlockRejected": ("block.header uncles_hash",),
    "ExtraDataTooBig": ("block.header extra_data",),
    "InvalidGasLimit2": ("block.header gas_limit",),
    "InvalidLogBloom": ("block.result bloom",),
    "InvalidNumber": ("block.header number",),
    "InvalidTimestampOlderParent": ("block.header timestamp",),
    "PostParisUncleHashIsNotEmpty": ("block.header uncles_hash",),
    "RLP_ExpectedAsList": ("block.body",),
    "TR_FeeCapLessThanBlocks": ("tx.fee_low", *_OLD_BODIES),
    "TR_FeeCapLessThanBlocksORGasLimitReached": ("tx.fee_low", "tx.gas_limit_high", *_OLD_BODIES),
    "TR_FeeCapLessThanBlocksORNoFunds": ("tx.fee_low", "tx.funds", *_OLD_BODIES),
    "TR_GasLimitReached": ("tx.gas_limit_high", *_OLD_BODIES),
    "TR_IntrinsicGas": ("tx.gas_intrinsic", *_OLD_BODIES),
    "TR_NoFunds": ("tx.funds", *_OLD_BODIES),
    "TR_NonceTooHigh": ("tx.nonce_high", *_OLD_BODIES),
    "TooManyUncles": ("block.uncles",),
    "UncleInChain": ("block.uncles",),
    "UncleIsAncestor": ("block.uncles",),
    # Names of execution-spec-tests
    "BlockException.EXTRA_DATA_TOO_BIG": ("block.header extra_data",),
    "BlockException.IMPORT_IMPOSSIBLE_UNCLES_OVER_PARIS": ("block.header uncles_hash",),
    "BlockException.INCORRECT_BLOCK_FORMAT": ("input.rlp",),
    "BlockException.INCORRECT_EXCESS_BLOB_GAS": ("block.header excess_blob_gas",),
    "BlockException.INVALID_BLOCK_NUMBER": ("block.header number",),
    "BlockException.INVALID_BLOCK_TIMESTAMP_OLDER_THAN_PARENT": ("block.header timestamp",),
    "BlockException.INVALID_DEPOSIT_EVENT_LAYOUT": ("vm.block.deposit",),
    "BlockException.INVALID_GASLIMIT": ("block.header gas_limit",),
    "BlockException.INVALID_LOG_BLOOM": ("block.result bloom",),
    "BlockException.INVALID_REQUESTS": ("block.result requests_hash",),
    "BlockException.RLP_BLOCK_LIMIT_EXCEEDED": ("block.size",),
    "BlockException.RLP_STRUCTURES_ENCODING": ("input.rlp", "block.body"),
    "BlockException.RLP_WITHDRAWALS_NOT_READ": ("block.body",),
    "BlockException.SYSTEM_CONTRACT_CALL_FAILED": ("vm.block.system_call",),
    "BlockException.SYSTEM_CONTRACT_EMPTY": ("vm.block.system_contract",),
    "TransactionException.GAS_ALLOWANCE_EXCEEDED": ("tx.gas_limit_high", *_OLD_BODIES),
    "TransactionException.GAS_LIMIT_EXCEEDS_MAXIMUM": ("tx.gas_limit_high",),
    "TransactionException.INSUFFICIENT_ACCOUNT_FUNDS": ("tx.funds", *_OLD_BODIES),
    "TransactionException.INSUFFICIENT_MAX_FEE_PER_BLOB_GAS": ("tx.blob_fee_low",),
    "TransactionException.INSUFFICIENT_MAX_FEE_PER_GAS": ("tx.fee_low", *_OLD_BODIES),
    "TransactionException.INTRINSIC_GAS_TOO_LOW": ("tx.gas_intrinsic", *_OLD_BODIES),
    "TransactionException.NONCE_MISMATCH_TOO_HIGH": ("tx.nonce_high", *_OLD_BODIES),
    "TransactionException.NONCE_MISMATCH_TOO_LOW": ("tx.nonce_low",),
    "TransactionException.SENDER_NOT_EOA": ("tx.sender_code",),
    "TransactionException.TYPE_2_TX_PRE_FORK": ("tx.type_unsupported",),
    "TransactionException.TYPE_3_TX_BLOB_COUNT_EXCEEDED": ("tx.blobs",),
    "TransactionException.TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH": ("tx.blobs",),
    "TransactionException.TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED": (
        "tx.blobs",
        "block.header blob_gas_used",
    ),
    "TransactionException.TYPE_3_TX_WITH_FULL_BLOBS": ("tx.malformed",),
    "TransactionException.TYPE_4_TX_CONTRACT_CREATION": ("tx.authorizations",),
    "TransactionException.TYPE_4_TX_PRE_FORK": ("tx.type_unsupported",),
}
"""Name in the vectors to slugs of errors; ``slug field`` for errors that name a header field."""


def explains(expected: str, error: ZvmdError) -> bool:
    """Whether the error is one of the reasons named, which ``|`` separates. Unknown names allow any.

    A header's fault has the same name where the header is an uncle's.
    """
    slug = error.code
    if isinstance(error, InvalidHeader | WrongResult):
        slug += " " + error.field

    def allows(reason: str) -> bool:
        return reason == slug or (isinstance(error, InvalidUncles) and reason.startswith(InvalidHeader.code))

    return any(name not in REASONS or any(map(allows, REASONS[name])) for name in expected.split("|"))
