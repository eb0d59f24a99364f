"""Follows the releases folder: the newest release that is whole, fits the market, and is served by the model server, ranks."""

import asyncio
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from domain.clock import now_ms
from domain.errors import ContractError, DependencyError, IncompleteRelease
from domain.keys import Keys
from models.release import EXTRA, load_release, versions
from models.release_folder import Fingerprint, fingerprint
from models.turns import read_turns
from monitoring import metrics
from retrieval.index import OfferIndex, load_index
from retrieval.retriever import Retriever
from serving.gateway.adapters.redis_link import RedisLink
from serving.gateway.market_view import MarketView
from serving.gateway.ports import ActiveRelease

POLL_S = 1.0
PATIENCE_MS = 30_000
"""A release that lacks files for so long, and does not change, is no longer taken for one that is being copied."""
TIMEOUT_S = 0.5

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Unusable:
    """A release that cannot rank as its files are."""

    files: Fingerprint
    reason: str
    since_ms: int
    incomplete: bool
    told: bool = False


class ModelStatus(Protocol):
    """Says what the model server serves."""

    async def available_versions(self, timeout_s: float) -> list[int]:
        """Versions that answer now; raises DependencyError."""
        ...


class FolderReleases:
    """Swaps whole releases: calibrator, index and pinned model version change in one assignment.

    A release ranks over one catalogue; where another one came while it was read, it is laid over that before it ranks.
    """

    def __init__(self, base: Path | None, view: MarketView, model: ModelStatus, link: RedisLink, keys: Keys) -> None:
        self._base = base
        self._view = view
        self._model = model
        self._link = link
        self._keys = keys
        self._cold = ActiveRelease(None, None, retriever(view, None))
        self._active = self._cold
        self._loaded: dict[int, ActiveRelease] = {}
        self._unusable: dict[int, _Unusable] = {}
        self._unrecorded: dict[int, int] = {}

    def active(self) -> ActiveRelease:
        """What ranks now."""
        return self._active

    @property
    def rejected(self) -> dict[int, str]:
        """Versions that do not rank, with the reason; each is looked at again when its files change."""
        return {version: one.reason for version, one in self._unusable.items() if one.told}

    async def watch(self) -> None:
        """Refreshes for ever."""
        while self._base is not None:
            await self.refresh(now_ms())
            await asyncio.sleep(POLL_S)

    async def refresh(self, now_ms: int) -> None:
        """Looks once; swaps if there is something better. A model server that does not answer changes nothing."""
        assert self._base is not None
        found = await asyncio.to_thread(versions, self._base)
        await asyncio.to_thread(self._show_turns)
        self._forget_all_but(found)
        try:
            served = await self._model.available_versions(TIMEOUT_S)
        except DependencyError:
            served = [self._active.version] if self._active.version in found else []
        for version in reversed(found):
            release = await self._load(version, now_ms)
            if release is not None and version in served:
                self._swap_to(await self._over_newest(release), now_ms)
                break
        else:
            if self._active.version not in (None, *found):
                self._swap_to(await self._over_newest(self._cold), now_ms)
        await self._record_first_served()

    async def _over_newest(self, release: ActiveRelease) -> ActiveRelease:
        """A release over what is sold now, which may change again while this is worked out."""
        while release.retriever.catalogue is not self._view.catalogue:
            release = await asyncio.to_thread(self.over, self._view, release)
        if release.version is not None:
            self._loaded[release.version] = release
        return release

    def over(self, view: MarketView, release: ActiveRelease) -> ActiveRelease:
        """A release over another catalogue."""
        ann = release.retriever.ann
        return replace(release, retriever=retriever(view, None if ann is None else ann.index))

    def follow(self, view: MarketView, active: ActiveRelease) -> None:
        """Another catalogue is sold from now on, and the release that ranks is laid over it."""
        self._view, self._active = view, active
        if active.version is None:
            self._cold = active
        else:
            self._loaded[active.version] = active

    def _show_turns(self) -> None:
        assert self._base is not None
        for training, tried in read_turns(self._base):
            for outcome in ("refused", "failed"):
                metrics.TRAININGS_WITHOUT_RELEASE.labels(training, outcome).set(getattr(tried, outcome))

    def _forget_all_but(self, found: list[int]) -> None:
        self._unusable = {v: one for v, one in self._unusable.items() if v in found}
        # What is older than the active release ranks again only if that vanishes; it is read again then.
        keep = {v for v in found if self._active.version is None or v >= self._active.version}
        self._loaded = {v: release for v, release in self._loaded.items() if v in keep}

    async def _load(self, version: int, now_ms: int) -> ActiveRelease | None:
        """A release that can rank; None for one that cannot, or cannot yet.

        One that lacks files may still be being copied. It is rejected only when nothing of it has changed for a while, and even
        then it is looked at again when something does.
        """
        assert self._base is not None
        if version in self._loaded:
            return self._loaded[version]
        files = await asyncio.to_thread(fingerprint, self._base / str(version))  # before it is read, or a change might be missed
        before = self._unusable.get(version)
        if before is None or before.files != files:
            try:
                self._loaded[version] = await asyncio.to_thread(self._read, version)
            except ContractError as e:
                before = self._unusable[version] = _Unusable(files, str(e), now_ms, isinstance(e, IncompleteRelease))
            else:
                self._unusable.pop(version, None)
                return self._loaded[version]
        if not before.told and (not before.incomplete or now_ms - before.since_ms >= PATIENCE_MS):
            before.told = True
            metrics.RELEASES_REJECTED.inc()
            log.error("release %d is not served as it is: %s", version, before.reason)
        return None

    def _read(self, version: int) -> ActiveRelease:
        assert self._base is not None
        return read_release(self._base / str(version), self._view)

    def _swap_to(self, release: ActiveRelease, now_ms: int) -> None:
        if release is self._active:
            return
        log.info("release %s ranks now, after %s", release.version or "cold-start", self._active.version or "cold-start")
        self._active = release
        metrics.RELEASE_VERSION.set(release.version or 0)
        if release.version is not None:
            self._unrecorded[release.version] = now_ms

    async def _record_first_served(self) -> None:
        for version, at_ms in list(self._unrecorded.items()):
            try:
                await self._link.pipeline(lambda pipe, v=version, t=at_ms: pipe.hsetnx(self._keys.releases, v, t), TIMEOUT_S)  # type: ignore[misc]
            except DependencyError:
                return  # tried again at the next look
            del self._unrecorded[version]


def read_release(folder: Path, view: MarketView) -> ActiveRelease:
    """A release over a catalogue; raises ContractError."""
    release = load_release(folder).compatible_with(view.market)
    index = load_index(release.path / EXTRA)
    return ActiveRelease(release.version, release.calibrator, retriever(view, index), release.manifest.examination)


def retriever(view: MarketView, index: OfferIndex | None) -> Retriever:
    """That of a release's index over a catalogue, or of none before the first release."""
    return Retriever.of(view.catalogue, index, view.prior_value(), view.market.policy.max_candidates)
