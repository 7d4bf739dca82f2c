"""The recording of the screen as a picture."""

import re
import sys
from xml.etree import ElementTree as ET

import pytest

pytest.importorskip("termios", reason="no pseudo-terminals of this kind")
assert sys.platform != "win32"  # for the type checker

from record_screen import svg  # noqa: E402 - not where there is none

FRAMES = [
    (1.0, (((0, "$ qwen-fetch", ""),), ((0, "a <file> & more", "green"), (20, "5 %", "")))),
    (3.0, (((0, "$ qwen-fetch", ""),), ())),
]


def test_it_is_a_picture_whose_frames_follow_each_other() -> None:
    picture = svg(FRAMES, poster=1)
    texts = ["".join(node.itertext()) for node in ET.fromstring(picture).findall(".//{*}text")]
    assert texts == ["$ qwen-fetch", "a <file> & more", "5 %"]  # a line that is seen twice is there once
    assert picture.count('href="#l0"') == 2
    times = re.findall(r"@keyframes f\d\{(.*?)\}(?=@|<)", picture)
    assert [re.findall(r"([\d.]+)%", time) for time in times] == [["0", "0.00", "25.00"], ["0", "25.00"]]


def test_it_can_be_read_on_light_and_dark_and_without_motion() -> None:
    picture = svg(FRAMES, poster=1)
    assert "prefers-color-scheme:dark" in picture
    assert "prefers-reduced-motion" in picture
    assert picture.count('class="f poster"') == 1
