"""How much memory or disk, in words for people: one way for every sentence and table."""

from __future__ import annotations


def byte_words(count: float) -> str:
    """So many bytes as "540 MB" or "2.1 GB", in powers of ten as disks and downloads are counted."""
    return f"{count / 1e9:,.1f} GB" if count >= 999.5e6 else f"{count / 1e6:,.0f} MB"
