"""Transactions of every type: their wire form, hash, signature and sender.

Types: 0 legacy (with and without EIP-155), 1 access list (EIP-2930), 2 dynamic fee (EIP-1559), 3 blob
(EIP-4844), 4 set code (EIP-7702). Decoding checks shape, canonicity and ranges; what depends on the fork is
in ``chain/validity.py``, what depends on the state is checked by `vm.transaction`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from chain import rlp
from chain.crypto import HALF_CURVE_ORDER, recover, sign
from chain.errors import InvalidAuthorizationList, InvalidRlp, InvalidSignature, MalformedTransaction
from chain.hashing import keccak256
from chain.types import UINT256_MAX, Address, Hash32

LEGACY, ACCESS_LIST, DYNAMIC_FEE, BLOB, SET_CODE = range(5)

FIELD_COUNT = (9, 11, 12, 14, 13)
"""RLP fields of a signed transaction, by type."""

AUTHORIZATION_MAGIC = b"\x05"
"""Prefix of what an authorization signs (EIP-7702)."""

IMPERSONATED_S = 1
IMPERSONATED_R = 1 << 160
"""Stand in for the signature of an impersonated transaction: s, and what r adds to the address (`impersonate`)."""
OLD_IMPERSONATED_S = UINT256_MAX
"""The s of logs written before the values above; r is the address itself. Clients refuse it as out of range."""

AccessList = tuple[tuple[Address, tuple[int, ...]], ...]
"""Addresses and their storage slots (EIP-2930)."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """Consent of an account to run the code of another address as its own (EIP-7702)."""

    chain_id: int
    """0 for any chain."""
    address: Address
    """Whose code to run; zero clears the delegation."""
    nonce: int
    y_parity: int
    r: int
    s: int

    def signing_hash(self) -> Hash32:
        """What the authority signs."""
        fields = (rlp.encode_int(self.chain_id), self.address, rlp.encode_int(self.nonce))
        return keccak256(AUTHORIZATION_MAGIC + rlp.encode(fields))

    def authority(self) -> Address | None:
        """The account that signed; None if the signature is invalid: such an authorization is skipped (EIP-7702)."""
        if self.s > HALF_CURVE_ORDER:
            return None
        try:
            return recover(self.signing_hash(), self.y_parity, self.r, self.s)
        except InvalidSignature:
            return None


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction of any type; fields a type does not have keep their defaults.

    Fees are in wei per gas. For types 0 and 1 both EIP-1559 fees equal ``gas_price``, so that one formula
    serves all types; for later types ``gas_price`` is 0.
    """

    type: int
    chain_id: int | None
    """None for a legacy transaction without EIP-155."""
    nonce: int
    gas_price: int
    max_priority_fee_per_gas: int
    max_fee_per_gas: int
    gas_limit: int
    to: Address | None
    """None creates a contract."""
    value: int
    """Wei."""
    data: bytes
    access_list: AccessList = ()
    max_fee_per_blob_gas: int = 0
    blob_versioned_hashes: tuple[Hash32, ...] = ()
    authorization_list: tuple[Authorization, ...] = ()
    y_parity: int = 0
    r: int = 0
    s: int = 0
    _raw: bytes = field(init=False, default=b"", repr=False, compare=False)
    _hash: Hash32 | None = field(init=False, default=None, repr=False, compare=False)

    @property
    def hash(self) -> Hash32:
        """Keccak-256 of the encoding: the transaction hash."""
        digest = self._hash
        if digest is None:
            digest = keccak256(encode_transaction(self))
            object.__setattr__(self, "_hash", digest)
        return digest

    @property
    def v(self) -> int:
        """The signature's v as JSON-RPC shows it: 27/28 or EIP-155 for legacy, the y parity for others."""
        if self.type != LEGACY:
            return self.y_parity
        return self.y_parity + (27 if self.chain_id is None else 35 + 2 * self.chain_id)


def decode_transaction(raw: bytes) -> Transaction:
    """Decode a transaction's consensus encoding (EIP-2718).

    Raises `MalformedTransaction`, `InvalidSignature` (y parity or v) or `InvalidAuthorizationList`.
    """
    if not raw:
        raise MalformedTransaction("no bytes")
    kind = raw[0]
    try:
        if kind >= 0xC0:
            tx = _decode_legacy(raw)
        elif ACCESS_LIST <= kind <= SET_CODE:
            tx = _decode_typed(kind, raw)
        else:
            raise MalformedTransaction(f"type {kind} is not known")
    except InvalidRlp as error:
        raise MalformedTransaction(str(error)) from None
    object.__setattr__(tx, "_raw", raw)
    return tx


def encode_transaction(tx: Transaction) -> bytes:
    """The consensus encoding (EIP-2718), computed once."""
    raw = tx._raw
    if not raw:
        raw = _encode(tx)
        object.__setattr__(tx, "_raw", raw)
    return raw


def signing_hash(tx: Transaction) -> Hash32:
    """What the sender signs."""
    # The signed fields are a prefix of the encoded ones: cut the signature off instead of encoding again.
    raw = encode_transaction(tx)
    start = 1 if tx.type else 0
    prefix = raw[start]
    start += 1 if prefix < 0xF8 else prefix - 0xF6
    body = raw[start : len(raw) - _encoded_size(tx.v) - _encoded_size(tx.r) - _encoded_size(tx.s)]
    if tx.type:
        return keccak256(raw[:1] + rlp.encode_length(len(body), 0xC0) + body)
    if tx.chain_id is not None:
        body += rlp.encode_bytes(rlp.encode_int(tx.chain_id)) + b"\x80\x80"
    return keccak256(rlp.encode_length(len(body), 0xC0) + body)


def recover_sender(tx: Transaction, *, allow_high_s: bool = False) -> Address:
    """The account that signed. High s is a Frontier right only (EIP-2).

    Raises `InvalidSignature`, also for the values in place of the signature of an impersonated transaction: nobody can
    send one from outside. A signer meets these values with a chance of 2**-256.
    """
    if is_impersonated(tx):
        raise InvalidSignature("r and s name a sender that a development node impersonates")
    if tx.s > HALF_CURVE_ORDER and not allow_high_s:
        raise InvalidSignature("s is in the upper half of the curve order (EIP-2)")
    return recover(signing_hash(tx), tx.y_parity, tx.r, tx.s)


def impersonate(tx: Transaction, sender: Address) -> Transaction:
    """A copy that names its sender in place of a signature: r is 2**160 plus the address, s is 1.

    Both are in the range of signatures (0 < r, s < n; s in the lower half), which clients check when they decode a
    transaction, as with anvil's r = s = 1; the address in r keeps equal transactions of two senders apart by hash.
    Development chains execute it; `recover_sender` refuses it, so that nobody can send one from outside.
    """
    return replace(tx, y_parity=0, r=IMPERSONATED_R + int.from_bytes(sender, "big"), s=IMPERSONATED_S)


def is_impersonated(tx: Transaction) -> bool:
    """Whether nobody signed the transaction: see `impersonate`."""
    if tx.y_parity:
        return False
    return (tx.s == IMPERSONATED_S and tx.r >> 160 == 1) or (tx.s == OLD_IMPERSONATED_S and not tx.r >> 160)


def sender_of(tx: Transaction) -> Address:
    """Sender of a transaction that this node has accepted, signed or impersonated. Raises `InvalidSignature`."""
    return Address((tx.r % IMPERSONATED_R).to_bytes(20, "big")) if is_impersonated(tx) else recover_sender(tx)


def sign_transaction(tx: Transaction, secret: bytes) -> Transaction:
    """A copy with the signature of ``secret``. Raises `InvalidSignature` for a bad secret."""
    y_parity, r, s = sign(signing_hash(tx), secret)
    return replace(tx, y_parity=y_parity, r=r, s=s)


def effective_gas_price(tx: Transaction, base_fee: int) -> int:
    """Wei per gas the sender pays in a block with this base fee (EIP-1559)."""
    return min(tx.max_fee_per_gas, base_fee + tx.max_priority_fee_per_gas)


def _encoded_size(number: int) -> int:
    """Bytes of the RLP of an integer below 2**256."""
    return 1 if number < 0x80 else 1 + ((number.bit_length() + 7) >> 3)


def _integer(item: rlp.Decoded, name: str, max_bytes: int = 32) -> int:
    if isinstance(item, bytes) and len(item) <= max_bytes and item[:1] != b"\0":
        return int.from_bytes(item, "big")
    try:
        return rlp.decode_int(item, max_bytes)
    except InvalidRlp as error:
        raise MalformedTransaction(f"{name}: {error}") from None


def _exact_bytes(item: rlp.Decoded, name: str, length: int) -> bytes:
    if not isinstance(item, bytes) or len(item) != length:
        raise MalformedTransaction(f"{name}: not {length} bytes")
    return item


def _recipient(item: rlp.Decoded) -> Address | None:
    if not isinstance(item, bytes) or len(item) not in (0, 20):
        raise MalformedTransaction("to: neither an address nor empty")
    return Address(item) if item else None


def _bytes(item: rlp.Decoded, name: str) -> bytes:
    if not isinstance(item, bytes):
        raise MalformedTransaction(f"{name}: a list where bytes should be")
    return item


def _list(item: rlp.Decoded, name: str) -> list[rlp.Decoded]:
    if isinstance(item, bytes):
        raise MalformedTransaction(f"{name}: bytes where a list should be")
    return item


def _access_list(item: rlp.Decoded) -> AccessList:
    if not item and isinstance(item, list):
        return ()
    entries = []
    for entry in _list(item, "access list"):
        pair = _list(entry, "access list entry")
        if len(pair) != 2:
            raise MalformedTransaction("access list entry: not an address and its slots")
        address = Address(_exact_bytes(pair[0], "access list address", 20))
        slots = [
            int.from_bytes(_exact_bytes(slot, "access list slot", 32), "big")
            for slot in _list(pair[1], "access list slots")
        ]
        entries.append((address, tuple(slots)))
    return tuple(entries)


def _authorization(item: rlp.Decoded) -> Authorization:
    try:
        fields = _list(item, "authorization")
        if len(fields) != 6:
            raise MalformedTransaction(f"authorization: {len(fields)} fields instead of 6")
        return Authorization(
            _integer(fields[0], "authorization chain id"),
            Address(_exact_bytes(fields[1], "authorization address", 20)),
            _integer(fields[2], "authorization nonce", 8),
            _integer(fields[3], "authorization y parity", 1),
            _integer(fields[4], "authorization r"),
            _integer(fields[5], "authorization s"),
        )
    except MalformedTransaction as error:
        raise InvalidAuthorizationList(str(error)) from None


def _decode_legacy(raw: bytes) -> Transaction:
    fields = rlp.decode_list(raw)
    if len(fields) != FIELD_COUNT[LEGACY]:
        raise MalformedTransaction(f"{len(fields)} fields instead of {FIELD_COUNT[LEGACY]}")
    price = _integer(fields[1], "gas price")
    v = _integer(fields[6], "v")
    if v in (27, 28):
        chain_id, y_parity = None, v - 27
    elif v >= 35:
        chain_id, y_parity = (v - 35) >> 1, (v - 35) & 1
    else:
        raise InvalidSignature(f"v is {v}: neither 27, 28 nor of EIP-155")
    return Transaction(
        LEGACY,
        chain_id,
        _integer(fields[0], "nonce", 8),
        price,
        price,
        price,
        _integer(fields[2], "gas limit", 8),
        _recipient(fields[3]),
        _integer(fields[4], "value"),
        _bytes(fields[5], "data"),
        y_parity=y_parity,
        r=_integer(fields[7], "r"),
        s=_integer(fields[8], "s"),
    )


def _decode_typed(kind: int, raw: bytes) -> Transaction:
    fields = rlp.decode_list(raw[1:])
    if len(fields) != FIELD_COUNT[kind]:
        raise MalformedTransaction(f"{len(fields)} fields instead of {FIELD_COUNT[kind]}")
    priority_fee = _integer(fields[2], "gas price" if kind == ACCESS_LIST else "max priority fee")
    rest = 3 if kind == ACCESS_LIST else 4
    y_parity = _integer(fields[-3], "y parity")
    if y_parity > 1:
        raise InvalidSignature(f"y parity is {y_parity}, not 0 or 1")
    max_fee_per_blob_gas = 0
    blob_versioned_hashes: tuple[Hash32, ...] = ()
    authorization_list: tuple[Authorization, ...] = ()
    if kind == BLOB:
        max_fee_per_blob_gas = _integer(fields[9], "max fee per blob gas")
        blob_versioned_hashes = tuple(
            Hash32(_exact_bytes(item, "blob versioned hash", 32))
            for item in _list(fields[10], "blob versioned hashes")
        )
    elif kind == SET_CODE:
        authorization_list = tuple(map(_authorization, _list(fields[9], "authorization list")))
    return Transaction(
        kind,
        _integer(fields[0], "chain id"),
        _integer(fields[1], "nonce", 8),
        priority_fee if kind == ACCESS_LIST else 0,
        priority_fee,
        priority_fee if kind == ACCESS_LIST else _integer(fields[3], "max fee"),
        _integer(fields[rest], "gas limit", 8),
        _recipient(fields[rest + 1]),
        _integer(fields[rest + 2], "value"),
        _bytes(fields[rest + 3], "data"),
        _access_list(fields[rest + 4]),
        max_fee_per_blob_gas,
        blob_versioned_hashes,
        authorization_list,
        y_parity,
        _integer(fields[-2], "r"),
        _integer(fields[-1], "s"),
    )


def _encode(tx: Transaction) -> bytes:
    integer = rlp.encode_int
    fields: list[rlp.Item]
    if tx.type == LEGACY:
        fields = [integer(tx.nonce), integer(tx.gas_price)]
    elif tx.type == ACCESS_LIST:
        fields = [integer(tx.chain_id or 0), integer(tx.nonce), integer(tx.gas_price)]
    else:
        fields = [integer(tx.chain_id or 0), integer(tx.nonce)]
        fields += [integer(tx.max_priority_fee_per_gas), integer(tx.max_fee_per_gas)]
    fields += [integer(tx.gas_limit), tx.to or b"", integer(tx.value), tx.data]
    if tx.type != LEGACY:
        fields.append(
            [[address, [slot.to_bytes(32, "big") for slot in slots]] for address, slots in tx.access_list]
        )
    if tx.type == BLOB:
        fields += [integer(tx.max_fee_per_blob_gas), tx.blob_versioned_hashes]
    elif tx.type == SET_CODE:
        fields.append([_authorization_fields(authorization) for authorization in tx.authorization_list])
    fields += [integer(tx.v), integer(tx.r), integer(tx.s)]
    encoded = rlp.encode(fields)
    return bytes((tx.type,)) + encoded if tx.type else encoded


def _authorization_fields(item: Authorization) -> list[bytes]:
    integer = rlp.encode_int
    signature = [integer(item.y_parity), integer(item.r), integer(item.s)]
    return [integer(item.chain_id), item.address, integer(item.nonce), *signature]
