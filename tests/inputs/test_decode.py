import pickle

import numpy as np
import pytest
from PIL import Image

from irnet_ray.inputs import decode
from irnet_ray.inputs.decode import ImageError, decode_rgb, read_size

GRADIENT = np.arange(6 * 10, dtype=np.uint8).reshape(6, 10) * 4


def save(path, image, **options):
    image.save(path, **options)
    return str(path)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    source = Image.new(mode, (10, 6)) if mode == "PA" else Image.fromarray(GRADIENT).convert(mode)
    read = []
    for extension in ("png", "jpg", "tif", "webp", "gif", "bmp"):
        path = tmp_path / f"x.{extension}"
        try:
            source.save(path)
        except (OSError, ValueError):  # this format has no such mode
            continue
        image = decode_rgb(str(path))
        assert image.shape == (6, 10, 3)
        assert image.dtype == np.uint8
        assert read_size(path) == (10, 6)
        read.append(extension)
    assert read


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    path = save(tmp_path / "x.png", Image.fromarray(GRADIENT.astype(np.uint16) * 256 + 17))
    assert np.array_equal(decode_rgb(path), np.repeat(GRADIENT[..., None], 3, axis=2))


def test_transparency_is_dropped(tmp_path):
    rgba = np.dstack([GRADIENT, GRADIENT // 2, GRADIENT // 3, np.zeros_like(GRADIENT)])
    assert np.array_equal(decode_rgb(save(tmp_path / "x.png", Image.fromarray(rgba))), rgba[..., :3])


@pytest.mark.parametrize("extension", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_in_header_and_pixels_alike(tmp_path, extension, orientation):
    flip = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: x.swapaxes(0, 1)[:, ::-1],
        7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
        8: lambda x: x.swapaxes(0, 1)[::-1],
    }[orientation]
    options = {"lossless": True} if extension == "webp" else {}
    rgb = np.repeat(GRADIENT[..., None], 3, axis=2)
    path = save(tmp_path / f"x.{extension}", Image.fromarray(rgb), exif=exif(orientation), **options)
    image = decode_rgb(path)
    assert np.array_equal(image, flip(rgb))
    assert read_size(tmp_path / f"x.{extension}") == (image.shape[1], image.shape[0])


def test_nonsense_orientation_is_ignored(tmp_path):
    path = save(tmp_path / "x.jpg", Image.fromarray(GRADIENT), exif=exif(77))
    assert decode_rgb(path).shape == (6, 10, 3)
    assert read_size(path) == (10, 6)


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_truncated_files_raise_though_their_header_reads(tmp_path, extension):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"x.{extension}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_size(path) == (64, 64)
    with pytest.raises(ImageError) as caught:
        decode_rgb(str(path))
    assert caught.value.kind == "unreadable"
    assert str(path) in str(caught.value)


def test_what_is_no_image(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"not an image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name, kind in [("x.jpg", "unreadable"), ("empty.jpg", "unreadable"), ("gone.jpg", "missing")]:
        assert read_size(tmp_path / name) is None
        with pytest.raises(ImageError) as caught:
            decode_rgb(str(tmp_path / name))
        assert caught.value.kind == kind


def test_too_large(tmp_path, monkeypatch):
    path = save(tmp_path / "x.png", Image.fromarray(GRADIENT))
    monkeypatch.setattr(decode, "MAX_PIXELS", 59)
    assert read_size(path) is None
    with pytest.raises(ImageError) as caught:
        decode_rgb(path)
    assert caught.value.kind == "too-large"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow refuses at twice this
    with pytest.raises(ImageError, match="pixels"):
        decode_rgb(path)


def test_error_survives_pickling():
    error = pickle.loads(pickle.dumps(ImageError("missing", "a.jpg does not exist.")))
    assert (error.kind, str(error)) == ("missing", "a.jpg does not exist.")
