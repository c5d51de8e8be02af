"""Where the tests find the repository and the shared fixtures beside it."""

from __future__ import annotations

import os
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ZVMD_SHARED", REPO.parent / "shared"))
FIXTURES = SHARED / "fixtures"
WORKLOADS = SHARED / "workloads"
