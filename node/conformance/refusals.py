"""The reasons for which a block must be refused: the names in vectors, and the errors that match each.

The names are those of execution-spec-tests (``BlockException`` and ``TransactionException``) and, for older vectors, of
retesteth. What a name allows follows from what it says, not from which vectors use it: a fault that may be met in
several places may be refused in each of them.
"""

from __future__ import annotations

from itertools import chain

from chain.errors import InvalidHeader, InvalidUncles, WrongResult, ZvmdError
from chain.header_rules import FIELDS_SINCE

BODY = "block.body"
"""The body is not the one whose roots the header names. A block with another transaction than its root says is refused
for either; so may be one whose transaction has a fault."""
ENCODING = ("input.rlp", "tx.malformed", BODY)
"""Bytes that are not a block, a transaction or a field of the right length."""
FORMAT = (*ENCODING, *(f"block.header {field}" for field, _ in FIELDS_SINCE))
"""Includes header fields that are missing, or of a later fork."""
UNCLES = ("block.uncles", BODY, "block.header uncles_hash")
"""Uncles; after the merge any uncle is an error, whatever else is wrong with it."""
_PROOF_OF_WORK = ("block.header difficulty", "block.header nonce", "block.header uncles_hash")
"""Fields that are constant since the merge (EIP-3675), unlike those of a proof-of-work block."""


def _header(*fields: str) -> tuple[str, ...]:
    return tuple(f"block.header {field}" for field in fields)


def _result(*fields: str) -> tuple[str, ...]:
    return tuple(f"block.result {field}" for field in fields)


_BLOCKS: dict[str, tuple[str, ...]] = {
    "TOO_MANY_UNCLES": UNCLES,
    "UNCLE_IN_CHAIN": UNCLES,
    "UNCLE_IS_ANCESTOR": UNCLES,
    "UNCLE_IS_BROTHER": UNCLES,
    "UNCLE_PARENT_INCORRECT": UNCLES,
    "UNCLE_UNKNOWN_PARENT": UNCLES,
    "EXTRA_DATA_TOO_BIG": _header("extra_data"),
    "EXTRA_DATA_INVALID_DAO": _header("extra_data"),
    "UNKNOWN_PARENT": ("block.invalid", *_header("parent_hash")),
    "UNKNOWN_PARENT_ZERO": ("block.invalid", *_header("parent_hash")),
    "GASLIMIT_TOO_BIG": (*ENCODING, *_header("gas_limit")),
    "INVALID_GASLIMIT": _header("gas_limit"),
    "INVALID_BLOCK_NUMBER": _header("number"),
    "INVALID_BLOCK_TIMESTAMP_OLDER_THAN_PARENT": _header("timestamp"),
    "INVALID_DIFFICULTY": _header("difficulty"),
    "INVALID_LOG_BLOOM": _result("bloom"),
    "INVALID_STATE_ROOT": _result("state_root"),
    "INVALID_RECEIPTS_ROOT": _result("receipts_root"),
    "INVALID_TRANSACTIONS_ROOT": (BODY,),
    "INVALID_UNCLES_HASH": (BODY, *_header("uncles_hash")),
    "INVALID_WITHDRAWALS_ROOT": (BODY, *_header("withdrawals_root")),
    "GAS_USED_OVERFLOW": ("tx.gas_limit_high", *_header("gas_used"), *_result("gas_used")),
    "INVALID_GAS_USED": (*_header("gas_used"), *_result("gas_used")),
    "INVALID_GAS_USED_ABOVE_LIMIT": _header("gas_used"),
    "INVALID_BASEFEE_PER_GAS": _header("base_fee"),
    "INCORRECT_BLOCK_FORMAT": FORMAT,
    "BLOB_GAS_USED_ABOVE_LIMIT": ("tx.blobs", *_header("blob_gas_used")),
    "INCORRECT_BLOB_GAS_USED": (*_header("blob_gas_used"), *_result("blob_gas_used")),
    "INCORRECT_EXCESS_BLOB_GAS": _header("excess_blob_gas"),
    "RLP_STRUCTURES_ENCODING": FORMAT,
    "RLP_WITHDRAWALS_NOT_READ": FORMAT,
    "RLP_INVALID_FIELD_OVERFLOW_64": ENCODING,
    "RLP_INVALID_ADDRESS": ENCODING,
    "RLP_BLOCK_LIMIT_EXCEEDED": ("block.size",),
    "INVALID_REQUESTS": (*_header("requests_hash"), *_result("requests_hash")),
    "IMPORT_IMPOSSIBLE_LEGACY": FORMAT,
    "IMPORT_IMPOSSIBLE_LEGACY_WRONG_PARENT": FORMAT,
    "IMPORT_IMPOSSIBLE_LONDON_WRONG_PARENT": FORMAT,
    "IMPORT_IMPOSSIBLE_PARIS_WRONG_POW": _PROOF_OF_WORK,
    "IMPORT_IMPOSSIBLE_PARIS_WRONG_POS": _header("difficulty"),
    "IMPORT_IMPOSSIBLE_LONDON_OVER_PARIS": _PROOF_OF_WORK,
    "IMPORT_IMPOSSIBLE_PARIS_OVER_SHANGHAI": FORMAT,
    "IMPORT_IMPOSSIBLE_SHANGHAI": FORMAT,
    "IMPORT_IMPOSSIBLE_UNCLES_OVER_PARIS": UNCLES,
    "IMPORT_IMPOSSIBLE_DIFFICULTY_OVER_PARIS": _header("difficulty"),
    "SYSTEM_CONTRACT_EMPTY": ("vm.block.system_contract",),
    "SYSTEM_CONTRACT_CALL_FAILED": ("vm.block.system_call",),
    "INVALID_DEPOSIT_EVENT_LAYOUT": ("vm.block.deposit",),
}
_TRANSACTIONS: dict[str, tuple[str, ...]] = {
    "ADDRESS_TOO_SHORT": ENCODING,
    "ADDRESS_TOO_LONG": ENCODING,
    "NONCE_OVERFLOW": ENCODING,
    "VALUE_OVERFLOW": ENCODING,
    "GASPRICE_OVERFLOW": ENCODING,
    "PRIORITY_OVERFLOW": ENCODING,
    "RLP_INVALID_SIGNATURE_R": ENCODING,
    "RLP_INVALID_SIGNATURE_S": ENCODING,
    "RLP_INVALID_DATA": ENCODING,
    "RLP_INVALID_GASLIMIT": ENCODING,
    "RLP_INVALID_NONCE": ENCODING,
    "RLP_INVALID_TO": ENCODING,
    "RLP_INVALID_HEADER": ENCODING,
    "RLP_INVALID_VALUE": ENCODING,
    "RLP_INVALID_ACCESS_LIST_ADDRESS_TOO_LONG": ENCODING,
    "RLP_INVALID_ACCESS_LIST_ADDRESS_TOO_SHORT": ENCODING,
    "RLP_INVALID_ACCESS_LIST_STORAGE_TOO_LONG": ENCODING,
    "RLP_INVALID_ACCESS_LIST_STORAGE_TOO_SHORT": ENCODING,
    "RLP_LEADING_ZEROS_GASLIMIT": ENCODING,
    "RLP_LEADING_ZEROS_GASPRICE": ENCODING,
    "RLP_LEADING_ZEROS_VALUE": ENCODING,
    "RLP_LEADING_ZEROS_NONCE": ENCODING,
    "RLP_LEADING_ZEROS_R": ENCODING,
    "RLP_LEADING_ZEROS_S": ENCODING,
    "RLP_LEADING_ZEROS_V": ENCODING,
    "RLP_LEADING_ZEROS_BASEFEE": ENCODING,
    "RLP_LEADING_ZEROS_PRIORITY_FEE": ENCODING,
    "RLP_LEADING_ZEROS_DATA_SIZE": ENCODING,
    "RLP_LEADING_ZEROS_NONCE_SIZE": ENCODING,
    "RLP_TOO_FEW_ELEMENTS": ENCODING,
    "RLP_TOO_MANY_ELEMENTS": ENCODING,
    "RLP_ERROR_EOF": ENCODING,
    "RLP_ERROR_SIZE": ENCODING,
    "RLP_ERROR_SIZE_LEADING_ZEROS": ENCODING,
    "TYPE_NOT_SUPPORTED": ("tx.type_unsupported", *ENCODING),
    "TYPE_1_TX_PRE_FORK": ("tx.type_unsupported", *ENCODING),
    "TYPE_2_TX_PRE_FORK": ("tx.type_unsupported", *ENCODING),
    "TYPE_3_TX_PRE_FORK": ("tx.type_unsupported", *ENCODING),
    "TYPE_3_TX_ZERO_BLOBS_PRE_FORK": ("tx.type_unsupported", *ENCODING),
    "TYPE_4_TX_PRE_FORK": ("tx.type_unsupported", *ENCODING),
    "SENDER_NOT_EOA": ("tx.sender_code",),
    "NONCE_MISMATCH_TOO_HIGH": ("tx.nonce_high",),
    "NONCE_MISMATCH_TOO_LOW": ("tx.nonce_low",),
    "NONCE_TOO_BIG": ("tx.nonce_max", *ENCODING),
    "NONCE_IS_MAX": ("tx.nonce_max",),
    "GASLIMIT_OVERFLOW": ("tx.gas_limit_high", *ENCODING),
    "GASLIMIT_PRICE_PRODUCT_OVERFLOW": ("tx.funds", *ENCODING),
    "INVALID_SIGNATURE_VRS": ("tx.signature", *ENCODING),
    "EC_RECOVERY_FAIL": ("tx.signature",),
    "INVALID_CHAINID": ("tx.chain_id", "tx.signature", *ENCODING),
    "INSUFFICIENT_ACCOUNT_FUNDS": ("tx.funds",),
    "INSUFFICIENT_MAX_FEE_PER_GAS": ("tx.fee_low",),
    "INSUFFICIENT_MAX_FEE_PER_BLOB_GAS": ("tx.blob_fee_low",),
    "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS": ("tx.fee_order",),
    "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS_2": ("tx.fee_order",),
    "INTRINSIC_GAS_TOO_LOW": ("tx.gas_intrinsic",),
    "INTRINSIC_GAS_BELOW_FLOOR_GAS_COST": ("tx.gas_intrinsic",),
    "INITCODE_SIZE_EXCEEDED": ("tx.initcode_size",),
    "GAS_ALLOWANCE_EXCEEDED": ("tx.gas_limit_high", *_header("gas_used")),
    "GAS_LIMIT_EXCEEDS_MAXIMUM": ("tx.gas_limit_high",),
    "TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH": ("tx.blobs", *ENCODING),
    "TYPE_3_TX_WITH_FULL_BLOBS": ENCODING,
    "TYPE_3_TX_BLOB_COUNT_EXCEEDED": ("tx.blobs", *_header("blob_gas_used")),
    "TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED": ("tx.blobs", *_header("blob_gas_used")),
    "TYPE_3_TX_CONTRACT_CREATION": ("tx.blobs", *ENCODING),
    "TYPE_3_TX_ZERO_BLOBS": ("tx.blobs",),
    "TYPE_4_EMPTY_AUTHORIZATION_LIST": ("tx.authorizations",),
    "TYPE_4_INVALID_AUTHORITY_SIGNATURE": ("tx.authorizations", *ENCODING),
    "TYPE_4_INVALID_AUTHORITY_SIGNATURE_S_TOO_HIGH": ("tx.authorizations", *ENCODING),
    "TYPE_4_INVALID_AUTHORIZATION_FORMAT": ("tx.authorizations", *ENCODING),
    "TYPE_4_TX_CONTRACT_CREATION": ("tx.authorizations", *ENCODING),
}
_RETESTETH: dict[str, str] = {
    "TooManyUncles": "TOO_MANY_UNCLES",
    "UncleInChain": "UNCLE_IN_CHAIN",
    "UncleIsAncestor": "UNCLE_IS_ANCESTOR",
    "UncleIsBrother": "UNCLE_IS_BROTHER",
    "UncleParentIsNotAncestor": "UNCLE_PARENT_INCORRECT",
    "InvalidUncleParentHash": "UNCLE_UNKNOWN_PARENT",
    "ExtraDataTooBig": "EXTRA_DATA_TOO_BIG",
    "ExtraDataIncorrectDAO": "EXTRA_DATA_INVALID_DAO",
    "UnknownParent": "UNKNOWN_PARENT",
    "UnknownParent2": "UNKNOWN_PARENT_ZERO",
    "InvalidGasLimit": "GASLIMIT_TOO_BIG",
    "InvalidGasLimit2": "INVALID_GASLIMIT",
    "InvalidGasLimit3": "GASLIMIT_TOO_BIG",
    "InvalidGasLimit4": "GASLIMIT_OVERFLOW",
    "InvalidGasLimit5": "RLP_INVALID_GASLIMIT",
    "InvalidNumber": "INVALID_BLOCK_NUMBER",
    "InvalidTimestampEqualParent": "INVALID_BLOCK_TIMESTAMP_OLDER_THAN_PARENT",
    "InvalidTimestampOlderParent": "INVALID_BLOCK_TIMESTAMP_OLDER_THAN_PARENT",
    "InvalidDifficulty": "INVALID_DIFFICULTY",
    "InvalidDifficulty2": "INVALID_DIFFICULTY",
    "InvalidDifficulty_TooLarge": "RLP_STRUCTURES_ENCODING",
    "InvalidLogBloom": "INVALID_LOG_BLOOM",
    "InvalidStateRoot": "INVALID_STATE_ROOT",
    "InvalidReceiptsStateRoot": "INVALID_RECEIPTS_ROOT",
    "InvalidTransactionsRoot": "INVALID_TRANSACTIONS_ROOT",
    "InvalidUnclesHash": "INVALID_UNCLES_HASH",
    "InvalidWithdrawals": "INVALID_WITHDRAWALS_ROOT",
    "InvalidGasUsed": "INVALID_GAS_USED",
    "InvalidGasUsed2": "GAS_USED_OVERFLOW",
    "TooMuchGasUsed": "INVALID_GAS_USED",
    "TooMuchGasUsed2": "GAS_USED_OVERFLOW",
    "LegacyBlockImportImpossible": "IMPORT_IMPOSSIBLE_LEGACY",
    "LegacyBlockImportImpossible2": "IMPORT_IMPOSSIBLE_LEGACY_WRONG_PARENT",
    "LegacyBlockBaseFeeTransaction": "TYPE_2_TX_PRE_FORK",
    "1559BlockImportImpossible_HeaderIsLegacy": "IMPORT_IMPOSSIBLE_LONDON_WRONG_PARENT",
    "1559BlockImportImpossible_BaseFeeWrong": "INVALID_BASEFEE_PER_GAS",
    "1559BlockImportImpossible_InitialBaseFeeWrong": "INVALID_BASEFEE_PER_GAS",
    "1559BlockImportImpossible_TargetGasLow": "INVALID_GASLIMIT",
    "1559BlockImportImpossible_TargetGasHigh": "INVALID_GASLIMIT",
    "1559BlockImportImpossible_InitialGasLimitInvalid": "INVALID_GASLIMIT",
    "1559BaseFeeTooLarge": "GASPRICE_OVERFLOW",
    "1559PriorityFeeGreaterThanBaseFee": "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS",
    "1559LeadingZerosBaseFee": "RLP_LEADING_ZEROS_BASEFEE",
    "1559LeadingZerosPriorityFee": "RLP_LEADING_ZEROS_PRIORITY_FEE",
    "2930AccessListAddressTooLong": "RLP_INVALID_ACCESS_LIST_ADDRESS_TOO_LONG",
    "2930AccessListAddressTooShort": "RLP_INVALID_ACCESS_LIST_ADDRESS_TOO_SHORT",
    "2930AccessListStorageHashTooLong": "RLP_INVALID_ACCESS_LIST_STORAGE_TOO_LONG",
    "2930AccessListStorageHashTooShort": "RLP_INVALID_ACCESS_LIST_STORAGE_TOO_SHORT",
    "3675PoWBlockRejected": "IMPORT_IMPOSSIBLE_PARIS_WRONG_POW",
    "3675PoSBlockRejected": "IMPORT_IMPOSSIBLE_PARIS_WRONG_POS",
    "3675PreParis1559BlockRejected": "IMPORT_IMPOSSIBLE_LONDON_OVER_PARIS",
    "MergeBlockImportImpossible": "IMPORT_IMPOSSIBLE_PARIS_OVER_SHANGHAI",
    "ParisBlockImportImpossible": "IMPORT_IMPOSSIBLE_PARIS_OVER_SHANGHAI",
    "ShanghaiBlockImportImpossible": "IMPORT_IMPOSSIBLE_SHANGHAI",
    "PostParisUncleHashIsNotEmpty": "IMPORT_IMPOSSIBLE_UNCLES_OVER_PARIS",
    "PostParisDifficultyIsNot0": "IMPORT_IMPOSSIBLE_DIFFICULTY_OVER_PARIS",
    "AddressTooShort": "ADDRESS_TOO_SHORT",
    "AddressTooLong": "ADDRESS_TOO_LONG",
    "NonceMax": "NONCE_TOO_BIG",
    "NonceTooLong": "NONCE_OVERFLOW",
    "InvalidVRS": "INVALID_SIGNATURE_VRS",
    "InvalidTransactionVRS": "INVALID_SIGNATURE_VRS",
    "InvalidV": "INVALID_SIGNATURE_VRS",
    "InvalidR": "RLP_INVALID_SIGNATURE_R",
    "InvalidS": "RLP_INVALID_SIGNATURE_S",
    "InvalidChainID": "INVALID_CHAINID",
    "ECRecoveryFail": "EC_RECOVERY_FAIL",
    "InvalidData": "RLP_INVALID_DATA",
    "InvalidNonce": "RLP_INVALID_NONCE",
    "InvalidTo": "RLP_INVALID_TO",
    "InvalidValue": "VALUE_OVERFLOW",
    "InvalidGasPrice": "GASPRICE_OVERFLOW",
    "InvalidMaxFeePerGas": "GASPRICE_OVERFLOW",
    "InvalidMaxPriorityFeePerGas": "PRIORITY_OVERFLOW",
    "GasLimitPriceProductOverflow": "GASLIMIT_PRICE_PRODUCT_OVERFLOW",
    "LeadingZerosGasLimit": "RLP_LEADING_ZEROS_GASLIMIT",
    "LeadingZerosGasPrice": "RLP_LEADING_ZEROS_GASPRICE",
    "LeadingZerosValue": "RLP_LEADING_ZEROS_VALUE",
    "LeadingZerosNonce": "RLP_LEADING_ZEROS_NONCE",
    "LeadingZerosR": "RLP_LEADING_ZEROS_R",
    "LeadingZerosS": "RLP_LEADING_ZEROS_S",
    "LeadingZerosV": "RLP_LEADING_ZEROS_V",
    "LeadingZerosDataSize": "RLP_LEADING_ZEROS_DATA_SIZE",
    "LeadingZerosNonceSize": "RLP_LEADING_ZEROS_NONCE_SIZE",
    "SenderNotEOA": "SENDER_NOT_EOA",
    "IntrinsicGas": "INTRINSIC_GAS_TOO_LOW",
    "OutOfGas": "INTRINSIC_GAS_TOO_LOW",
    "TR_IntrinsicGas": "INTRINSIC_GAS_TOO_LOW",
    "TR_RLP_WRONGVALUE": "RLP_INVALID_VALUE",
    "TR_NoFunds": "INSUFFICIENT_ACCOUNT_FUNDS",
    "TR_NoFundsX": "INSUFFICIENT_ACCOUNT_FUNDS",
    "TR_NoFundsValue": "INSUFFICIENT_ACCOUNT_FUNDS",
    "TR_FeeCapLessThanBlocks": "INSUFFICIENT_MAX_FEE_PER_GAS",
    "TR_GasLimitReached": "GAS_ALLOWANCE_EXCEEDED",
    "TR_NonceTooHigh": "NONCE_MISMATCH_TOO_HIGH",
    "TR_NonceTooLow": "NONCE_MISMATCH_TOO_LOW",
    "TR_NonceHasMaxValue": "NONCE_IS_MAX",
    "TR_TypeNotSupported": "TYPE_NOT_SUPPORTED",
    "TR_TypeNotSupportedBlob": "TYPE_3_TX_PRE_FORK",
    "TR_TipGtFeeCap": "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS",
    "TR_TooShort": "RLP_TOO_FEW_ELEMENTS",
    "TR_InitCodeLimitExceeded": "INITCODE_SIZE_EXCEEDED",
    "TR_BlobDecodeError": "TYPE_3_TX_WITH_FULL_BLOBS",
    "TR_EMPTYBLOB": "TYPE_3_TX_ZERO_BLOBS",
    "TR_BLOBCREATE": "TYPE_3_TX_CONTRACT_CREATION",
    "TR_BLOBVERSION_INVALID": "TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH",
    "TR_BLOBLIST_OVERSIZE": "TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED",
    "BLOCKHEADER_VALUE_TOOLARGE": "RLP_STRUCTURES_ENCODING",
    "TRANSACTION_VALUE_TOOLARGE": "VALUE_OVERFLOW",
    "TRANSACTION_VALUE_TOOSHORT": "RLP_INVALID_VALUE",
    "OVERSIZE_RLP": "RLP_STRUCTURES_ENCODING",
    "INPUT_UNMARSHAL_ERROR": "RLP_INVALID_FIELD_OVERFLOW_64",
    "INPUT_UNMARSHAL_ADDRESS_ERROR": "RLP_INVALID_ADDRESS",
}
"""By name of retesteth: the equivalent name of execution-spec-tests."""

_EITHER: dict[str, tuple[str, ...]] = {
    "SenderNotEOAorNoCASH": ("SENDER_NOT_EOA", "INSUFFICIENT_ACCOUNT_FUNDS"),
    "TR_NoFundsOrGas": ("INSUFFICIENT_ACCOUNT_FUNDS", "INTRINSIC_GAS_TOO_LOW"),
    "TR_FeeCapLessThanBlocksORGasLimitReached": ("INSUFFICIENT_MAX_FEE_PER_GAS", "GAS_ALLOWANCE_EXCEEDED"),
    "TR_FeeCapLessThanBlocksORNoFunds": ("INSUFFICIENT_MAX_FEE_PER_GAS", "INSUFFICIENT_ACCOUNT_FUNDS"),
}
NOT_HERE: dict[str, str] = {
    "BlockException.INVALID_VERSIONED_HASHES": "of the engine API: a block has no second list of blob hashes",
    "BlockException.INVALID_BLOCK_HASH": "of the engine API: an encoded block does not state its own hash",
    "InvalidBlockMixHash": "proof of work is not verified",
    "InvalidBlockNonce": "proof of work is not verified",
}
"""Names of faults that a block cannot have here, and why."""


def reasons(name: str) -> tuple[str, ...]:
    """Slugs of the errors that mean the name, ``slug field`` for a header field; none for an unknown name.

    All names of retesteth that begin with ``RLP_`` say where the encoding is wrong.
    """
    if name in _EITHER:
        return tuple(chain.from_iterable(reasons(_full(other)) for other in _EITHER[name]))
    kind, _, rest = _full(_RETESTETH.get(name, name)).partition(".")
    if kind == "BlockException":
        return _BLOCKS.get(rest, ())
    if kind == "TransactionException" and rest in _TRANSACTIONS:
        return (*_TRANSACTIONS[rest], BODY)
    return FORMAT if name.startswith("RLP_") else ()


def _full(name: str) -> str:
    kinds = {"BlockException": _BLOCKS, "TransactionException": _TRANSACTIONS}
    return next((f"{kind}.{name}" for kind, names in kinds.items() if name in names), name)


def explains(expected: str, error: ZvmdError) -> bool:
    """Whether the error is one of the reasons named, which ``|`` separates. Unknown names allow any.

    A header's fault has the same name where the header is an uncle's.
    """
    slug = error.code
    if isinstance(error, InvalidHeader | WrongResult):
        slug += " " + error.field

    def allows(reason: str) -> bool:
        return reason == slug or (isinstance(error, InvalidUncles) and reason.startswith(InvalidHeader.code))

    meant = [reasons(name) for name in expected.split("|")]
    return any(not known or any(map(allows, known)) for known in meant)
