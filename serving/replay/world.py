"""What a decision was made with that files and the catalogue's database still hold; each is loaded once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from catalogue.stock import Stock
from domain.errors import ContractError, OfferRankError, Unavailable
from features.kept_market import kept_path, name_of
from features.market import Market, load_market
from models.release import MARKET, versions
from serving.gateway.adapters.releases import read_release, retriever
from serving.gateway.market_view import MarketView
from serving.gateway.ports import ActiveRelease
from serving.replay.logged import Logged

if TYPE_CHECKING:
    from catalogue.repository import Repository

CATALOGUES, RELEASES = 4, 3
"""Held at one time."""


@dataclass(frozen=True)
class Sources:
    """Where they are."""

    log_dir: Path
    releases: Path
    """Folder of releases."""
    catalogue: str | None = None
    """Address of the catalogue's database; None where the market file lists what is sold."""
    market: Path | None = None
    """A market file to look at as well, beside those kept with the log and in the releases."""


class Predict(Protocol):
    """A release's own SavedModel."""

    def predict(self, signature_name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs a signature."""
        ...


class LoadedModel:
    """The model of one release, in this process; as a port of the gateway."""

    def __init__(self, model: Predict | None, away: Collection[str]) -> None:
        """`away` are signatures that did not answer then."""
        self._model, self._away = model, away

    async def predict(
        self, signature: str, version: int | None, inputs: Mapping[str, NDArray[Any]], timeout_s: float
    ) -> dict[str, NDArray[Any]]:
        """As it answered then; raises Unavailable where it did not."""
        if signature in self._away or self._model is None:
            raise Unavailable("ranker", f"did not answer for release {version} within {timeout_s} s")
        from serving.model_server.status import StatusError

        try:
            return self._model.predict(signature, inputs)
        except StatusError as e:
            raise ContractError(f"release {version}: {e}") from None


class World:
    """Loads what decisions need, and keeps what it loaded last.

    Raises, in every method:
      OfferRankError: something is not there any more, or not as it was; says what.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._repositories: dict[str, Repository] = {}
        self._market = lru_cache(CATALOGUES)(self._find_market)
        self._view = lru_cache(CATALOGUES)(self._load_view)
        self._release = lru_cache(RELEASES)(self._load_release)
        self._model = lru_cache(RELEASES)(self._load_model)

    def view(self, logged: Logged) -> MarketView:
        """The market and catalogue that it was sold from."""
        return self._view(logged.moment.market, logged.said["catalogue"])

    def release(self, logged: Logged) -> ActiveRelease:
        """That was loaded, over that catalogue."""
        return self._release(logged.moment.market, logged.said["catalogue"], logged.moment.release)

    def model(self, logged: Logged) -> LoadedModel:
        """That of the release, which answers what it answered then."""
        degraded, version = logged.said["degraded"], logged.moment.release
        away = [s for s, what in (("query", "retrieval"), ("serving_default", "ranker")) if what in degraded]
        return LoadedModel(None if version is None else self._model(version), away)

    def _find_market(self, name: str) -> Path:
        """By what stands for it."""
        kept, given = kept_path(self._sources.log_dir, name), self._sources.market
        if not name:  # a gateway that had no file
            if given is None:
                raise ContractError("it was made without a market file: expected --market")
            return given
        if kept.is_file():
            return kept
        folder = self._sources.releases
        of_releases = [folder / str(v) / MARKET for v in reversed(versions(folder))] if folder.is_dir() else []
        for path in [*([given] if given else []), *of_releases]:
            if path.is_file() and name_of(path) == name:
                return path
        raise ContractError(f"market file {name} is neither {kept}, nor --market, nor that of a release")

    def _load_view(self, name: str, version: int) -> MarketView:
        path = self._market(name)
        if version == 0:
            return MarketView.of(load_market(path), file=name)
        market = load_market(path, listed=False)
        repository = self._repository(market)
        head = repository.head()
        if head is None or head.version < version:
            raise ContractError(f"catalogue {version}: the database holds {head.version if head else 0} versions")
        stock = Stock.of(market, repository.rows(version), version)
        return MarketView.of(stock.market, version, name)

    def _repository(self, market: Market) -> "Repository":
        from catalogue.address import parse_url
        from catalogue.database import Database  # SQLAlchemy takes its time, which markets without a database need not
        from catalogue.repository import Repository

        if self._sources.catalogue is None:
            raise ContractError("it was sold from a catalogue: expected its database, --catalogue")
        if market.name not in self._repositories:
            try:
                database = Database(parse_url(self._sources.catalogue))
            except ValueError as e:
                raise ContractError(f"--catalogue: {e}") from None
            self._repositories[market.name] = Repository(database, market)
        return self._repositories[market.name]

    def _load_release(self, name: str, catalogue: int, version: int | None) -> ActiveRelease:
        view = self._view(name, catalogue)
        if version is None:
            return ActiveRelease(None, None, retriever(view, None))
        return read_release(self._sources.releases / str(version), view)

    def _load_model(self, version: int) -> Predict:
        from serving.model_server.saved_model import SavedModel  # TensorFlow: seconds
        from serving.model_server.status import StatusError

        try:
            return SavedModel(self._sources.releases / str(version), threads=1)
        except StatusError as e:
            raise OfferRankError(f"release {version}: {e}") from None
