"""The methods, one namespace or part of one per file; importing a file registers its methods."""

from __future__ import annotations

import importlib
import pkgutil


def load_methods() -> None:
    """Register every method: import every file of this package."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}")
