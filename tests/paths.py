"""Where the tests find the repository and the shared fixtures beside it."""

from __future__ import annotations

import os
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ZVMD_SHARED", REPO.parent / "shared"))
FIXTURES = SHARED / "fixtures"
WORKLOADS = SHARED / "workloads"

OBJECTS = REPO / ".cache" / "objects"
"""Compiled machine code, kept from one run of the tests to the next: a fork's interpreter takes a second to compile."""
