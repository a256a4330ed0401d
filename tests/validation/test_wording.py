import math

import pytest

from gen2reco.validation.wording import number, p_value, plus_minus, ratio


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.2345, 0.067, "1.234 ± 0.067"),
        (1.2, 0.35, "1.20 ± 0.35"),
        (1234.5, 67.0, "1234 ± 67"),
        (-0.5, 0.2, "\N{MINUS SIGN}0.50 ± 0.20"),
        (0.5, math.nan, "0.5"),
        (math.nan, 1.0, "\N{EN DASH}"),
    ],
)
def test_value_and_error_have_the_same_digits(value, error, text):
    assert plus_minus(value, error) == text


def test_small_and_absent_numbers():
    assert p_value(1e-12) == "< 0.0001"
    assert p_value(0.9999) == "1"
    assert p_value(math.nan) == number(math.nan) == ratio(math.nan) == "\N{EN DASH}"
    assert number(-1.5e-7) == "\N{MINUS SIGN}1.5e\N{MINUS SIGN}7"
    assert ratio(0.95) == "0.95"
