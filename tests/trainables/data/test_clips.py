"""Clips on disk: round trip, and errors for bad files."""

from pathlib import Path

import numpy as np
import pytest

from trainables.data.clips import ClipError, read_clip, write_clip


def _moving_square(frames: int = 8, side: int = 32) -> np.ndarray:
    clip = np.full((frames, side, side, 3), (40, 90, 160), np.uint8)
    for f in range(frames):
        clip[f, 8:18, 2 + f : 12 + f] = (230, 30, 30)
    return clip


@pytest.mark.parametrize(("pixel_format", "error"), [("yuv444p", 3.0), ("yuv420p", 8.0)])
def test_what_is_written_comes_back(tmp_path: Path, pixel_format: str, error: float) -> None:
    clip = _moving_square()
    write_clip(tmp_path / "a.mp4", clip, pixel_format=pixel_format)
    assert np.abs(read_clip(tmp_path / "a.mp4", 8).astype(int) - clip).mean() < error


def test_scale_repeats_pixels(tmp_path: Path) -> None:
    clip = _moving_square(3)
    write_clip(tmp_path / "a.mp4", clip, scale=4)
    large = read_clip(tmp_path / "a.mp4", 3)
    assert large.shape == (3, 128, 128, 3)
    assert np.abs(large[:, 2::4, 2::4].astype(int) - clip).mean() < 5.0


@pytest.mark.parametrize(("height", "width"), [(32, 48), (48, 32)])
@pytest.mark.parametrize("scale", [1, 2])
def test_clips_of_any_shape_come_back_upright(tmp_path: Path, height: int, width: int, scale: int) -> None:
    clip = np.zeros((3, height, width, 3), np.uint8)
    clip[..., 0] = np.linspace(0, 250, height)[:, None]
    clip[..., 1] = np.linspace(0, 250, width)
    write_clip(tmp_path / "a.mp4", clip, pixel_format="yuv444p", scale=scale)
    large = clip.repeat(scale, axis=1).repeat(scale, axis=2)
    assert np.abs(read_clip(tmp_path / "a.mp4", 3).astype(int) - large).mean() < 4.0


def test_reading_starts_where_asked(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", _moving_square(20))
    assert np.array_equal(read_clip(tmp_path / "a.mp4", 4, start=13), read_clip(tmp_path / "a.mp4", 20)[13:17])


def test_a_clip_that_is_too_short_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", _moving_square(4))
    with pytest.raises(ClipError, match=r"a\.mp4: has 4 frames, needs at least 8"):
        read_clip(tmp_path / "a.mp4", 8)


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(range(256)) * 20])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ClipError, match=r"a\.mp4: cannot be decoded"):
        read_clip(tmp_path / "a.mp4", 1)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_truncated_clip_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "a.mp4"
    write_clip(path, _moving_square(24))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ClipError, match=r"a\.mp4"):
        read_clip(path, 24)


def test_a_missing_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="no such clip"):
        read_clip(tmp_path / "a.mp4", 1)
