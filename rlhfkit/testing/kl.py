"""What the core relies on in a KL controller."""

from abc import ABC, abstractmethod

from rlhfkit.protocols import KLController


class KLControllerContract(ABC):
    """What the core relies on in a `KLController`."""

    @abstractmethod
    def make(self) -> KLController:
        """A controller in its first state."""

    def test_coefficient_is_never_negative(self) -> None:
        controller = self.make()
        for kl in (0.0, 1.0, 100.0, -1.0):
            assert controller.coef >= 0
            controller.update(kl, 8)

    def test_state_is_taken_up(self) -> None:
        controller = self.make()
        for _ in range(3):
            controller.update(50.0, 64)
        resumed = self.make()
        resumed.load_state_dict(controller.state_dict())
        assert resumed.coef == controller.coef
        resumed.update(3.0, 64)
        controller.update(3.0, 64)
        assert resumed.coef == controller.coef
