"""The bundle's own tests run when a bundle is named: LOUPE_BUNDLE=dist/circuit-loupe (`make bundle-test`)."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("LOUPE_BUNDLE") else ["test_*.py"]
