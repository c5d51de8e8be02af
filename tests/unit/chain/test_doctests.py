"""The examples in the docstrings of ``chain`` are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import chain

MODULES = [module.name for module in pkgutil.iter_modules(chain.__path__, "chain.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
