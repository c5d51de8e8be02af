"""Templates: explained programs with checked end states, as TOML text that a service reads and stores."""

from __future__ import annotations

import msgspec

from chain.errors import ZvmdError
from debugger.assembly import assemble
from debugger.errors import InvalidTemplate
from debugger.hex import Number, number_of
from debugger.limits import TEMPLATE_BYTES, TEMPLATE_STEPS
from debugger.moves import step
from debugger.program import AccountSetup, BlockSetup, Program
from debugger.session import Session
from debugger.slices import Slices
from debugger.state import State
from debugger.toml_keys import toml_of
from vm.machine import Machine


class TemplateAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An account in the template's base state."""

    about: str = ""
    assembly: str | None = None
    code: str | None = None
    balance: Number | None = None
    nonce: int | None = None
    storage: dict[str, Number] = {}


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The expected end state; a field that is not given is not checked."""

    halt: str
    output: str | None = None
    message: str | None = None
    stack: list[Number] | None = None
    """The top last."""
    memory: str | None = None
    storage: dict[str, Number] | None = None
    """Slots of the program's account that are not 0."""
    logs: int | None = None
    steps: int | None = None


class TemplateNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An explanation for one step of the run."""

    step: int
    text: str


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A program to learn from."""

    name: str
    """File name without suffix: lower case, dashes."""
    title: str
    explanation: str
    expected: Expected
    tags: list[str] = []
    assembly: str | None = None
    code: str | None = None
    create: bool = False
    calldata: str = "0x"
    value: Number = 0
    gas: int = 1_000_000
    fork: str = "osaka"
    caller: str = "0x00000000000000000000000000000000000ca11e"
    accounts: dict[str, TemplateAccount] = {}
    notes: list[TemplateNote] = []

    def program(self) -> Program:
        """The program of a session created from it. Raises `InvalidTemplate` and `InvalidProgram`."""
        state = {
            address: AccountSetup(
                account.balance, account.nonce, _code(account.assembly, account.code), account.storage
            )
            for address, account in self.accounts.items()
        }
        program = Program(
            code=_code(self.assembly, self.code) or "0x",
            create=self.create,
            fork=self.fork,
            caller=self.caller,
            value=self.value,
            calldata=self.calldata,
            gas=self.gas,
            block=BlockSetup(),
            state=state,
        )
        program.launch()
        return program


def _code(assembly: str | None, code: str | None) -> str | None:
    if assembly is not None and code is not None:
        raise InvalidTemplate("give assembly or code, not both")
    return code if assembly is None else "0x" + assemble(assembly).hex()


def parse_template(text: str) -> Template:
    """A template of TOML text. Raises `InvalidTemplate`."""
    if len(text) > TEMPLATE_BYTES:
        raise InvalidTemplate(f"more than {TEMPLATE_BYTES} characters")
    try:
        template = msgspec.convert(toml_of(text), Template)
        template.program()
    except (ValueError, msgspec.ValidationError, RecursionError) as error:  # numbers of too many digits, too
        raise InvalidTemplate(str(error)[:300]) from None
    except InvalidTemplate:
        raise
    except ZvmdError as error:
        raise InvalidTemplate(f"{error.code}: {error}"[:300]) from error
    return template


def save_template(session: Session, name: str, title: str, explanation: str) -> Slices[Template]:
    """A user's own template of a bytecode session: its program, and the end state its run has now. In slices.

    Raises `InvalidTemplate` for other sessions and for runs that do not end soon.
    """
    program = session.program
    if program.code is None:
        raise InvalidTemplate("only sessions of bytecode can become templates")
    timeline = session.clone_of(session.branches[0])
    try:
        yield from timeline.advance(TEMPLATE_STEPS)
        has_ended, steps = timeline.outcome is not None, timeline.step
    finally:
        timeline.close()
    if not has_ended:
        raise InvalidTemplate(f"the program runs longer than {TEMPLATE_STEPS} steps")
    accounts = {
        address: TemplateAccount("", None, setup.code, setup.balance, setup.nonce, setup.storage)
        for address, setup in program.state.items()
    }
    template = Template(
        name, title, explanation, Expected("", steps=steps), [], None, program.code, program.create,
        program.calldata, program.value, program.gas, program.fork, program.caller, accounts,
    )  # fmt: skip
    end = yield from end_state(template, session.machine)
    assert end.halt is not None
    expected = Expected(
        end.halt.reason,
        end.halt.output,
        end.halt.message,
        stack=list(end.stack),
        storage=dict(end.storage),
        logs=len(end.logs),
        steps=end.step,
    )
    return msgspec.structs.replace(template, expected=expected)


def end_state(template: Template, machine: Machine) -> Slices[State]:
    """Run a session to its end, in slices. Raises `InvalidTemplate` if that takes too long."""
    session = Session(template.program(), machine)
    try:
        yield from step(session, TEMPLATE_STEPS)
        if session.halt() is None:
            raise InvalidTemplate(f"runs longer than {TEMPLATE_STEPS} steps")
        return session.state()
    finally:
        session.close()


def check_template(template: Template, machine: Machine) -> Slices[list[str]]:
    """Run it, in slices, and compare the end with the expected one; returns a description of each difference."""
    state, expected = (yield from end_state(template, machine)), template.expected
    halt = state.halt
    assert halt is not None
    pairs: dict[str, tuple[object, object]] = {
        "halt": (halt.reason, expected.halt),
        "output": (halt.output, expected.output),
        "message": (halt.message, expected.message),
        "memory": (state.memory, expected.memory),
        "logs": (len(state.logs), expected.logs),
        "steps": (state.step, expected.steps),
        "stack": ([int(word, 16) for word in state.stack], _numbers(expected.stack)),
        "storage": (_set_slots(state.storage), None if expected.storage is None else _set_slots(expected.storage)),
    }
    return [
        f"{name}: {got}, expected {wanted}"
        for name, (got, wanted) in pairs.items()
        if wanted is not None and got != wanted
    ]


def _numbers(values: list[Number] | None) -> list[int] | None:
    return None if values is None else [number_of(value, "expected") for value in values]


def _set_slots(slots: dict[str, str] | dict[str, Number]) -> dict[int, int]:
    found = {number_of(slot, "slot"): number_of(value, "value") for slot, value in slots.items()}
    return {slot: value for slot, value in found.items() if value}
