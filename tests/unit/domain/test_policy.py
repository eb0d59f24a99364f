import pytest
from pydantic import ValidationError

from domain.policy import Policy


@pytest.mark.parametrize("shape", [(), (0.0, 0.0), (1.0, -0.1), (float("nan"),), (float("inf"),), (1e308, 1e308)])
def test_a_traffic_shape_is_weights_of_which_some_count(shape: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="traffic_shape: expected weights of at least 0, not all 0"):
        Policy(id="p", priors={"ctr": 0.1}, traffic_shape=shape)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, float("nan")])
def test_priors_are_probabilities_strictly_between_never_and_always(prior: float) -> None:
    with pytest.raises(ValidationError, match=r"priors\.ctr: expected a number above 0 and below 1"):
        Policy(id="p", priors={"ctr": prior})
