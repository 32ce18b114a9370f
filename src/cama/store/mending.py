"""Mending a store: does what an examination proposed, where that still holds."""

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from cama.core.errors import CamaError
from cama.store.blobs import Blobs
from cama.store.digests import find_digest
from cama.store.files import remove_empty_folders
from cama.store.findings import Finding, Remedy, mark_of
from cama.store.manifests import Manifests
from cama.store.pruning import references, sweep


def mend(
    manifests: Manifests, blobs: Blobs, root: Path, findings: Iterable[Finding]
) -> Iterator[Finding]:
    """Mend and give back what could be mended; what has changed since it was found stays.

    Damaged files are not deleted but moved to :func:`quarantine` of the store's folder ``root``.
    The caller holds the store's lock until the end. Raises OSError.
    """
    living = sweep(blobs)
    for finding in sorted(findings, key=lambda finding: finding.remedy is Remedy.DELETE):
        if finding.remedy is Remedy.NONE or finding.path.name in living:
            continue
        if not os.path.lexists(finding.path):  # it went by itself
            yield finding
        elif mark_of(finding.path.lstat()) == finding.mark and _still_holds(manifests, finding):
            _apply(manifests, blobs, root, finding)
            yield finding


def _still_holds(manifests: Manifests, finding: Finding) -> bool:
    """Whether nothing refers to what shall be deleted."""
    if finding.remedy is not Remedy.DELETE or finding.kind != "unused-blob":
        return True
    try:
        return find_digest(finding.path.name) not in references(manifests)
    except CamaError:
        return False


def quarantine(root: Path) -> Path:
    """The folder for damaged files of the store in ``root``."""
    return root / ".cama" / "quarantine"


def _apply(manifests: Manifests, blobs: Blobs, root: Path, finding: Finding) -> None:
    path, digest = finding.path, find_digest(finding.path.name)
    match finding.remedy:
        case Remedy.QUARANTINE:
            _put_aside(path, root)
            remove_empty_folders(path.parent, manifests.folder)
        case Remedy.DELETE if digest and path == blobs.path(digest):
            blobs.remove(digest)
        case Remedy.DELETE:
            path.unlink()
        case Remedy.RENAME if digest:
            path.rename(blobs.path(digest))
        case Remedy.PERMIT:
            path.chmod(0o755 if path.is_dir() else 0o644)


def _put_aside(path: Path, root: Path) -> None:
    folder = quarantine(root)
    folder.mkdir(parents=True, exist_ok=True)
    name = "%".join(path.relative_to(root).parts)
    path.rename(folder / f"{name[-200:]}.{secrets.token_hex(4)}")
