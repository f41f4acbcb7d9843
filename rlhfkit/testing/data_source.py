"""What the core relies on in a data source."""

from abc import ABC, abstractmethod

from rlhfkit.protocols import DataSource
from rlhfkit.types import SPLITS


class DataSourceContract(ABC):
    """What the core relies on in a `DataSource`."""

    @abstractmethod
    def make(self) -> DataSource:
        """A source with at least one split."""

    def test_offers_known_splits_with_rows(self) -> None:
        source = self.make()
        assert source.splits()
        for split in source.splits():
            assert split in SPLITS
            assert len(source.load(split)) > 0

    def test_fingerprint_is_stable(self) -> None:
        source, again = self.make(), self.make()
        for split in source.splits():
            assert source.fingerprint(split) == again.fingerprint(split)
