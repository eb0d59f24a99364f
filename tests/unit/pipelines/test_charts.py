import pytest

from pipelines.charts import Axis, Line, axis_over, line_chart


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (1, 9, (2, 4, 6, 8)),
        (0, 0.03, (0, 0.01, 0.02, 0.03)),
        (-3, 40, (0, 10, 20, 30, 40)),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert Axis(low, high, 0, 100).ticks == pytest.approx(ticks)


def test_values_become_pixels_and_stay_on_the_axis() -> None:
    upwards = Axis(0, 10, 200, 100)
    assert [upwards(v) for v in (0, 5, 10, 11, -1)] == [200, 150, 100, 100, 200]


def test_an_axis_leaves_a_margin_even_around_one_value() -> None:
    assert (axis_over([1, 3], 0, 1).low, axis_over([1, 3], 0, 1).high) == pytest.approx((0.9, 3.1))
    assert (axis_over([2, 2], 0, 1).low, axis_over([2, 2], 0, 1).high) == pytest.approx((1.8, 2.2))
    assert axis_over([0], 0, 1).high > 0


def test_a_chart_of_one_epoch_can_be_drawn() -> None:
    chart = line_chart((Line("loss", ((1, 0.5),)),))
    assert chart.x.start <= chart.x(1) <= chart.x.end
