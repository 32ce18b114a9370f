"""What an examination of a store finds."""

import contextlib
import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

Kind = Literal[
    "damaged-manifest",
    "missing-blob",
    "wrong-size",
    "damaged-blob",
    "old-name",
    "unreadable",
    "unused-blob",
    "partial",
    "unfinished",
    "unknown-file",
]


class Remedy(StrEnum):
    """What mends a finding."""

    QUARANTINE = "quarantine"
    DELETE = "delete"
    RENAME = "rename"
    PERMIT = "permit"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in a store that is not as it shall be, in words in ``text``.

    ``size`` is in bytes on the disk. A leftover takes place and does no harm. ``mark`` is how the
    file looked: when it looks different, somebody has changed it since.
    """

    kind: Kind
    path: Path
    text: str
    remedy: Remedy = Remedy.NONE
    is_leftover: bool = False
    size: int
    mark: tuple[int, ...]


@dataclass(slots=True)
class Examination:
    """What was looked at, and what was found."""

    n_models: int = 0
    n_blobs: int = 0
    n_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(
        self,
        kind: Kind,
        path: Path,
        text: str,
        remedy: Remedy = Remedy.NONE,
        *,
        is_leftover: bool = False,
    ) -> None:
        """Note something about a file, unless that has gone meanwhile."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return
        self.findings.append(
            Finding(
                kind=kind,
                path=path,
                text=text,
                remedy=remedy,
                is_leftover=is_leftover,
                size=status.st_blocks * 512,
                mark=mark_of(status),
            )
        )

    def add_unreadable(self, path: Path) -> None:
        """Note a file or folder that we may not read; its owner can change that."""
        with contextlib.suppress(FileNotFoundError):  # it went meanwhile
            is_ours = path.lstat().st_uid == os.geteuid()
            text = "may not be read" + ("" if is_ours else ": it belongs to another user")
            self.add("unreadable", path, text, Remedy.PERMIT if is_ours else Remedy.NONE)


def mark_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is replaced or written to."""
    return status.st_ino, status.st_size, status.st_mtime_ns
