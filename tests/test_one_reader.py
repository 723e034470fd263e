"""Training, evaluation, `segment` and the views read the same numbers from the same file, in every format."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from birefnet_lite.config import BiRefNetConfig
from birefnet_lite.inference.images import STD, read_mask, read_photo
from birefnet_lite.inference.predict import cut_out, segment
from birefnet_lite.training import evaluate as evaluation
from birefnet_lite.training.folder import FolderDataset
from widgets.view_setup import reference_mask

HEIGHT, WIDTH = 32, 64
GREY = np.linspace(20, 230, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8)
COLOURS = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[8:20, 10:40] = 255


def image(array, mode=None):
    made = Image.fromarray(array)
    return made if mode is None else made.convert(mode)


def save_options(suffix, turned):
    exif = Image.Exif()
    exif[0x0112] = 3
    lossless = {"lossless": True} if suffix == "webp" else {}
    return lossless | ({"exif": exif} if turned else {})


PHOTOS = {
    "1.png": image(MASK, "1"),
    "L.png": image(GREY),
    "L.jpg": image(GREY),
    "P.png": image(COLOURS, "P"),
    "P.gif": image(COLOURS, "P"),
    "LA.png": Image.merge("LA", [image(GREY), image(MASK)]),
    "RGBA.png": image(np.dstack([COLOURS, GREY])),
    "RGBA.webp": image(np.dstack([COLOURS, GREY])),
    "CMYK.jpg": image(COLOURS, "CMYK"),
    "CMYK.tif": image(COLOURS, "CMYK"),
    "16.png": image(GREY.astype(np.uint16) * 257),
    "16.tif": image(GREY.astype(np.uint16) * 257),
    "32.tif": image(GREY.astype(np.int32) * 257),
    "float.tif": image((GREY / 255).astype(np.float32)),
    "RGB.avif": image(COLOURS),
    "RGB.bmp": image(COLOURS),
    "RGB.jfif": image(COLOURS),
    "RGB.ppm": image(COLOURS),
    "RGB.tga": image(COLOURS),
}
MASKS = {
    "1.png": image(MASK, "1"),
    "1.tif": image(MASK, "1"),
    "L.png": image(MASK),
    "L.gif": image(MASK),
    "L.jpg": image(GREY),
    "0 and 1.png": image(MASK // 255),
    "0 and 1.bmp": image(MASK // 255),
    "16.png": image(MASK.astype(np.uint16) * 257),
    "16, 0 and 1.png": image((MASK // 255).astype(np.uint16)),
    "16, soft.tif": image(GREY.astype(np.uint16) * 257),
    "32, 0 and 1.tif": image((MASK // 255).astype(np.int32)),
    "float.tif": image((MASK / 255).astype(np.float32)),
    "float, soft.tif": image((GREY / 255).astype(np.float32)),
    "red.png": image(np.dstack([MASK, 0 * MASK, 0 * MASK])),
    "palette.png": image(MASK, "P"),
    "alpha.png": Image.merge("LA", [Image.new("L", (WIDTH, HEIGHT)), image(MASK)]),
    "alpha.webp": Image.merge("RGBA", [*[Image.new("L", (WIDTH, HEIGHT))] * 3, image(MASK)]),
}


class Red(nn.Module):
    """A network whose mask is the photo's red."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))
        self.config = BiRefNetConfig(train_size=(HEIGHT, WIDTH))

    def forward(self, batch):
        return torch.logit(batch[:, :1] * STD[0] + 0.485, 1e-6) * self.one


def write(folder, photo, mask, turned):
    for part, (name, picture) in {"im": photo, "gt": mask}.items():
        (folder / part).mkdir()
        suffix = name.rpartition(".")[2]
        picture.save(folder / part / f"a.{suffix}", format="JPEG" if suffix == "jfif" else None,
                     **save_options(suffix, turned))  # fmt: skip
    return next((folder / "im").iterdir()), next((folder / "gt").iterdir())


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", PHOTOS)
def test_training_and_segment_see_one_photo(tmp_path, name, turned):
    can_turn = turned and name.rpartition(".")[2] in ("png", "jpg", "webp", "tif", "avif")
    mask = ("m.png", image(MASK))
    path, _ = write(tmp_path, (name, PHOTOS[name]), mask, can_turn)
    trained = FolderDataset(tmp_path, (HEIGHT, WIDTH))[0].image.numpy()
    seen = segment(Red(), path)
    pixels = read_photo(path).pixels
    pixels = pixels / (255 if pixels.dtype == np.uint8 else 1)
    np.testing.assert_allclose(trained.transpose(1, 2, 0), pixels, atol=1e-6)
    np.testing.assert_allclose(seen, pixels[..., 0], atol=1e-4)
    assert np.ptp(trained) > 0.3


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_training_evaluation_views_and_cut_outs_read_one_mask(tmp_path, monkeypatch, name, turned):
    can_turn = turned and name.rpartition(".")[2] in ("png", "jpg", "webp", "tif")
    photo = ("p.png", image(COLOURS))
    path, mask = write(tmp_path, photo, (name, MASKS[name]), can_turn)
    expected = GREY / 255 if "soft" in name or name == "L.jpg" else MASK / 255
    expected = expected[::-1, ::-1] if can_turn else expected
    trained = FolderDataset(tmp_path)[0].mask[0].numpy()
    np.testing.assert_allclose(trained, expected, atol=0.02 if name == "L.jpg" else 1e-6)
    scored = []
    monkeypatch.setattr(evaluation, "measure", lambda prediction, mask, **_: scored.append(mask) or ({"mae": 0}, {}))
    evaluation.evaluate(Red(), [("a", path, mask)], metrics=("mae",), progress=False)
    viewed, _ = reference_mask(None, mask)
    alpha = np.asarray(cut_out(path, mask))[..., 3] / 255
    for found in (scored[0], viewed, read_mask(mask), read_mask(str(mask))):
        np.testing.assert_array_equal(found, trained)
    np.testing.assert_allclose(alpha, trained, atol=0.5 / 255 + 1e-6)
