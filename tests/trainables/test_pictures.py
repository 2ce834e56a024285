import numpy as np
import pytest

from trainables.pictures import GAP, LABEL_WIDTH, frame_strip


def test_every_frame_stands_in_its_row_and_column() -> None:
    clips = np.zeros((2, 3, 8, 8, 3), np.uint8)
    clips[..., 0] = 10 * np.arange(6).reshape(2, 3)[:, :, None, None]
    picture = frame_strip(clips, frame_px=16)
    assert picture.size == (GAP + 3 * (16 + GAP), GAP + 2 * (16 + GAP))
    for row in range(2):
        for column in range(3):
            pixel = picture.getpixel((GAP + column * (16 + GAP) + 8, GAP + row * (16 + GAP) + 8))
            assert pixel == (10 * (3 * row + column), 0, 0)


def test_labels_take_a_column_and_leave_marks() -> None:
    clips = np.full((1, 2, 32, 32, 3), 128, np.uint8)
    plain, labelled = frame_strip(clips), frame_strip(clips, ["control"], title="seed 0")
    assert labelled.size[0] > plain.size[0]
    assert labelled.size[1] > plain.size[1]
    assert np.asarray(labelled)[:, :LABEL_WIDTH].min() < 100


def test_only_pixels() -> None:
    with pytest.raises(AssertionError):
        frame_strip(np.zeros((1, 1, 8, 8, 3)))  # type: ignore[arg-type]
