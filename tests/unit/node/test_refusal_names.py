"""The names by which vectors call reasons for refusing a block: all are known, and blocks with each fault meet them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chain import rlp
from chain.blocks import Block, encode_block, transactions_root, uncles_hash
from chain.errors import InvalidBlock, InvalidRlp, InvalidTransaction, ZvmdError
from chain.forks import Fork
from chain.transactions import Transaction, encode_transaction, sign_transaction
from chain.types import ZERO_HASH, Hash32
from chain.validity import MAX_INITCODE_BYTES, TRANSACTION_GAS_CAP
from node.conformance.blocktest import BlockTree
from node.conformance.refusals import NOT_HERE, explains, reasons
from tests.unit.vm.test_importing import MINER, SECRET, mint, transfer, tree_of

B, T = "BlockException.", "TransactionException."
BLOCK_NAMES = """
TOO_MANY_UNCLES UNCLE_IN_CHAIN UNCLE_IS_ANCESTOR UNCLE_IS_BROTHER UNCLE_PARENT_INCORRECT EXTRA_DATA_TOO_BIG
EXTRA_DATA_INVALID_DAO UNKNOWN_PARENT UNCLE_UNKNOWN_PARENT UNKNOWN_PARENT_ZERO GASLIMIT_TOO_BIG INVALID_BLOCK_NUMBER
INVALID_BLOCK_TIMESTAMP_OLDER_THAN_PARENT INVALID_DIFFICULTY INVALID_LOG_BLOOM INVALID_STATE_ROOT INVALID_RECEIPTS_ROOT
INVALID_TRANSACTIONS_ROOT INVALID_UNCLES_HASH GAS_USED_OVERFLOW INVALID_GASLIMIT INVALID_BASEFEE_PER_GAS
INVALID_GAS_USED INVALID_GAS_USED_ABOVE_LIMIT INVALID_WITHDRAWALS_ROOT INCORRECT_BLOCK_FORMAT BLOB_GAS_USED_ABOVE_LIMIT
INCORRECT_BLOB_GAS_USED INCORRECT_EXCESS_BLOB_GAS INVALID_VERSIONED_HASHES RLP_STRUCTURES_ENCODING
RLP_WITHDRAWALS_NOT_READ RLP_INVALID_FIELD_OVERFLOW_64 RLP_INVALID_ADDRESS RLP_BLOCK_LIMIT_EXCEEDED INVALID_REQUESTS
IMPORT_IMPOSSIBLE_LEGACY IMPORT_IMPOSSIBLE_LEGACY_WRONG_PARENT IMPORT_IMPOSSIBLE_LONDON_WRONG_PARENT
IMPORT_IMPOSSIBLE_PARIS_WRONG_POW IMPORT_IMPOSSIBLE_PARIS_WRONG_POS IMPORT_IMPOSSIBLE_LONDON_OVER_PARIS
IMPORT_IMPOSSIBLE_PARIS_OVER_SHANGHAI IMPORT_IMPOSSIBLE_SHANGHAI IMPORT_IMPOSSIBLE_UNCLES_OVER_PARIS
IMPORT_IMPOSSIBLE_DIFFICULTY_OVER_PARIS SYSTEM_CONTRACT_EMPTY SYSTEM_CONTRACT_CALL_FAILED INVALID_BLOCK_HASH
INVALID_DEPOSIT_EVENT_LAYOUT
"""
"""All of execution-spec-tests 5.4, ``ethereum_test_exceptions/exceptions/block.py``."""
TRANSACTION_NAMES = """
TYPE_NOT_SUPPORTED SENDER_NOT_EOA ADDRESS_TOO_SHORT ADDRESS_TOO_LONG NONCE_MISMATCH_TOO_HIGH NONCE_MISMATCH_TOO_LOW
NONCE_TOO_BIG NONCE_IS_MAX NONCE_OVERFLOW GASLIMIT_OVERFLOW VALUE_OVERFLOW GASPRICE_OVERFLOW
GASLIMIT_PRICE_PRODUCT_OVERFLOW INVALID_SIGNATURE_VRS RLP_INVALID_SIGNATURE_R RLP_INVALID_SIGNATURE_S
RLP_LEADING_ZEROS_GASLIMIT RLP_LEADING_ZEROS_GASPRICE RLP_LEADING_ZEROS_VALUE RLP_LEADING_ZEROS_NONCE
RLP_LEADING_ZEROS_R RLP_LEADING_ZEROS_S RLP_LEADING_ZEROS_V RLP_LEADING_ZEROS_BASEFEE RLP_LEADING_ZEROS_PRIORITY_FEE
RLP_LEADING_ZEROS_DATA_SIZE RLP_LEADING_ZEROS_NONCE_SIZE RLP_TOO_FEW_ELEMENTS RLP_TOO_MANY_ELEMENTS RLP_ERROR_EOF
RLP_ERROR_SIZE RLP_ERROR_SIZE_LEADING_ZEROS INVALID_CHAINID RLP_INVALID_DATA RLP_INVALID_GASLIMIT RLP_INVALID_NONCE
RLP_INVALID_TO RLP_INVALID_ACCESS_LIST_ADDRESS_TOO_LONG RLP_INVALID_ACCESS_LIST_ADDRESS_TOO_SHORT
RLP_INVALID_ACCESS_LIST_STORAGE_TOO_LONG RLP_INVALID_ACCESS_LIST_STORAGE_TOO_SHORT RLP_INVALID_HEADER RLP_INVALID_VALUE
EC_RECOVERY_FAIL INSUFFICIENT_ACCOUNT_FUNDS INSUFFICIENT_MAX_FEE_PER_GAS PRIORITY_OVERFLOW
PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS_2 INSUFFICIENT_MAX_FEE_PER_BLOB_GAS
INTRINSIC_GAS_TOO_LOW INTRINSIC_GAS_BELOW_FLOOR_GAS_COST INITCODE_SIZE_EXCEEDED TYPE_1_TX_PRE_FORK TYPE_2_TX_PRE_FORK
TYPE_3_TX_PRE_FORK TYPE_3_TX_ZERO_BLOBS_PRE_FORK TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH TYPE_3_TX_WITH_FULL_BLOBS
TYPE_3_TX_BLOB_COUNT_EXCEEDED TYPE_3_TX_CONTRACT_CREATION TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED
GAS_ALLOWANCE_EXCEEDED GAS_LIMIT_EXCEEDS_MAXIMUM TYPE_3_TX_ZERO_BLOBS TYPE_4_EMPTY_AUTHORIZATION_LIST
TYPE_4_INVALID_AUTHORITY_SIGNATURE TYPE_4_INVALID_AUTHORITY_SIGNATURE_S_TOO_HIGH TYPE_4_TX_CONTRACT_CREATION
TYPE_4_INVALID_AUTHORIZATION_FORMAT TYPE_4_TX_PRE_FORK
"""
"""All of execution-spec-tests 5.4, ``ethereum_test_exceptions/exceptions/transaction.py``."""
RETESTETH_NAMES = """
AddressTooShort AddressTooLong NonceMax NonceTooLong InvalidVRS InvalidV InvalidR InvalidS InvalidChainID ECRecoveryFail
InvalidData ExtraDataTooBig InvalidDifficulty InvalidDifficulty2 InvalidWithdrawals InvalidDifficulty_TooLarge
InvalidGasLimit InvalidGasLimit2 InvalidGasLimit3 InvalidGasLimit4 InvalidGasLimit5 InvalidValue InvalidGasPrice
InvalidMaxPriorityFeePerGas InvalidMaxFeePerGas InvalidNonce InvalidTo GasLimitPriceProductOverflow TooMuchGasUsed
TooMuchGasUsed2 LeadingZerosGasLimit LeadingZerosGasPrice LeadingZerosValue LeadingZerosNonce LeadingZerosR
LeadingZerosS LeadingZerosV LeadingZerosDataSize LeadingZerosNonceSize InvalidNumber InvalidTimestampEqualParent
InvalidTimestampOlderParent InvalidLogBloom InvalidStateRoot InvalidGasUsed InvalidGasUsed2 InvalidBlockMixHash
UnknownParent UnknownParent2 InvalidReceiptsStateRoot InvalidTransactionsRoot InvalidUnclesHash InvalidUncleParentHash
UncleInChain UncleIsAncestor UncleParentIsNotAncestor TooManyUncles UncleIsBrother SenderNotEOA SenderNotEOAorNoCASH
IntrinsicGas ExtraDataIncorrectDAO TR_NonceHasMaxValue RLP_ExpectedAsList RLP_TooFewElements RLP_TooManyElements
RLP_ExpectedInputList_HEADER_DECODEINTO_BLOCK_EXTBLOCK RLP_Error_EOF RLP_Error_RLP_Size RLP_Error_Size_Information
LegacyBlockImportImpossible LegacyBlockImportImpossible2 1559BlockImportImpossible_HeaderIsLegacy
1559BlockImportImpossible_BaseFeeWrong ParisBlockImportImpossible ShanghaiBlockImportImpossible TR_IntrinsicGas
TR_RLP_WRONGVALUE TR_NoFunds TR_NoFundsX TR_NoFundsOrGas TR_FeeCapLessThanBlocks TR_GasLimitReached
TR_FeeCapLessThanBlocksORGasLimitReached TR_FeeCapLessThanBlocksORNoFunds TR_NonceTooHigh TR_NonceTooLow
TR_TypeNotSupported TR_TipGtFeeCap TR_InitCodeLimitExceeded TR_BlobDecodeError TR_EMPTYBLOB TR_BLOBCREATE
TR_BLOBVERSION_INVALID TR_BLOBLIST_OVERSIZE 1559PriorityFeeGreaterThanBaseFee 2930AccessListAddressTooLong
2930AccessListAddressTooShort 1559LeadingZerosBaseFee 1559LeadingZerosPriorityFee 2930AccessListStorageHashTooShort
2930AccessListStorageHashTooLong 3675PoWBlockRejected 3675PoSBlockRejected 3675PreParis1559BlockRejected
INPUT_UNMARSHAL_ERROR INPUT_UNMARSHAL_ADDRESS_ERROR PostParisUncleHashIsNotEmpty OutOfGas InvalidBlockNonce
InvalidTransactionVRS BLOCKHEADER_VALUE_TOOLARGE TRANSACTION_VALUE_TOOLARGE TRANSACTION_VALUE_TOOSHORT OVERSIZE_RLP
RLP_BadCast RLP_InputContainsMoreThanOneValue RLP_VALUESIZE_MORE_AVAILABLEINPUTLENGTH
RLP_ELEMENT_LARGER_CONTAININGLIST_UNDERSIZE RLP_ELEMENT_LARGER_CONTAININGLIST_OVERSIZE RLP_ExpectedInputList_EXTBLOCK
RLP_InvalidArg0_UNMARSHAL_BYTES LegacyBlockBaseFeeTransaction 1559BlockImportImpossible_InitialBaseFeeWrong
1559BlockImportImpossible_TargetGasLow 1559BlockImportImpossible_TargetGasHigh
1559BlockImportImpossible_InitialGasLimitInvalid MergeBlockImportImpossible TR_NoFundsValue TR_TypeNotSupportedBlob
TR_TooShort 1559BaseFeeTooLarge RLP_BODY_UNMARSHAL_ERROR PostParisDifficultyIsNot0
RLP_InputString_TooLong_HASH_DECODEINTO_BLOCK_EXTBLOCK_HEADER_ROOT
"""
"""All of retesteth's for geth; the last stands for the 80 that end in the place of what is wrongly encoded."""


def all_names() -> list[str]:
    blocks, transactions = BLOCK_NAMES.split(), TRANSACTION_NAMES.split()
    return [B + name for name in blocks] + [T + name for name in transactions] + RETESTETH_NAMES.split()


def test_every_name_has_a_meaning_or_cannot_happen() -> None:
    for name in all_names():
        assert bool(reasons(name)) != (name in NOT_HERE), name
    assert set(NOT_HERE) <= set(all_names())
    assert reasons("a name of tomorrow") == ()


def test_a_body_of_other_transactions_may_be_refused_for_either() -> None:
    for name in TRANSACTION_NAMES.split():
        assert "block.body" in reasons(T + name), name


def refusal_of(tree: BlockTree, raw: bytes) -> ZvmdError:
    with pytest.raises((InvalidBlock, InvalidTransaction, InvalidRlp)) as caught:
        tree.add(raw)
    return caught.value


HEADERS: list[tuple[Fork, dict[str, Any], str]] = [
    (Fork.OSAKA, {"number": 2}, "InvalidNumber BlockException.INVALID_BLOCK_NUMBER"),
    (Fork.OSAKA, {"timestamp": 0}, "InvalidTimestampOlderParent InvalidTimestampEqualParent"),
    (Fork.OSAKA, {"gas_limit": 31_000_000}, "InvalidGasLimit2 1559BlockImportImpossible_TargetGasHigh"),
    (Fork.OSAKA, {"gas_limit": 2**63}, "InvalidGasLimit BlockException.GASLIMIT_TOO_BIG"),
    (Fork.OSAKA, {"gas_used": 30_000_001}, "TooMuchGasUsed BlockException.INVALID_GAS_USED_ABOVE_LIMIT"),
    (Fork.OSAKA, {"gas_used": 21_001}, "InvalidGasUsed BlockException.INVALID_GAS_USED"),
    (Fork.OSAKA, {"extra_data": bytes(33)}, "ExtraDataTooBig BlockException.EXTRA_DATA_TOO_BIG"),
    (Fork.OSAKA, {"base_fee": 1}, "1559BlockImportImpossible_BaseFeeWrong BlockException.INVALID_BASEFEE_PER_GAS"),
    (
        Fork.PARIS, {"difficulty": 1},
        (
            "3675PreParis1559BlockRejected 3675PoWBlockRejected PostParisDifficultyIsNot0 "
            "BlockException.IMPORT_IMPOSSIBLE_LONDON_OVER_PARIS BlockException.IMPORT_IMPOSSIBLE_DIFFICULTY_OVER_PARIS"
        ),
    ),
    (Fork.PARIS, {"nonce": b"\1" * 8}, "3675PreParis1559BlockRejected 3675PoWBlockRejected"),
    (
        Fork.PARIS, {"uncles_hash": Hash32(b"\1" * 32)},
        (
            "3675PreParis1559BlockRejected PostParisUncleHashIsNotEmpty "
            "BlockException.IMPORT_IMPOSSIBLE_UNCLES_OVER_PARIS InvalidUnclesHash"
        ),
    ),
    (Fork.LONDON, {"difficulty": 0}, "3675PoSBlockRejected BlockException.IMPORT_IMPOSSIBLE_PARIS_WRONG_POS"),
    (Fork.LONDON, {"difficulty": 1}, "InvalidDifficulty InvalidDifficulty2 BlockException.INVALID_DIFFICULTY"),
    (Fork.LONDON, {"base_fee": None}, "LegacyBlockImportImpossible BlockException.IMPORT_IMPOSSIBLE_LEGACY"),
    (Fork.BERLIN, {"base_fee": 7}, "1559BlockImportImpossible_HeaderIsLegacy BlockException.INCORRECT_BLOCK_FORMAT"),
    (Fork.SHANGHAI, {"withdrawals_root": None}, "ParisBlockImportImpossible MergeBlockImportImpossible"),
    (Fork.PARIS, {"withdrawals_root": ZERO_HASH}, "ShanghaiBlockImportImpossible"),
    (Fork.SHANGHAI, {"withdrawals_root": ZERO_HASH}, "InvalidWithdrawals BlockException.INVALID_WITHDRAWALS_ROOT"),
    (Fork.OSAKA, {"excess_blob_gas": 131_072}, "BlockException.INCORRECT_EXCESS_BLOB_GAS"),
    (Fork.OSAKA, {"blob_gas_used": 131_072}, "BlockException.INCORRECT_BLOB_GAS_USED"),
    (Fork.OSAKA, {"blob_gas_used": 131_072 * 10}, "BlockException.BLOB_GAS_USED_ABOVE_LIMIT"),
    (Fork.OSAKA, {"bloom": b"\1" * 256}, "InvalidLogBloom BlockException.INVALID_LOG_BLOOM"),
    (Fork.OSAKA, {"receipts_root": ZERO_HASH}, "InvalidReceiptsStateRoot BlockException.INVALID_RECEIPTS_ROOT"),
    (Fork.OSAKA, {"state_root": ZERO_HASH}, "InvalidStateRoot BlockException.INVALID_STATE_ROOT"),
    (Fork.OSAKA, {"requests_hash": ZERO_HASH}, "BlockException.INVALID_REQUESTS"),
    (Fork.OSAKA, {"transactions_root": ZERO_HASH}, "InvalidTransactionsRoot BlockException.INVALID_TRANSACTIONS_ROOT"),
    (Fork.BERLIN, {"uncles_hash": ZERO_HASH}, "InvalidUnclesHash BlockException.INVALID_UNCLES_HASH"),
    (Fork.OSAKA, {"parent_hash": ZERO_HASH}, "UnknownParent2 BlockException.UNKNOWN_PARENT_ZERO"),
    (Fork.OSAKA, {"parent_hash": Hash32(b"\1" * 32)}, "UnknownParent BlockException.UNKNOWN_PARENT"),
]  # fmt: skip


@pytest.mark.parametrize(("fork", "changes", "names"), HEADERS, ids=lambda value: str(value)[:40])
def test_a_wrong_header_meets_its_names(fork: Fork, changes: dict[str, Any], names: str) -> None:
    tree = tree_of(fork)
    block = mint(tree, tree.head.block, [transfer(0)])
    error = refusal_of(tree, encode_block(replace(block, header=replace(block.header, **changes))))
    for name in names.split():
        assert explains(name, error), (name, error.code, str(error))
    for other in ("SenderNotEOA", "BlockException.SYSTEM_CONTRACT_EMPTY", "BlockException.RLP_BLOCK_LIMIT_EXCEEDED"):
        assert not explains(other, error) or "block.body" in reasons(other), other


PRICE = 10**10
PLAIN = Transaction(0, 1, 0, PRICE, PRICE, PRICE, 21_000, MINER, 1, b"")
HASH = Hash32(b"\1" * 32)
BLOB = replace(PLAIN, type=3, max_priority_fee_per_gas=1, blob_versioned_hashes=(HASH,), max_fee_per_blob_gas=10**9)
TRANSACTIONS: list[tuple[Fork, Transaction, str]] = [
    (Fork.OSAKA, replace(PLAIN, nonce=1), "TR_NonceTooHigh TransactionException.NONCE_MISMATCH_TOO_HIGH"),
    (Fork.OSAKA, replace(PLAIN, nonce=2**64 - 1), "TR_NonceHasMaxValue TransactionException.NONCE_IS_MAX NonceMax"),
    (Fork.OSAKA, replace(PLAIN, chain_id=2), "InvalidChainID TransactionException.INVALID_CHAINID"),
    (Fork.OSAKA, replace(PLAIN, value=10**30), "TR_NoFunds TransactionException.INSUFFICIENT_ACCOUNT_FUNDS"),
    (Fork.OSAKA, replace(PLAIN, gas_limit=20_999), "TR_IntrinsicGas TransactionException.INTRINSIC_GAS_TOO_LOW"),
    (
        Fork.OSAKA, replace(PLAIN, gas_limit=30_000, data=b"\1" * 500),
        "TransactionException.INTRINSIC_GAS_BELOW_FLOOR_GAS_COST",
    ),
    (Fork.LONDON, replace(PLAIN, gas_limit=70_000_000), "TR_GasLimitReached " + T + "GAS_ALLOWANCE_EXCEEDED"),
    (
        Fork.OSAKA, replace(PLAIN, gas_limit=TRANSACTION_GAS_CAP + 1),
        "TransactionException.GAS_LIMIT_EXCEEDS_MAXIMUM",
    ),
    (
        Fork.OSAKA, replace(PLAIN, gas_price=1, max_fee_per_gas=1, max_priority_fee_per_gas=1),
        "TR_FeeCapLessThanBlocks TransactionException.INSUFFICIENT_MAX_FEE_PER_GAS",
    ),
    (
        Fork.OSAKA, replace(PLAIN, type=2, max_priority_fee_per_gas=PRICE + 1),
        "TR_TipGtFeeCap TransactionException.PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS",
    ),
    (
        Fork.OSAKA, replace(PLAIN, to=None, data=bytes(MAX_INITCODE_BYTES + 1), gas_limit=9_000_000),
        "TR_InitCodeLimitExceeded TransactionException.INITCODE_SIZE_EXCEEDED",
    ),
    (Fork.BERLIN, replace(PLAIN, type=2), "LegacyBlockBaseFeeTransaction TransactionException.TYPE_2_TX_PRE_FORK"),
    (Fork.ISTANBUL, replace(PLAIN, type=1), "TR_TypeNotSupported TransactionException.TYPE_1_TX_PRE_FORK"),
    (Fork.SHANGHAI, BLOB, "TR_TypeNotSupportedBlob TransactionException.TYPE_3_TX_PRE_FORK"),
    (Fork.OSAKA, replace(BLOB, blob_versioned_hashes=()), "TR_EMPTYBLOB TransactionException.TYPE_3_TX_ZERO_BLOBS"),
    (
        Fork.OSAKA, replace(BLOB, blob_versioned_hashes=(ZERO_HASH,)),
        "TR_BLOBVERSION_INVALID TransactionException.TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH",
    ),
    (Fork.OSAKA, replace(BLOB, blob_versioned_hashes=(HASH,) * 7), T + "TYPE_3_TX_BLOB_COUNT_EXCEEDED"),
    (
        Fork.CANCUN, replace(BLOB, blob_versioned_hashes=(HASH,) * 7),
        "TR_BLOBLIST_OVERSIZE TransactionException.TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED",
    ),
    (Fork.OSAKA, replace(BLOB, max_fee_per_blob_gas=0), "TransactionException.INSUFFICIENT_MAX_FEE_PER_BLOB_GAS"),
    (Fork.OSAKA, replace(PLAIN, type=4), "TransactionException.TYPE_4_EMPTY_AUTHORIZATION_LIST"),
    (Fork.SHANGHAI, replace(PLAIN, type=4), "TransactionException.TYPE_4_TX_PRE_FORK"),
]  # fmt: skip


@pytest.mark.parametrize(("fork", "unsigned", "names"), TRANSACTIONS, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("is_root_right", [True, False])
def test_a_wrong_transaction_meets_its_names(
    fork: Fork, unsigned: Transaction, names: str, is_root_right: bool
) -> None:
    """The root of the transactions in the block, as vectors of today have it; or of others, as some older ones."""
    tree = tree_of(fork)
    good = mint(tree, tree.head.block, [transfer(0)])
    wrong = (sign_transaction(unsigned, SECRET),)
    header = replace(good.header, transactions_root=transactions_root(wrong)) if is_root_right else good.header
    error = refusal_of(tree, encode_block(replace(good, header=header, transactions=wrong)))
    for name in names.split():
        assert explains(name, error), (name, error.code, str(error))
    assert explains(T + "NONCE_MISMATCH_TOO_LOW", error) is (error.code in reasons(T + "NONCE_MISMATCH_TOO_LOW"))


def test_a_used_nonce_meets_its_name_whatever_the_root() -> None:
    tree = tree_of(Fork.OSAKA)
    first = mint(tree, tree.head.block, [transfer(0)])
    tree.add(encode_block(first))
    block = mint(tree, first)
    used = (transfer(0),)
    for header in (block.header, replace(block.header, transactions_root=transactions_root(used))):
        error = refusal_of(tree, encode_block(replace(block, header=header, transactions=used)))
        assert explains(T + "NONCE_MISMATCH_TOO_LOW", error)
        assert explains("TR_NonceTooLow", error)
        assert explains("BlockException.INVALID_STATE_ROOT|" + T + "NONCE_MISMATCH_TOO_LOW", error)


def test_wrong_bytes_meet_the_names_for_encodings() -> None:
    tree = tree_of(Fork.OSAKA)
    block = mint(tree, tree.head.block, [transfer(0)])
    raw = encode_block(block)
    parts: list[Any] = rlp.decode(raw)  # type: ignore[assignment]
    zeros = [*parts[1][0][:2], b"\0" + parts[1][0][2], *parts[1][0][3:]]
    for wrong in (
        raw + b"\0",
        raw[:-1],
        rlp.encode(parts[:2]),
        rlp.encode([parts[0], [zeros], *parts[2:]]),
        rlp.encode([[*parts[0][:2], b"\1" * 19, *parts[0][3:]], *parts[1:]]),
        rlp.encode([parts[0], [encode_transaction(transfer(0))], *parts[2:]]),
    ):
        error = refusal_of(tree, wrong)
        for name in (B + "RLP_STRUCTURES_ENCODING", "RLP_ExpectedAsList", "RLP_TooFewElements", "OVERSIZE_RLP"):
            assert explains(name, error), (name, error.code)


def test_uncles_meet_their_names() -> None:
    tree = tree_of(Fork.BERLIN)
    first = mint(tree, tree.head.block)
    tree.add(encode_block(first))
    for uncles, name in (
        ((first.header,), "UncleIsAncestor"),
        ((replace(first.header, extra_data=b"1"),) * 3, "TooManyUncles"),
        ((replace(first.header, extra_data=b"1"),) * 2, "UncleIsBrother"),
        ((replace(first.header, parent_hash=ZERO_HASH),), "InvalidUncleParentHash"),
        ((replace(first.header, timestamp=0),), "InvalidTimestampOlderParent"),
    ):
        block: Block = mint(tree, first)
        header = replace(block.header, uncles_hash=uncles_hash(uncles))
        error = refusal_of(tree, encode_block(replace(block, header=header, uncles=uncles)))
        assert explains(name, error), (name, error.code, str(error))
