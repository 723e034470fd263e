"""Photo to mask to cut-out: every kind of photo, sizes, devices' traces, colours at the edge."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch import nn

from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.inference import images
from birefnet_lite.inference.cutout import estimate_foreground
from birefnet_lite.inference.predict import cut_out, network_size, read_photo, segment
from birefnet_lite.network.birefnet import BiRefNet

torch.set_num_threads(1)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Brightness(nn.Module):
    """A stand-in for a network whose mask is known: the logit is ten times the normalised green."""

    def __init__(self, **config):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.config = BiRefNetConfig(train_size=(64, 96), **config)

    def forward(self, image):
        self.seen, self.was_training = image, self.training
        return (None, self.scale * image[:, 1:2])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    config = BiRefNetConfig(
        backbone="convnet_n", inter_channels=8, aspp_channels=8, image_channels=8, train_size=(64, 96)
    )
    return BiRefNet(config).eval()


def photo(height=50, width=70, seed=0):
    """A smooth colour picture, uint8 (H, W, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


# --- segment ---------------------------------------------------------------------------------------------------------


def test_segment_is_the_steps_done_by_hand(network):
    pixels = photo(200, 150)
    seen = F.interpolate(torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None], (64, 96),
                         mode="bilinear", antialias=True)  # fmt: skip
    seen = (seen / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    with torch.no_grad():
        mask = network(seen.float()).logits.sigmoid()
    expected = F.interpolate(mask, (200, 150), mode="bilinear")[0, 0].numpy()
    result = segment(network, pixels)
    assert result.dtype == np.float32
    assert result.shape == (200, 150)
    assert expected.std() > 1e-3
    # The photo is rounded to 8 bits after it is resized.
    np.testing.assert_allclose(result, expected, atol=0.01)


def test_segment_without_resizing_is_exact(network):
    pixels = photo(64, 96)
    normalised = torch.from_numpy(((pixels / 255 - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = torch.sigmoid(network(normalised).logits)[0, 0].numpy()
    np.testing.assert_allclose(segment(network, pixels), expected, atol=1e-5)


def test_all_forms_of_a_photo_give_one_mask(tmp_path):
    pixels = photo(64, 96)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    opaque = np.dstack([pixels, np.full((64, 96), 255, np.uint8)])
    forms = [
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        Image.fromarray(pixels),
        pixels[:, ::-1][:, ::-1],
        opaque,
        (pixels / 255).astype(np.float64),
        (opaque / 255).astype(np.float32),
        pixels.astype(np.uint16) * 257,
        torch.from_numpy(pixels.copy()).permute(2, 0, 1),
        torch.from_numpy(pixels / 255).permute(2, 0, 1).requires_grad_(),
        read_photo(pixels),
    ]
    masks = [segment(Brightness(), form) for form in forms]
    for mask in masks:
        np.testing.assert_allclose(mask, masks[0], atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 90), width=st.integers(1, 90), channels=st.sampled_from([0, 1, 3, 4]), as_float=st.booleans()
)
def test_mask_has_the_photos_shape(height, width, channels, as_float):
    shape = (height, width, channels) if channels else (height, width)
    pixels = np.random.default_rng(height).integers(0, 256, shape, dtype=np.uint8)
    mask = segment(Brightness(), pixels / 255 if as_float else pixels, 32)
    assert mask.shape == (height, width)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 300), (300, 1), (1, 1), (3, 12_000)])
def test_extreme_shapes(network, height, width):
    assert segment(network, photo(height, width), 32).shape == (height, width)


@pytest.mark.parametrize(
    ("size", "seen"),
    [(None, (64, 96)), (64, (64, 64)), ((32, 160), (32, 160)), ([100, 81], (96, 96)), (np.int64(33), (32, 32))],
)
def test_size_the_network_sees(size, seen):
    model = Brightness()
    segment(model, photo(), size)
    assert tuple(model.seen.shape) == (1, 3, *seen)
    assert network_size(model, size) == seen


@pytest.mark.parametrize(
    ("size", "error", "words"),
    [
        (31, ValueError, "32 pixels or more"),
        (-64, ValueError, "32 pixels or more"),
        ((64, 0), ValueError, "32 pixels or more"),
        (10**9, ValueError, "at most"),
        (64.0, TypeError, "whole number"),
        (True, TypeError, "whole number"),
        ((64, 64, 3), TypeError, "height, width"),
        ("64", TypeError, "whole number"),
    ],
)
def test_sizes_that_are_none(size, error, words):
    with pytest.raises(error, match=words):
        segment(Brightness(), photo(), size)


def test_size_must_be_given_where_the_model_has_none():
    with pytest.raises(ValueError, match="give size"):
        segment(nn.Conv2d(3, 1, 1), photo())
    assert segment(nn.Conv2d(3, 1, 1), photo(), 32).shape == (50, 70)  # a plain tensor is a mask, too


def test_a_backbones_own_least_size_is_known():
    with torch.device("meta"):
        model = BiRefNet(BiRefNetConfig(backbone="vgg16"))
    with pytest.raises(ValueError, match="64 pixels or more"):
        network_size(model, 32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_runs_in_the_models_precision(network, dtype):
    import copy

    expected = segment(network, photo())
    np.testing.assert_allclose(segment(copy.deepcopy(network).to(dtype), photo()), expected, atol=0.03)


def test_modes_are_restored_also_after_an_error(network):
    network.train()
    network.encoder.backbone.eval()
    before = {name: module.training for name, module in network.named_modules()}
    segment(network, photo())
    assert {name: module.training for name, module in network.named_modules()} == before
    network.head_hook = network.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        segment(network, photo())
    network.head_hook.remove()
    assert {name: module.training for name, module in network.named_modules()} == before
    network.eval()


def test_runs_in_evaluation_mode_and_can_be_trained_afterwards(network):
    model = Brightness().train()
    segment(model, photo())
    assert not model.was_training
    assert model.training
    statistics = {name: buffer.clone() for name, buffer in network.named_buffers()}
    segment(network.train(), photo())
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in network.named_buffers())
    output = network(torch.randn(2, 3, 64, 64))
    output.logits.mean().backward()  # fails where something of inference mode was kept
    assert network.decoder.head.weight.grad is not None
    network.zero_grad()
    network.eval()


def test_models_that_give_no_mask():
    model = Brightness()
    model.scale.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="not numbers"):
        segment(model, photo())
    with pytest.raises(ValueError, match="a mask is"):
        segment(nn.Conv2d(3, 4, 1), photo(), 32)
    with pytest.raises(ValueError, match="meta device"):
        segment(nn.Conv2d(3, 1, 1, device="meta"), photo(), 32)
    with pytest.raises(TypeError, match="Module"):
        segment(lambda image: image, photo())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_same_mask_on_an_accelerator(network):
    import copy

    expected = segment(network, photo())
    np.testing.assert_allclose(segment(copy.deepcopy(network).cuda(), photo()), expected, atol=2e-3)


# --- photos ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_exif_rotation(tmp_path, orientation, suffix):
    image = Image.fromarray(photo(20, 33))
    exif = image.getexif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    image.save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert expected.shape[:2] == ((20, 33) if orientation < 5 else (33, 20))
    np.testing.assert_array_equal(read_photo(path).pixels, expected)
    np.testing.assert_array_equal(read_photo(Image.open(path)).pixels, expected)
    assert segment(Brightness(), path).shape == expected.shape[:2]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_colour_modes_without_alpha(mode):
    image = Image.fromarray(photo()).convert("RGB").convert(mode if mode != "RGBX" else "RGB")
    result = read_photo(image)
    np.testing.assert_array_equal(result.pixels, np.asarray(image.convert("RGB")))
    assert result.alpha is None


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "RGBa"])
def test_transparency_is_laid_over_white(mode):
    alpha = np.linspace(0, 255, 50 * 70).reshape(50, 70).astype(np.uint8)
    grey = np.asarray(Image.fromarray(photo()).convert("L"))
    image = Image.merge("RGBA", [Image.fromarray(channel) for channel in (grey, grey, grey, alpha)])
    if mode in ("LA", "La"):
        image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    if mode == "La":
        image = image.convert("La")
    elif mode == "PA":
        image = Image.fromarray(grey).convert("P")
        image.putalpha(Image.fromarray(alpha))
    elif mode == "RGBa":
        image = image.convert("RGBa")
    assert image.mode == mode
    result = read_photo(image)
    a = alpha[..., None] / 255
    expected = np.repeat(grey[..., None] * a + 255 * (1 - a), 3, axis=2)
    np.testing.assert_allclose(result.pixels, expected, atol=2)
    np.testing.assert_allclose(result.alpha, a[..., 0], atol=1e-6)


def test_transparent_colour_of_a_palette(tmp_path):
    image = Image.new("P", (10, 8), 0)
    image.putpalette([200, 30, 30, 10, 200, 10])
    image.paste(1, (5, 0, 10, 8))
    image.save(tmp_path / "palette.png", transparency=1)
    result = read_photo(tmp_path / "palette.png")
    assert (result.pixels[:, :5] == (200, 30, 30)).all()
    assert (result.pixels[:, 5:] == 255).all()
    assert (result.alpha[:, 5:] == 0).all()


def test_sixteen_bits_are_scaled_and_kept(tmp_path):
    grey = np.arange(0, 65536, 257 * 3, dtype=np.uint16).reshape(2, 43)[:, :40] + 100
    for name in ("deep.png", "deep.tiff"):
        Image.fromarray(grey).save(tmp_path / name)
        pixels = read_photo(tmp_path / name).pixels
        np.testing.assert_allclose(pixels, np.repeat(grey[..., None] / 65535, 3, axis=2), atol=1e-6)
    wide = Image.fromarray(grey.astype(np.int32))
    assert wide.mode == "I"
    np.testing.assert_allclose(read_photo(wide).pixels, pixels)
    assert segment(Brightness(), tmp_path / "deep.png").shape == (2, 40)
    with pytest.raises(ValueError, match="32-bit"):
        read_photo(Image.fromarray(grey.astype(np.int32) - 200))


def test_float_files_hold_values_up_to_one():
    ramp = np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 6)
    np.testing.assert_allclose(read_photo(Image.fromarray(ramp)).pixels[..., 0], ramp)
    with pytest.raises(ValueError, match="divide by 255"):
        read_photo(Image.fromarray(ramp * 255))


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.full((4, 4, 3), np.nan), ValueError, "NaN"),
        (np.full((4, 4), np.inf), ValueError, "infinity"),
        (np.full((4, 4, 3), 128.0), ValueError, "divide by 255"),
        (np.full((4, 4, 3), -0.5), ValueError, "normalisation"),
        (np.zeros((4, 4, 3), np.int64), TypeError, "int64"),
        (np.zeros((4, 4), bool), TypeError, "bool"),
        (np.zeros((4, 4), complex), TypeError, "complex"),
        (np.zeros((3, 20, 20), np.uint8), ValueError, "Channels come last"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, "H x W x 3"),
        (np.zeros(12, np.uint8), ValueError, "H x W x 3"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, "no pixels"),
        (torch.zeros(20, 20, 3), ValueError, "3 x H x W"),
        (torch.zeros(1, 3, 20, 20), ValueError, r"images\[0\]"),
        (torch.full((3, 4, 4), 2.0), ValueError, "normalisation"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), TypeError, "int64"),
        (None, TypeError, "NoneType"),
        (b"bytes", TypeError, "bytes"),
        ([[0.0]], TypeError, "list"),
    ],
)
def test_what_is_no_photo(array, error, words):
    with pytest.raises(error, match=words):
        read_photo(array)


def test_rounding_in_floats_is_no_mistake():
    pixels = np.array([[1.0000001, -1e-7]])
    assert read_photo(pixels).pixels.max() == 1
    assert read_photo(pixels).pixels.min() == 0


def damaged_files(folder: Path) -> dict[str, Path]:
    good = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(good, "PNG")
    jpeg = io.BytesIO()
    Image.fromarray(photo(300, 300)).save(jpeg, "JPEG")
    spoilt = bytearray(good.getvalue())
    spoilt[2000:2050] = bytes(50)
    header = zlib.crc32(b"IHDR" + (size := struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)))
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + size + struct.pack(">I", header)
    contents = {
        "empty.jpg": b"",
        "text.jpg": b"these are words",
        "cut.png": good.getvalue()[: len(good.getvalue()) // 2],
        "cut.jpg": jpeg.getvalue()[: len(jpeg.getvalue()) // 2],
        "spoilt.png": bytes(spoilt),
        "bomb.png": bomb + b"\0\0\0\0IDAT\x35\xaf\x06\x1e",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.jpg", "is empty"),
        ("text.jpg", "not an image"),
        ("cut.png", "cut off"),
        ("cut.jpg", "cut off"),
        ("spoilt.png", "damaged"),
        ("bomb.png", "60000 x 60000 pixels, more than the 500 million"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, words):
    path = damaged_files(tmp_path)[name]
    with pytest.raises(ValueError, match=words) as raised:
        read_photo(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        read_photo(tmp_path / "nowhere.jpg")
    with pytest.raises(OSError, match=str(tmp_path)):
        read_photo(tmp_path)


def test_photos_beyond_pillows_limit(tmp_path, monkeypatch):
    # Pillow's limit made small stands for a large photo; 12,000 x 9,000 takes seconds.
    Image.new("1", (120, 90)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # whatever the caller has set
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / "large.png")
    mask = segment(Brightness(), tmp_path / "large.png")
    assert mask.shape == (90, 120)
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    with pytest.raises(ValueError, match="90 x 120 pixels, more than"):
        read_photo(tmp_path / "large.png")


# --- cut_out ---------------------------------------------------------------------------------------------------------


def over(image, background):
    """Composed in float64: RGBA PIL over colours (H, W, 3) in 0 to 255."""
    pixels = np.asarray(image, np.float64)
    alpha = pixels[..., 3:] / 255
    return pixels[..., :3] * alpha + background * (1 - alpha)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_masks_keep_the_photo(value):
    pixels = photo()
    result = np.asarray(cut_out(pixels, np.full((50, 70), value, np.float32)))
    np.testing.assert_array_equal(result[..., :3], pixels)
    assert (result[..., 3] == round(value * 255)).all()


def test_hard_mask_gives_the_photo_back_over_its_background():
    pixels = photo(300, 200)
    mask = np.zeros((300, 200), np.float32)
    mask[50:200, 30:150] = 1
    result = cut_out(pixels, mask)
    assert result.mode == "RGBA"
    assert result.size == (200, 300)
    np.testing.assert_array_equal(np.asarray(result)[mask == 1][:, :3], pixels[mask == 1])
    np.testing.assert_array_equal(over(result, pixels), pixels)


def soft_disc(size=400, softness=30):
    y, x = np.mgrid[:size, :size]
    return np.clip((size / 3 - np.hypot(y - size / 2, x - size / 2)) / softness + 0.5, 0, 1).astype(np.float32)


def test_no_halo_of_the_old_background():
    alpha = np.round(soft_disc() * 255) / 255
    red, green = np.array([200.0, 40, 30]), np.array([20.0, 230, 60])
    mixed = np.round(alpha[..., None] * red + (1 - alpha[..., None]) * green).astype(np.uint8)
    colours = np.asarray(cut_out(mixed, alpha))[..., :3]
    # A wrong colour is visible in proportion to its share of the pixel.
    seen, naive = (np.abs(alpha[..., None] * (found - red)).max() for found in (colours, mixed))
    assert naive > 45
    assert seen < 7


def test_colours_of_a_textured_object_are_nearer_to_the_truth():
    alpha = soft_disc(softness=6)[..., None]
    front, back = (photo(400, 400, seed) / 255 for seed in (1, 2))
    mixed = (alpha * front + (1 - alpha) * back).astype(np.float32)
    edge = (alpha[..., 0] > 0) & (alpha[..., 0] < 1)
    found = estimate_foreground(mixed, alpha[..., 0]) / 255
    error, naive = (np.abs((alpha * (colours - front))[edge]).mean() for colours in (found, mixed))
    assert error < 0.5 * naive


def test_estimates_do_not_depend_on_how_the_work_is_cut(monkeypatch):
    alpha = soft_disc(301, 20)
    pixels = photo(301, 301, 3)
    from birefnet_lite.inference import cutout

    whole = estimate_foreground(pixels, alpha).astype(int)
    monkeypatch.setattr(cutout, "STRIP_PIXELS", 301 * 16)
    np.testing.assert_array_equal(estimate_foreground(pixels, alpha), whole)
    # On a smaller picture the colours are nearly those; in between, they are seen at all.
    monkeypatch.setattr(cutout, "ESTIMATE_PIXELS", 301 * 301 // 9)
    smaller = estimate_foreground(pixels, alpha)
    assert np.abs(smaller - whole)[alpha > 0.1].mean() < 2


def test_alpha_in_levels_gives_the_same_colours():
    levels = np.rint(255 * soft_disc(301, 20)).astype(np.uint8)
    pixels = photo(301, 301, 3)
    wanted = estimate_foreground(pixels, (levels / 255).astype(np.float32)).astype(int)
    assert np.abs(estimate_foreground(pixels, levels) - wanted).max() <= 1


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_cut_outs_mix_back_to_the_photo_where_it_is_opaque(height, width, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = rng.choice(np.array([0, 0.2, 1], np.float32), (height, width))
    result = np.asarray(cut_out(pixels, mask))
    np.testing.assert_array_equal(result[..., 3], np.rint(mask * 255))
    np.testing.assert_array_equal(result[mask == 1][:, :3], pixels[mask == 1])


def test_forms_of_a_mask():
    levels = np.round(soft_disc(40, 10) * 255).astype(np.uint8)
    pixels = photo(40, 40)
    results = [
        np.asarray(cut_out(pixels, mask))
        for mask in (levels, levels / 255, torch.from_numpy(levels / 255), Image.fromarray(levels))
    ]
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    hard = np.asarray(cut_out(pixels, levels > 127))
    np.testing.assert_array_equal(hard[..., 3], np.where(levels > 127, 255, 0))


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (np.zeros((50, 71), np.float32), ValueError, "50 x 71.*50 x 70"),
        (np.zeros((50, 70, 1), np.float32), ValueError, "H x W"),
        (np.full((50, 70), 1.5), ValueError, "1.5"),
        (np.full((50, 70), np.nan), ValueError, "nan"),
        (np.zeros((50, 70), np.complex64), TypeError, "complex64"),
        ("no-such-mask.png", FileNotFoundError, "no-such-mask.png"),
        (None, TypeError, "NoneType"),
    ],
)
def test_what_is_no_mask(mask, error, words):
    with pytest.raises(error, match=words):
        cut_out(photo(), mask)


def test_own_transparency_and_colour_profile_stay():
    pixels = np.dstack([photo(), np.full((50, 70), 255, np.uint8)])
    pixels[:, :30, 3] = 0
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = b"a profile"
    result = cut_out(image, np.ones((50, 70), np.float32))
    np.testing.assert_array_equal(np.asarray(result)[..., 3], pixels[..., 3])
    assert result.info["icc_profile"] == b"a profile"
    np.testing.assert_array_equal(np.asarray(result)[:, 30:], pixels[:, 30:])
