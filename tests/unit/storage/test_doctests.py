"""The examples in the docstrings of ``storage`` are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import storage

MODULES = [module.name for module in pkgutil.walk_packages(storage.__path__, "storage.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
