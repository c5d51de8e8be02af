"""Uniswap V2 as published: deployed, given liquidity, and swaps that obey the constant-product formula."""

from __future__ import annotations

import time
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3 import Web3
from web3.middleware import SignAndSendRawMiddlewareBuilder

from tests.clients.test_web3py import deploy
from tests.conftest import Node
from tests.contracts import dev_account, published

SUPPLY = 10**24
LIQUIDITY_A, LIQUIDITY_B = 10**21, 4 * 10**21
MINIMUM_LIQUIDITY = 1_000
"""Burned by the first deposit, so that the pool's shares can never be priced out of reach."""


@pytest.fixture
def trader() -> LocalAccount:
    return dev_account(1)


@pytest.fixture
def web3(node: Node, trader: LocalAccount) -> Web3:
    made = Web3(Web3.HTTPProvider(node.http_url))
    made.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(trader), layer=0)
    made.eth.default_account = trader.address
    return made


def amount_out(amount_in: int, reserve_in: int, reserve_out: int) -> int:
    """Uniswap V2's constant product with its fee of 0.3 % (whitepaper, section 3.2.1)."""
    with_fee = amount_in * 997
    return with_fee * reserve_out // (reserve_in * 1_000 + with_fee)


def done(web3: Web3, call: Any, **options: object) -> Any:
    """Send a contract call, and its receipt once it is in a block."""
    receipt = web3.eth.wait_for_transaction_receipt(call.transact(options))
    assert receipt["status"] == 1
    return receipt


def test_the_router_knows_the_pairs_of_this_bytecode() -> None:
    init_code_hash = keccak(hexstr=published("UniswapV2Pair").bytecode).hex()
    assert init_code_hash in published("UniswapV2Router02").bytecode


def test_deploy_add_liquidity_and_swap(web3: Web3, trader: LocalAccount) -> None:
    me = trader.address
    weth = deploy(web3, "WETH9")
    factory = deploy(web3, "UniswapV2Factory", me)
    router = deploy(web3, "UniswapV2Router02", factory.address, weth.address)
    token_a, token_b = (deploy(web3, "ERC20PresetFixedSupply", name, name, SUPPLY, me) for name in ("A", "B"))
    for token in (token_a, token_b):
        done(web3, token.functions.approve(router.address, 2**256 - 1))
    deadline = int(time.time()) + 10**6
    add = router.functions.addLiquidity(
        token_a.address, token_b.address, LIQUIDITY_A, LIQUIDITY_B, 0, 0, me, deadline
    )
    done(web3, add)

    pair_address = factory.functions.getPair(token_a.address, token_b.address).call()
    first, second = sorted([token_a.address, token_b.address], key=lambda a: int(a, 16))
    salt = keccak(bytes.fromhex(first[2:] + second[2:]))
    init_code_hash = keccak(hexstr=published("UniswapV2Pair").bytecode)
    create2 = keccak(b"\xff" + bytes.fromhex(factory.address[2:]) + salt + init_code_hash)[12:]
    assert pair_address == Web3.to_checksum_address(create2)

    pair: Any = web3.eth.contract(address=pair_address, abi=published("UniswapV2Pair").abi)
    assert pair.functions.balanceOf(me).call() == 2 * 10**21 - MINIMUM_LIQUIDITY  # sqrt(a * b)
    reserves = pair.functions.getReserves().call()[:2]
    assert sorted(reserves) == [LIQUIDITY_A, LIQUIDITY_B]

    amount_in = 10**19
    expected = amount_out(amount_in, LIQUIDITY_A, LIQUIDITY_B)
    path = [token_a.address, token_b.address]
    assert router.functions.getAmountsOut(amount_in, path).call() == [amount_in, expected]
    had = token_b.functions.balanceOf(me).call()
    swap = router.functions.swapExactTokensForTokens(amount_in, expected, path, me, deadline)
    receipt = done(web3, swap)
    assert token_b.functions.balanceOf(me).call() - had == expected
    assert token_a.functions.balanceOf(pair_address).call() == LIQUIDITY_A + amount_in
    assert len(receipt["logs"]) == 4  # two transfers, Sync, Swap


def test_swap_ether_through_weth(web3: Web3, trader: LocalAccount) -> None:
    me = trader.address
    weth = deploy(web3, "WETH9")
    factory = deploy(web3, "UniswapV2Factory", me)
    router = deploy(web3, "UniswapV2Router02", factory.address, weth.address)
    token = deploy(web3, "ERC20PresetFixedSupply", "A", "A", SUPPLY, me)
    done(web3, token.functions.approve(router.address, 2**256 - 1))
    deadline = int(time.time()) + 10**6
    ether, tokens = 10**18, 5 * 10**18
    done(web3, router.functions.addLiquidityETH(token.address, tokens, 0, 0, me, deadline), value=ether)
    had = token.functions.balanceOf(me).call()
    swap = router.functions.swapExactETHForTokens(0, [weth.address, token.address], me, deadline)
    done(web3, swap, value=10**15)
    assert token.functions.balanceOf(me).call() - had == amount_out(10**15, ether, tokens)
    assert weth.functions.totalSupply().call() == ether + 10**15
