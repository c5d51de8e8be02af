"""Assignments to attributes of objects that belong to another module.

A module owns the classes it defines: it may assign the attributes of their instances, as a Rust module may assign the
fields of its structs. Of other objects it may assign those of one that the same function has just constructed.
Everything else is wiring from outside: the owner should have a method or a constructor argument for it.

The class of an object is taken from annotations and constructor calls. Where they do not name it, the object counts as
foreign if it is a parameter, is reached through an attribute, or is an alias of one of those.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.house.modules import Module

FOREIGN_FUNCTIONS = {"restype", "argtypes", "errcheck"}
"""How ctypes wants its functions declared."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Scope:
    """What is known in one function: the classes of its names, and the names it may assign to."""

    qualname: str
    classes: dict[str, str] = field(default_factory=dict)
    """Name to the class it is annotated with or constructed from."""
    aliases: dict[str, ast.expr] = field(default_factory=dict)
    constructed: set[str] = field(default_factory=set)


def foreign_assignments(module: Module) -> Iterator[str]:
    """Each as ``Class.method target``, for example ``Node.start ledger.sync``."""
    own = {node.name: _attribute_classes(node) for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)}
    for scope, function, inside in _functions(module.tree, Scope("")):
        for target in _targets(function):
            if target.attr not in FOREIGN_FUNCTIONS and _is_foreign(target.value, scope, inside, own):
                yield f"{scope.qualname} {ast.unparse(target)}"


def _is_foreign(owner: ast.expr, scope: Scope, inside: str, own: dict[str, dict[str, str]]) -> bool:
    if isinstance(owner, ast.Name):
        if owner.id in ("self", "cls") or owner.id in scope.constructed or scope.classes.get(owner.id) in own:
            return False
        alias = scope.aliases.get(owner.id)
        if alias is not None:
            return _is_foreign(alias, scope, inside, own)
        return owner.id in scope.classes
    if isinstance(owner, ast.Attribute):
        return _class_of(owner, scope, inside, own) not in own
    return False


def _class_of(expression: ast.expr, scope: Scope, inside: str, own: dict[str, dict[str, str]]) -> str:
    """The name of an expression's class, or nothing where it is not known."""
    if isinstance(expression, ast.Name):
        if expression.id in ("self", "cls"):
            return inside
        alias = scope.aliases.get(expression.id)
        return _class_of(alias, scope, inside, own) if alias is not None else scope.classes.get(expression.id, "")
    if isinstance(expression, ast.Attribute):
        return own.get(_class_of(expression.value, scope, inside, own), {}).get(expression.attr, "")
    return ""


def _functions(
    tree: ast.AST, outer: Scope, prefix: str = "", inside: str = ""
) -> Iterator[tuple[Scope, Function, str]]:
    """Every function with its scope and the class it is in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, outer, f"{prefix}{node.name}.", node.name)
        elif isinstance(node, Function):
            scope = _scope(node, f"{prefix}{node.name}", outer)
            yield scope, node, inside
            yield from _functions(node, scope, f"{prefix}{node.name}.", inside)
        else:
            yield from _functions(node, outer, prefix, inside)


def _scope(function: Function, qualname: str, outer: Scope) -> Scope:
    scope = Scope(qualname, dict(outer.classes), dict(outer.aliases), set(outer.constructed))
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        scope.classes[argument.arg] = _annotated(argument.annotation)
    for node in _own_nodes(function):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            scope.classes[node.target.id] = _annotated(node.annotation)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (target.id for target in targets if isinstance(target, ast.Name)):
                if isinstance(node.value, ast.Call):
                    scope.constructed.add(name)
                elif isinstance(node.value, ast.Attribute | ast.Name):
                    scope.aliases[name] = node.value
    return scope


def _targets(function: Function) -> Iterator[ast.Attribute]:
    for node in _own_nodes(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions and classes inside it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def _attribute_classes(definition: ast.ClassDef) -> dict[str, str]:
    """Attribute to class, from annotations, constructor calls and annotated arguments of ``__init__``."""
    found: dict[str, str] = {}
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = _annotated(node.annotation)
    for function in definition.body:
        if isinstance(function, Function):
            if any("property" in ast.unparse(decorator) for decorator in function.decorator_list):
                found[function.name] = _annotated(function.returns)
            given = {argument.arg: _annotated(argument.annotation) for argument in function.args.args}
            for node in ast.walk(function):
                _note_assignment(node, given, found)
    return found


def _note_assignment(node: ast.AST, given: dict[str, str], found: dict[str, str]) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    for target in targets:
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            if isinstance(node, ast.AnnAssign):
                found[target.attr] = _annotated(node.annotation)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                found.setdefault(target.attr, ast.unparse(node.value.func).split(".")[0])
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
                found.setdefault(target.attr, given.get(node.value.id, ""))


def _annotated(annotation: ast.expr | None) -> str:
    """The class an annotation names; ``X | None`` is X."""
    if isinstance(annotation, ast.BinOp):
        return _annotated(annotation.left)
    if isinstance(annotation, ast.Subscript):
        return _annotated(annotation.value)
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return _annotated(ast.parse(annotation.value, mode="eval").body)
    return ast.unparse(annotation).rpartition(".")[2] if isinstance(annotation, ast.Name | ast.Attribute) else ""
