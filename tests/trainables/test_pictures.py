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


@pytest.mark.parametrize(("height", "width"), [(4, 6), (6, 4)])
def test_frames_of_any_shape_are_enlarged_alike_in_both_directions(height: int, width: int) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 3, height, width, 3)).astype(np.uint8)
    picture = np.asarray(frame_strip(clips, frame_px=12))
    factor = 12 // height
    high, wide = height * factor, width * factor
    assert picture.shape == (GAP + 2 * (high + GAP), GAP + 3 * (wide + GAP), 3)
    for row in range(2):
        for column in range(3):
            top, left = GAP + row * (high + GAP), GAP + column * (wide + GAP)
            expected = clips[row, column].repeat(factor, axis=0).repeat(factor, axis=1)
            assert np.array_equal(picture[top : top + high, left : left + wide], expected)


def test_labels_take_a_column_and_leave_marks() -> None:
    clips = np.full((1, 2, 32, 32, 3), 128, np.uint8)
    plain, labelled = frame_strip(clips), frame_strip(clips, ["control"], title="seed 0")
    assert labelled.size[0] > plain.size[0]
    assert labelled.size[1] > plain.size[1]
    assert np.asarray(labelled)[:, :LABEL_WIDTH].min() < 100


def test_only_pixels() -> None:
    with pytest.raises(AssertionError):
        frame_strip(np.zeros((1, 1, 8, 8, 3)))  # type: ignore[arg-type]
