"""Where the models compute."""

import pytest

from generator.device import DeviceUnavailable, available_devices, pick_device


def test_a_device_that_is_not_there_is_answered_with_those_that_are() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") == available_devices()[0]
    with pytest.raises(DeviceUnavailable, match=r"Available: .*cpu"):
        pick_device("cuda:99")
    with pytest.raises(DeviceUnavailable, match=r"Unknown device 'gpu'. Choose one of: auto, .*cpu"):
        pick_device("gpu")
