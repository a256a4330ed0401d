import numpy as np
import pytest

from gen2reco.validation.multiple import holm, tail_share


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5, 0.9]) == pytest.approx((1.0, 1.0))
    assert holm([0.02]) == pytest.approx((0.02,))
    assert holm([]) == ()


def test_what_does_not_exist_is_no_member_of_the_family():
    first, second, third = holm([0.01, float("nan"), 0.02])
    assert (first, third) == pytest.approx((0.02, 0.02))
    assert np.isnan(second)


def test_holm_keeps_the_family_wise_rate():
    rng = np.random.default_rng(1)
    wrong = np.mean([min(holm(rng.random(20))) < 0.05 for _ in range(2000)])
    assert wrong == pytest.approx(0.05, abs=0.02)


def test_share_of_the_tail():
    null = np.arange(99.0)
    assert tail_share(1000.0, null) == pytest.approx(0.01)
    assert tail_share(-1.0, null) == 1.0
