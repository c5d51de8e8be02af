"""The ``config`` object of geth's genesis.json: chain id, fork points and blob parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chain.errors import InvalidGenesis, InvalidHex
from chain.forks import (
    CANCUN_BLOBS,
    CODE_BYTES_MAX,
    DEPOSIT_CONTRACT,
    GLACIERS,
    PRAGUE_BLOBS,
    BlobSchedule,
    ChainConfig,
    Fork,
)
from chain.types import UINT64_MAX, UINT256_MAX, Address, parse_hex

BLOCK_FORK_KEYS: tuple[tuple[Fork, tuple[str, ...]], ...] = (
    (Fork.HOMESTEAD, ("homesteadBlock",)),
    (Fork.TANGERINE_WHISTLE, ("eip150Block",)),
    (Fork.SPURIOUS_DRAGON, ("eip155Block", "eip158Block")),
    (Fork.BYZANTIUM, ("byzantiumBlock",)),
    (Fork.CONSTANTINOPLE, ("constantinopleBlock",)),
    (Fork.PETERSBURG, ("petersburgBlock",)),
    (Fork.ISTANBUL, ("istanbulBlock",)),
    (Fork.BERLIN, ("berlinBlock",)),
    (Fork.LONDON, ("londonBlock",)),
    (Fork.PARIS, ("mergeNetsplitBlock",)),
)

TIME_FORK_KEYS: tuple[tuple[Fork, str], ...] = (
    (Fork.SHANGHAI, "shanghaiTime"),
    (Fork.CANCUN, "cancunTime"),
    (Fork.PRAGUE, "pragueTime"),
    (Fork.OSAKA, "osakaTime"),
)

BLOB_FORKS: tuple[tuple[str, BlobSchedule | None], ...] = (
    ("cancun", CANCUN_BLOBS),
    ("prague", PRAGUE_BLOBS),
    ("osaka", PRAGUE_BLOBS),
    ("bpo1", None),
    ("bpo2", None),
    ("bpo3", None),
    ("bpo4", None),
    ("bpo5", None),
)
"""Names in ``blobSchedule``, each with its ``...Time``, and the parameters that apply if the file has none."""

_KNOWN_KEYS = frozenset({"daoForkBlock"}).union(
    (key for _, keys in BLOCK_FORK_KEYS for key in keys),
    (key for _, key in TIME_FORK_KEYS),
    (f"{name}Time" for name, _ in BLOB_FORKS),
    (name for name, _ in GLACIERS),
)
_FORK_KEY = re.compile(r"(Block|Time)$")


def number_of(value: object, name: str, limit: int = UINT256_MAX) -> int:
    """The integer in a JSON number, a decimal string or a hex string, at most ``limit``. Raises `InvalidGenesis`.

    >>> number_of("0x10", "gasLimit"), number_of("16", "gasLimit"), number_of(16, "gasLimit")
    (16, 16, 16)
    """
    number = -1
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and re.fullmatch(r"0[xX][0-9a-fA-F]{1,64}|[0-9]{1,78}", value):
        number = int(value, 16 if value[:2].lower() == "0x" else 10)
    if not 0 <= number <= limit:
        raise InvalidGenesis(f"{name}: not an integer in range: {value!r}"[:200])
    return number


def object_of(value: object, name: str) -> Mapping[str, Any]:
    """``value`` if it is a JSON object. Raises `InvalidGenesis` if it is not."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidGenesis(f"{name}: not an object")
    return value


def config_from_json(config: Mapping[str, Any]) -> ChainConfig:
    """Chain config of the ``config`` object. Raises `InvalidGenesis`, also for forks not known here."""
    for key, value in config.items():
        if _FORK_KEY.search(key) and key not in _KNOWN_KEYS and value is not None:
            raise InvalidGenesis(f"config.{key}: a fork this version does not know")
    block_forks = [(0, Fork.FRONTIER)]
    for fork, keys in BLOCK_FORK_KEYS:
        numbers = {_point(config, key) for key in keys}
        if len(numbers) > 1:
            raise InvalidGenesis(f"config: {' and '.join(keys)} differ")
        number = numbers.pop()
        if fork == Fork.PARIS and number is None and _is_merged(config):
            number = 0
        if number is not None:
            block_forks.append((number, fork))
    time_forks = [(time, fork) for fork, key in TIME_FORK_KEYS if (time := _point(config, key)) is not None]
    for forks in (block_forks, time_forks):
        if forks != sorted(forks):
            raise InvalidGenesis("config: a fork begins before an older one")
    deposit_contract = DEPOSIT_CONTRACT
    if (text := config.get("depositContractAddress")) is not None:
        try:
            deposit_contract = Address(parse_hex(text, 20))
        except InvalidHex as error:
            raise InvalidGenesis(f"config.depositContractAddress: {error}") from None
    return ChainConfig(
        number_of(config.get("chainId"), "config.chainId", UINT64_MAX),
        tuple(block_forks),
        tuple(time_forks),
        _blob_forks(config),
        deposit_contract,
        tuple((number, delay) for key, delay in GLACIERS if (number := _point(config, key)) is not None),
        _point(config, "daoForkBlock"),
        config.get("daoForkSupport") is True,
        gas_capped=config.get("transactionGasCap") is not False,
        code_bytes_max=number_of(config.get("codeSizeLimit", CODE_BYTES_MAX), "config.codeSizeLimit", UINT64_MAX >> 1),
    )


def config_to_json(config: ChainConfig) -> dict[str, Any]:
    """The ``config`` object of a chain config: the inverse of `config_from_json`."""
    result: dict[str, Any] = {"chainId": config.chain_id}
    block_numbers = {fork: number for number, fork in config.block_forks}
    for fork, keys in BLOCK_FORK_KEYS:
        if fork in block_numbers:
            result.update(dict.fromkeys(keys, block_numbers[fork]))
    delays = {delay: number for number, delay in config.bomb_delays}
    result.update({key: delays[delay] for key, delay in GLACIERS if delay in delays})
    if config.dao_fork is not None:
        result |= {"daoForkBlock": config.dao_fork, "daoForkSupport": config.dao_support}
    if block_numbers.get(Fork.PARIS) == 0:
        result["terminalTotalDifficulty"] = 0
        result["terminalTotalDifficultyPassed"] = True
    fork_times = {fork: time for time, fork in config.time_forks}
    for fork, key in TIME_FORK_KEYS:
        if fork in fork_times:
            result[key] = fork_times[fork]
    schedule: dict[str, Any] = {}
    times = [result[f"{name}Time"] for name, _ in BLOB_FORKS if f"{name}Time" in result]
    for index, time in enumerate(sorted({time for time, _ in config.blob_forks} - set(times)), 1):
        result[f"bpo{index}Time"] = time
    for name, _ in BLOB_FORKS:
        if f"{name}Time" in result:
            blobs = config.blobs_at(result[f"{name}Time"])
            schedule[name] = {
                "target": blobs.target,
                "max": blobs.max,
                "baseFeeUpdateFraction": blobs.base_fee_update_fraction,
            }
    if schedule:
        result["blobSchedule"] = schedule
    if config.deposit_contract != DEPOSIT_CONTRACT:
        result["depositContractAddress"] = "0x" + config.deposit_contract.hex()
    if not config.gas_capped:
        result["transactionGasCap"] = False
    if config.code_bytes_max != CODE_BYTES_MAX:
        result["codeSizeLimit"] = config.code_bytes_max
    return result


def _point(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    return None if value is None else number_of(value, f"config.{key}", UINT64_MAX)


def _is_merged(config: Mapping[str, Any]) -> bool:
    """Whether the chain is proof-of-stake from its genesis on, where there is no ``mergeNetsplitBlock``."""
    difficulty = config.get("terminalTotalDifficulty")
    if config.get("terminalTotalDifficultyPassed") is True:
        return True
    return difficulty is not None and number_of(difficulty, "config.terminalTotalDifficulty") == 0


def _blob_forks(config: Mapping[str, Any]) -> tuple[tuple[int, BlobSchedule], ...]:
    """Blob parameters by time, without entries that change nothing."""
    schedules = object_of(config.get("blobSchedule") or {}, "config.blobSchedule")
    for name in schedules:
        if name not in dict(BLOB_FORKS):
            raise InvalidGenesis(f"config.blobSchedule.{name}: a fork this version does not know")
    by_time: dict[int, BlobSchedule] = {}
    for name, default in BLOB_FORKS:
        time = _point(config, f"{name}Time")
        if time is None:
            continue
        if by_time and time < max(by_time):
            raise InvalidGenesis(f"config.{name}Time: before an older blob fork")
        entry = schedules.get(name)
        blobs = default if entry is None else _schedule(object_of(entry, f"config.blobSchedule.{name}"), name)
        if blobs is None:
            raise InvalidGenesis(f"config.blobSchedule.{name}: missing, but {name}Time is set")
        by_time[time] = blobs
    changes: list[tuple[int, BlobSchedule]] = []
    for time, blobs in by_time.items():
        if not changes or changes[-1][1] != blobs:
            changes.append((time, blobs))
    return tuple(changes)


def _schedule(entry: Mapping[str, Any], name: str) -> BlobSchedule:
    values = [
        number_of(entry.get(key), f"config.blobSchedule.{name}.{key}", UINT64_MAX)
        for key in ("target", "max", "baseFeeUpdateFraction")
    ]
    if values[0] > values[1] or not values[2] or not values[1]:
        raise InvalidGenesis(f"config.blobSchedule.{name}: target above max, or a zero")
    return BlobSchedule(*values)
