"""One reader of masks: every depth, palette and colour that labelling tools write, and clear errors for the rest."""

import numpy as np
import pytest
import torch
from PIL import Image

from birefnet_lite.inference.images import read_mask

OBJECT = np.zeros((12, 16), bool)
OBJECT[3:9, 4:11] = True
RAMP = np.linspace(0, 1, OBJECT.size).reshape(OBJECT.shape)


def choose(full, empty):
    """An array with `full` inside the object and `empty` outside."""
    full, empty = np.asarray(full), np.asarray(empty)
    return np.where(OBJECT.reshape(OBJECT.shape + (1,) * full.ndim), full, empty)


def palette(indices, *colours):
    image = Image.fromarray(indices.astype(np.uint8)).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([value for colour in colours for value in colour])
    return image


TWO_VALUES = {
    "bool": Image.fromarray(OBJECT),
    "uint8 0 and 255": Image.fromarray(choose(255, 0).astype(np.uint8)),
    "uint8 0 and 1": Image.fromarray(choose(1, 0).astype(np.uint8)),
    "uint8 1 and 2": Image.fromarray(choose(2, 1).astype(np.uint8)),
    "uint8 254 and 255": Image.fromarray(choose(255, 254).astype(np.uint8)),
    "16-bit 0 and 1": Image.fromarray(choose(1, 0).astype(np.uint16)),
    "16-bit 0 and 255": Image.fromarray(choose(255, 0).astype(np.uint16)),
    "16-bit 0 and 65535": Image.fromarray(choose(65535, 0).astype(np.uint16)),
    "int32 0 and 1": Image.fromarray(choose(1, 0).astype(np.int32)),
    "int32 0 and 70000": Image.fromarray(choose(70000, 0).astype(np.int32)),
    "float 0 and 1": Image.fromarray(choose(1, 0).astype(np.float32)),
    "float 0 and 255": Image.fromarray(choose(255, 0).astype(np.float32)),
    "red on black": Image.fromarray(choose((255, 0, 0), (0, 0, 0)).astype(np.uint8)),
    "dark red on black": Image.fromarray(choose((128, 0, 0), (0, 0, 0)).astype(np.uint8)),
    "yellow on purple": Image.fromarray(choose((255, 255, 0), (80, 0, 80)).astype(np.uint8)),
    "white on black in RGB": Image.fromarray(choose((255, 255, 255), (0, 0, 0)).astype(np.uint8)),
    "opaque RGBA": Image.fromarray(choose((255, 255, 255, 255), (0, 0, 0, 255)).astype(np.uint8)),
    "alpha over black": Image.fromarray(choose((0, 0, 0, 255), (0, 0, 0, 0)).astype(np.uint8)),
    "alpha over white": Image.fromarray(choose((255, 255, 255, 255), (255, 255, 255, 0)).astype(np.uint8)),
    "grey with alpha": Image.merge(
        "LA", [Image.new("L", (16, 12), 70), Image.fromarray(choose(255, 0).astype(np.uint8))]
    ),
    "indices 0 and 1": palette(choose(1, 0), (0, 0, 0), (128, 0, 0)),
    "indices 0 and 1, index 0 is white": palette(choose(1, 0), (255, 255, 255), (0, 0, 0)),
    "indices 2 and 1": palette(choose(2, 1), (9, 9, 9), (0, 0, 99), (0, 200, 0)),
}


FILES = [
    (case, suffix)
    for case, image in TWO_VALUES.items()
    for suffix in ("memory", "tiff", "png")
    if suffix != "png" or image.mode not in ("I", "F")  # PNG holds at most 16 bits
]


@pytest.mark.parametrize(("case", "suffix"), FILES)
def test_two_values_are_empty_and_full(tmp_path, case, suffix):
    image = TWO_VALUES[case]
    if suffix == "memory":
        found = read_mask(image)
    else:
        image.save(tmp_path / f"mask.{suffix}")
        found = read_mask(tmp_path / f"mask.{suffix}")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, OBJECT)


@pytest.mark.parametrize(
    "array",
    [
        np.round(RAMP * 255).astype(np.uint8),
        np.round(RAMP * 255).astype(np.uint16),
        np.round(RAMP * 255).astype(np.int32),
        np.round(RAMP * 255).astype(np.int64),
        np.round(RAMP * 65535).astype(np.uint16),
        np.round(RAMP * (2**31 - 1)).astype(np.int32),
        RAMP.astype(np.float16),
        RAMP.astype(np.float32),
        RAMP,
    ],
)
def test_more_values_are_soft(array):
    for form in (array, torch.from_numpy(array.copy()), torch.from_numpy(array.copy())[None]):
        np.testing.assert_allclose(read_mask(form), RAMP, atol=0.002)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "I;16", "I", "F"])
def test_soft_masks_of_every_mode(tmp_path, mode):
    levels = np.round(RAMP * 255).astype(np.uint8)
    image = Image.fromarray(levels)
    if mode == "I;16":
        image = Image.fromarray(levels.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray((levels / 255).astype(np.float32))
    else:
        image = image.convert(mode)
    image.save(tmp_path / "mask.tiff" if mode != "P" else tmp_path / "mask.png")
    np.testing.assert_allclose(read_mask(next(tmp_path.iterdir())), levels / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (1, 1), (7, 1), (255, 1), (0.0, 0), (0.3, 1), (1.0, 1), (False, 0), (True, 1)]
)
def test_one_value_is_empty_or_full(value, expected):
    assert (read_mask(np.full((3, 4), value)) == expected).all()


@pytest.mark.parametrize(
    ("colour", "expected"), [((0, 0, 0), 0), ((255, 255, 255), 1), ((9, 0, 0), 1), ((0, 0, 0, 0), 0)]
)
def test_one_colour_is_empty_or_full(colour, expected):
    mode = "RGBA" if len(colour) == 4 else "RGB"
    assert (read_mask(Image.new(mode, (4, 3), colour)) == expected).all()


def test_floats_of_segment_are_kept_as_they_are():
    for values in (np.full((3, 4), 0.25, np.float32), np.float32([[0, 0.25]])):
        np.testing.assert_array_equal(read_mask(values, soft=True), values)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.fromarray(np.uint8([[0, 1, 2]])), "3 values from 0 to 2"),
        (Image.fromarray(np.uint8([[0, 30, 63]])), "3 values from 0 to 63"),
        (Image.fromarray(np.uint16([[0, 1, 300]])), "3 values from 0 to 300"),
        (np.array([[-1, 0, 255]]), "3 values from -1 to 255"),
        (np.array([[0, 100, 200]]), "3 values from 0 to 200"),
        (np.array([[0, 0.5, 1.5]]), "3 values from 0 to 1.5"),
        (np.array([[0, np.nan, 1]]), "NaN"),
        (Image.fromarray(np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 0]]])), "3 colours, such as #000000"),
        (Image.fromarray(np.uint8([[[60, 0, 28], [0, 36, 0]]])), "#3c001c and #002400, are equally bright"),
        (Image.fromarray(np.uint8([[[0, 0, 0, 0], [255, 255, 255, 255]]])), "alpha channel and its colours both vary"),
        (palette(np.array([[0, 1, 2]]), (0, 0, 0), (128, 0, 0), (0, 128, 0)), "3 colours"),
    ],
)
def test_values_that_are_no_mask_are_named(tmp_path, image, words):
    with pytest.raises(ValueError, match=words):
        read_mask(image)
    if isinstance(image, Image.Image):
        image.save(tmp_path / "mask.png")
        with pytest.raises(ValueError, match=rf"mask\.png: .*{words}"):
            read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_turned_as_photos_are(tmp_path, orientation):
    from birefnet_lite.inference.images import read_photo, read_size

    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("png", "tiff", "jpg", "webp"):
        path = tmp_path / f"mask.{suffix}"
        Image.fromarray(OBJECT.astype(np.uint8) * 255).convert("RGB").save(path, exif=exif)
        photo = read_photo(path).pixels[..., 0] > 127
        assert read_size(path) == photo.shape == ((12, 16) if orientation < 5 else (16, 12))
        np.testing.assert_array_equal(read_mask(path) > 0.5, photo)


def test_sixteen_bits_of_colour_that_would_be_lost_are_an_error(tmp_path):
    """Pillow keeps the upper 8 bits of 16-bit colours: 0 and 1 of 65535 would both be 0."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def write(values):
        rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).astype(">u2").tobytes() for row in values)
        header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
        (tmp_path / "deep.png").write_bytes(
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        )
        return tmp_path / "deep.png"

    np.testing.assert_array_equal(read_mask(write(OBJECT * 65535)), OBJECT)
    np.testing.assert_array_equal(read_mask(write(OBJECT * 1000)), OBJECT)
    with pytest.raises(ValueError, match="16 bits for each colour"):
        read_mask(write(OBJECT * 1))


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (np.zeros((4, 4, 1)), ValueError, "H x W"),
        (np.zeros((4, 4, 2)), ValueError, "H x W"),
        (np.zeros(4), ValueError, "H x W"),
        (np.zeros((0, 4)), ValueError, "no pixels"),
        (np.zeros((4, 4), complex), TypeError, "complex"),
        ([[0, 1]], TypeError, "list"),
    ],
)
def test_what_is_no_mask(mask, error, words):
    with pytest.raises(error, match=words):
        read_mask(mask)
