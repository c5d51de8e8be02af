"""From the compiler's relocatable object to an image: sections placed, relocations carried out, imports gathered.

Object files are ELF64 as in the System V gABI; relocations are those of the x86-64 psABI and of AArch64 (IHI 0056) that
position-independent code of the small model has. Anything else is an error: what cannot be linked is not run.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final, NamedTuple

from vm.errors import NativeCodeUnavailable
from vm.ir import image
from vm.ir.image import CONTENT_BYTES_MAX, SYMBOL_CHARS_MAX, Image, Import

X86_64: Final = 62
AARCH64: Final = 183
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QIIq")
_IDENT: Final = b"\x7fELF\x02\x01\x01"
"""64 bits, little-endian, version 1."""
_RELOCATABLE: Final = 1
_PROGBITS, _SYMTAB, _RELA, _NOBITS, _REL = 1, 2, 4, 8, 9
_WRITE, _ALLOC, _EXECINSTR, _TLS = 1, 2, 4, 0x400
_UNWINDING: Final = ".eh_frame"
"""Nothing unwinds compiled code: it never raises, and a fault in it ends the process."""
_RELOCATED: Final = ".data.rel.ro"
"""Constants with addresses in them: written when they are loaded and never again."""
_WORD: Final = 8
_PAGE: Final = 4096
"""AArch64's instructions count in these pages, whatever the system's are."""
_LONGEST_ALIGNMENT: Final = _PAGE


class _Section(NamedTuple):
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int


class _Symbol(NamedTuple):
    name: str
    section: int
    value: int


class _Target(Enum):
    """What a relocation writes: of the symbol's address S, the addend A and the place P."""

    ADDRESS = auto()
    """S + A, known only when the image is loaded."""
    DISTANCE = auto()
    """S + A - P."""
    PAGES = auto()
    """Pages from that of P to that of S + A."""
    LOW = auto()
    """S + A within its page."""


class _Via(Enum):
    """What stands for the symbol."""

    ITSELF = auto()
    """It must be in the object."""
    CALL = auto()
    """If it is imported, a stub that jumps to it."""
    SLOT = auto()
    """A word that holds its address."""


Write = Callable[[bytearray, int, int], None]
"""``write(content, place, value)``. Raises `struct.error` or `ValueError` if the value does not fit."""


class _Relocation(NamedTuple):
    target: _Target
    via: _Via
    write: Write


def _number(form: str) -> Write:
    packer = struct.Struct("<" + form)
    return packer.pack_into


def _field(low: int, bits: int, scale: int = 0, *, signed: bool = True) -> Write:
    """A field of an AArch64 instruction that counts in units of ``2**scale`` bytes."""

    def write(content: bytearray, place: int, value: int) -> None:
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if value % (1 << scale) or not least <= value >> scale <= most:
            raise ValueError(f"{value} does not fit")
        _instruction(content, place, (value >> scale & (1 << bits) - 1) << low, ((1 << bits) - 1) << low)

    return write


def _split(content: bytearray, place: int, value: int) -> None:
    """The immediate of ADR and ADRP: two low bits apart from 19 high ones."""
    if not -(1 << 20) <= value < 1 << 20:
        raise ValueError(f"{value} does not fit")
    bits = value & (1 << 21) - 1
    _instruction(content, place, (bits & 3) << 29 | bits >> 2 << 5, 3 << 29 | ((1 << 19) - 1) << 5)


def _instruction(content: bytearray, place: int, value: int, mask: int) -> None:
    (old,) = struct.unpack_from("<I", content, place)
    struct.pack_into("<I", content, place, old & ~mask | value)


_WORD_ADDRESS: Final = _Relocation(_Target.ADDRESS, _Via.ITSELF, _number("Q"))


def _distance(via: _Via, write: Write) -> _Relocation:
    return _Relocation(_Target.DISTANCE, via, write)


def _low(via: _Via, scale: int) -> _Relocation:
    """Twelve bits from bit 10 on: of ADD, and of loads and stores by their size."""
    return _Relocation(_Target.LOW, via, _field(10, 12, scale, signed=False))


_RELOCATIONS: Final = {
    X86_64: {
        1: _WORD_ADDRESS,  # R_X86_64_64
        2: _distance(_Via.ITSELF, _number("i")),  # PC32
        4: _distance(_Via.CALL, _number("i")),  # PLT32
        9: _distance(_Via.SLOT, _number("i")),  # GOTPCREL
        24: _distance(_Via.ITSELF, _number("q")),  # PC64
        41: _distance(_Via.SLOT, _number("i")),  # GOTPCRELX
        42: _distance(_Via.SLOT, _number("i")),  # REX_GOTPCRELX
    },
    AARCH64: {
        257: _WORD_ADDRESS,  # R_AARCH64_ABS64
        260: _distance(_Via.ITSELF, _number("q")),  # PREL64
        261: _distance(_Via.ITSELF, _number("i")),  # PREL32
        274: _distance(_Via.ITSELF, _split),  # ADR_PREL_LO21
        275: _Relocation(_Target.PAGES, _Via.ITSELF, _split),  # ADR_PREL_PG_HI21
        277: _low(_Via.ITSELF, 0),  # ADD_ABS_LO12_NC
        278: _low(_Via.ITSELF, 0),  # LDST8_ABS_LO12_NC
        279: _distance(_Via.CALL, _field(5, 14, 2)),  # TSTBR14
        280: _distance(_Via.CALL, _field(5, 19, 2)),  # CONDBR19
        282: _distance(_Via.CALL, _field(0, 26, 2)),  # JUMP26
        283: _distance(_Via.CALL, _field(0, 26, 2)),  # CALL26
        284: _low(_Via.ITSELF, 1),  # LDST16_ABS_LO12_NC
        285: _low(_Via.ITSELF, 2),  # LDST32_ABS_LO12_NC
        286: _low(_Via.ITSELF, 3),  # LDST64_ABS_LO12_NC
        299: _low(_Via.ITSELF, 4),  # LDST128_ABS_LO12_NC
        311: _Relocation(_Target.PAGES, _Via.SLOT, _split),  # ADR_GOT_PAGE
        312: _low(_Via.SLOT, 3),  # LD64_GOT_LO12_NC
    },
}
"""By machine and type, with their names."""


class _Stub(NamedTuple):
    """How to jump to the address in a word: instructions, and the relocations that name the word."""

    code: bytes
    relocations: tuple[tuple[int, int, int], ...]
    """Offset, type, addend."""


_STUBS: Final = {
    X86_64: _Stub(bytes.fromhex("ff25 00000000 cccc"), ((2, 9, -4),)),  # jmp *slot(%rip)
    AARCH64: _Stub(  # adrp x16, slot; ldr x16, [x16, slot]; br x16; brk
        struct.pack("<4I", 0x90000010, 0xF9400210, 0xD61F0200, 0xD4200000), ((0, 311, 0), (4, 312, 0))
    ),
}


def flat_image(data: bytes) -> bytes:
    """The image (`vm.ir.image`) of an object that exports ``@exports``. Raises `NativeCodeUnavailable`."""
    try:
        return image.encode(_Linking(data).image())
    except (struct.error, ValueError, LookupError, OverflowError) as error:
        raise NativeCodeUnavailable(f"the object cannot be linked: {error}"[:500]) from error


class _Linking:
    """One object on its way; what is wrong raises `ValueError` and the like."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._machine, self._sections = _sections(data)
        self._symbols = list(self._read_symbols())
        self._content = bytearray()
        self._starts: dict[int, int] = {}
        """Section -> where it is placed."""
        self._stubs: dict[int, int] = {}
        self._slots: dict[int, int] = {}
        """Symbol -> its stub or slot."""
        self._places: list[int] = []
        self._imports: list[Import] = []

    def image(self) -> Image:
        """Code, stubs, constants, slots."""
        relocations = list(self._relocations())
        wanted = {symbol for *_, symbol, relocation, _ in relocations if self._needs_slot(symbol, relocation)}
        kept = [i for i, section in enumerate(self._sections) if _is_kept(section)]
        self._place([i for i in kept if self._sections[i].flags & _EXECINSTR])
        stub = _STUBS[self._machine]
        for symbol in sorted(wanted):
            if not self._symbols[symbol].section:
                self._stubs[symbol] = self._append(stub.code, 16)
        self._place([i for i in kept if not self._sections[i].flags & _EXECINSTR])
        for symbol in sorted(wanted):
            self._slots[symbol] = self._append(bytes(_WORD), _WORD)
            self._carry_out(self._slots[symbol], symbol, _WORD_ADDRESS, 0)
        table = _RELOCATIONS[self._machine]
        for symbol, start in self._stubs.items():
            for offset, kind, addend in stub.relocations:
                self._carry_out(start + offset, symbol, table[kind], addend)
        for section, offset, symbol, relocation, addend in relocations:
            if section in self._starts:
                self._carry_out(self._starts[section] + offset, symbol, relocation, addend)
        self._append(b"", _WORD)
        exports = [symbol.name for symbol in self._symbols].index("exports")
        made = Image(bytes(self._content), self._address(exports), tuple(self._places), tuple(self._imports))
        image.check(made)
        return made

    def _needs_slot(self, symbol: int, relocation: _Relocation) -> bool:
        is_imported = not self._symbols[symbol].section
        return relocation.via is _Via.SLOT or (is_imported and relocation.via is _Via.CALL)

    def _append(self, data: bytes, alignment: int) -> int:
        """Put data at the end; where that is."""
        start = -(-len(self._content) // alignment) * alignment
        if start + len(data) > CONTENT_BYTES_MAX:
            raise ValueError(f"more than {CONTENT_BYTES_MAX} bytes")
        self._content += bytes(start - len(self._content)) + data
        return start

    def _place(self, sections: list[int]) -> None:
        for number in sections:
            section = self._sections[number]
            alignment = max(1, section.alignment)
            if alignment & alignment - 1 or alignment > _LONGEST_ALIGNMENT or section.size > CONTENT_BYTES_MAX:
                raise ValueError(f"{section.name} has {section.size} bytes aligned to {alignment}")
            content = bytes(section.size) if section.kind == _NOBITS else _part(self._data, section)
            self._starts[number] = self._append(content, alignment)

    def _address(self, symbol: int) -> int:
        """Offset of a symbol of this object."""
        name, section, value = self._symbols[symbol]
        if section not in self._starts or value > self._sections[section].size:
            raise ValueError(f"symbol {name!r} is not in memory")
        return self._starts[section] + value

    def _carry_out(self, place: int, symbol: int, relocation: _Relocation, addend: int) -> None:
        target, via, write = relocation
        is_imported = not self._symbols[symbol].section
        if target is _Target.ADDRESS and is_imported:
            name = self._symbols[symbol].name
            if addend or not 0 < len(name) <= SYMBOL_CHARS_MAX:
                raise ValueError(f"{addend} bytes behind the imported symbol {name!r}")
            self._imports.append(Import(place, name))
            return
        if via is _Via.SLOT:
            address = self._slots[symbol]
        elif via is _Via.CALL and is_imported:
            address = self._stubs[symbol]
        else:
            address = self._address(symbol)
        whole = address + addend
        if not 0 <= place < len(self._content):
            raise ValueError("a place outside its section")
        if target is _Target.ADDRESS:
            self._places.append(place)
        values = {
            _Target.ADDRESS: whole,
            _Target.DISTANCE: whole - place,
            _Target.PAGES: (whole // _PAGE) - (place // _PAGE),
            _Target.LOW: whole % _PAGE,
        }
        write(self._content, place, values[target])

    def _read_symbols(self) -> Iterator[_Symbol]:
        for section in self._sections:
            if section.kind == _SYMTAB:
                names = _part(self._data, self._sections[section.link])
                for name, _, _, index, value, _ in _SYMBOL.iter_unpack(_part(self._data, section)):
                    yield _Symbol(_string(names, name), index, value)

    def _relocations(self) -> Iterator[tuple[int, int, int, _Relocation, int]]:
        """Section, offset, symbol, how, addend."""
        table = _RELOCATIONS[self._machine]
        for section in self._sections:
            if section.kind == _REL:
                raise ValueError("relocations without addends")
            if section.kind != _RELA or not _is_kept(self._sections[section.info]):
                continue
            size = self._sections[section.info].size
            for offset, kind, symbol, addend in _RELOCATION.iter_unpack(_part(self._data, section)):
                if kind not in table:
                    raise ValueError(f"relocation type {kind} of machine {self._machine}")
                if offset >= size or symbol >= len(self._symbols):
                    raise ValueError("a relocation outside its section")
                yield section.info, offset, symbol, table[kind], addend


def _sections(data: bytes) -> tuple[int, list[_Section]]:
    """Machine and sections of an object; none that the process could write to later."""
    head = _HEADER.unpack_from(data)
    ident, kind, machine, start, entry, count, names = head[0], head[1], head[2], head[6], head[11], head[12], head[13]
    if not ident.startswith(_IDENT) or kind != _RELOCATABLE or machine not in _RELOCATIONS or entry != _SECTION.size:
        raise ValueError("not a relocatable object of a machine known here")
    rows = [_SECTION.unpack_from(data, start + i * entry) for i in range(count)]
    sections = [_Section("", row[1], row[2], row[4], row[5], row[6], row[7], row[8]) for row in rows]
    strings = _part(data, sections[names])
    sections = [section._replace(name=_string(strings, row[0])) for section, row in zip(sections, rows, strict=True)]
    for section in filter(_is_kept, sections):
        if section.flags & _TLS or (section.flags & _WRITE and not section.name.startswith(_RELOCATED)):
            raise ValueError(f"section {section.name} would be writable")
    return machine, sections


def _is_kept(section: _Section) -> bool:
    return bool(section.flags & _ALLOC) and section.name != _UNWINDING


def _part(data: bytes, section: _Section) -> bytes:
    part = data[section.offset : section.offset + section.size]
    if len(part) != section.size:
        raise ValueError("the object is cut off")
    return part


def _string(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode("ascii")
