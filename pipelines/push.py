"""Makes a release appear all at once, whole or not at all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from domain.errors import ContractError
from models import release

PARTIAL = ".partial-"  # not a number, so no release to anyone


def push(assembled: Path, releases: Path, copy: Callable[[str, str], object] = shutil.copy2) -> Path:
    """A sealed release -> `releases/<version>`: copied beside its place, then renamed.

    Args:
      copy: how to copy a file, such as `link`.
    Raises:
      ContractError: the version exists already; it stays as it is.
    """
    version = release.Manifest.model_validate_json((assembled / release.MANIFEST).read_bytes()).version
    releases.mkdir(parents=True, exist_ok=True)
    partial = releases / f"{PARTIAL}{version}-{os.getpid()}"
    try:
        shutil.copytree(assembled, partial, copy_function=copy)
        os.rename(partial, releases / str(version))
    except OSError as e:
        if (releases / str(version)).exists():
            raise ContractError(f"{releases / str(version)} exists already: releases are never changed") from None
        raise e
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return releases / str(version)


def link(source: str, target: str) -> None:
    """A second name for a file that is never changed; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
