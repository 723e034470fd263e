"""Pairs of image and mask in folders and tables, seeded batches of them, and changes to them."""

import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from birefnet_lite.inference.marks import MASK, Mark
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.training.augment import Augment, jitter_colours, transform_geometry
from birefnet_lite.training.folder import NO_LABEL, FolderBatches, FolderDataset


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def square(height=40, width=60):
    """A red square on green, and its mask."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 1] = 200
    image[10:30, 20:40] = (220, 10, 10)
    mask = np.zeros((height, width), np.uint8)
    mask[10:30, 20:40] = 255
    return image, mask


@pytest.fixture
def folder(tmp_path):
    image, mask = square()
    for name in ("1#Accessories#1#Bag#7#a", "1#Accessories#1#Bag#7#b", "4#Animal#2#Owl#9#c"):
        write(tmp_path / "im" / f"{name}.jpg", image)
        write(tmp_path / "gt" / f"{name}.png", mask)
    (tmp_path / "im" / "notes.txt").write_text("not an image")
    return tmp_path


def test_pairs_by_stem_with_classes(folder):
    data = FolderDataset(folder, size=(32, 48), classes=True)
    assert len(data) == 3
    assert data.class_names == ["Bag", "Owl"]
    sample = data[2]
    assert sample.image.shape == (3, 32, 48)
    assert sample.mask.shape == (1, 32, 48)
    assert sample.image.dtype == sample.mask.dtype == torch.float32
    assert sample.label == 1
    assert sample.name == "4#Animal#2#Owl#9#c"
    assert sample.mask.mean() == pytest.approx(400 / 2400, abs=1e-3)


def test_without_classes_no_label_is_given(folder):
    assert FolderDataset(folder)[0].label == NO_LABEL
    assert FolderDataset(folder)[0].image.shape == (3, 40, 60)


def test_labels_follow_the_names_given(folder):
    data = FolderDataset(folder, classes=True, class_names=["Owl", "Cat", "Bag"])
    assert [int(data[i].label) for i in range(3)] == [2, 2, 0]
    with pytest.raises(ValueError, match="not in class_names: Bag, Owl"):
        FolderDataset(folder, classes=True, class_names=["Cat"])


def test_default_loader_can_batch_it(folder):
    batch = next(iter(DataLoader(FolderDataset(folder, size=(32, 32)), batch_size=3)))
    assert batch.image.shape == (3, 3, 32, 32)
    assert batch.label.tolist() == [NO_LABEL] * 3


def test_csv_of_pairs(folder):
    names = sorted(p.stem for p in (folder / "gt").iterdir())
    rows = "".join(f"im/{n}.jpg,gt/{n}.png,{i % 2}\n" for i, n in enumerate(names))
    (folder / "pairs.csv").write_text("image,mask,class\n" + rows)
    data = FolderDataset(folder / "pairs.csv", classes=True)
    assert [int(data[i].label) for i in range(3)] == [0, 1, 0]
    assert torch.equal(data[0].image, FolderDataset(folder)[0].image)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("image,target\n", ValueError, "no column 'mask'; its first line should read image,mask"),
        ("image,mask\nim/x.jpg,gt/x.png\n", FileNotFoundError, "line 2: .*x.jpg does not exist"),
        ("image,mask\nim/x.jpg,\n", ValueError, "line 2: image, mask must all be given"),
        ("image,mask\n", ValueError, "no pairs"),
    ],
)
def test_faults_of_a_csv_are_named(folder, text, error, message):
    (folder / "pairs.csv").write_text(text)
    with pytest.raises(error, match=message):
        FolderDataset(folder / "pairs.csv")


def test_missing_partners_are_named(folder):
    image, mask = square()
    write(folder / "im" / "lonely.jpg", image)
    write(folder / "gt" / "stray.png", mask)
    with pytest.raises(FileNotFoundError, match=r"im/lonely.jpg has no mask in gt/; gt/stray.png has no image"):
        FolderDataset(folder)


def test_a_misshapen_partner_is_named(folder):
    write(folder / "gt" / "1#Accessories#1#Bag#7#a.png", square(40, 50)[1])
    with pytest.raises(ValueError, match=r"Bag#7#a.png is 50x40 pixels but .*Bag#7#a.jpg is 60x40"):
        FolderDataset(folder)


def test_an_unreadable_partner_is_named(folder):
    (folder / "gt" / "4#Animal#2#Owl#9#c.png").write_bytes(b"this is no picture")
    with pytest.raises(ValueError, match=r"Owl#9#c.png is not an image"):
        FolderDataset(folder)


def test_a_truncated_picture_is_named_when_it_is_read(folder):
    path = folder / "im" / "4#Animal#2#Owl#9#c.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    data = FolderDataset(folder)
    with pytest.raises(ValueError, match=r"Owl#9#c.jpg is damaged"):
        data[2]


def test_other_faults_are_named(folder, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        FolderDataset(folder / "nowhere")
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(FileNotFoundError, match="no folder im/"):
        FolderDataset(empty)
    (empty / "im").mkdir()
    (empty / "gt").mkdir()
    with pytest.raises(ValueError, match="holds no pairs"):
        FolderDataset(empty)
    image, mask = square()
    write(empty / "im" / "plain.jpg", image)
    write(empty / "gt" / "plain.png", mask)
    with pytest.raises(ValueError, match=r"plain.jpg names no class"):
        FolderDataset(empty, classes=True)
    write(empty / "im" / "plain.png", image)
    with pytest.raises(ValueError, match=r"both plain.jpg and plain.png"):
        FolderDataset(empty)


def test_exif_turns_the_image_before_it_meets_its_mask(tmp_path):
    image, mask = square()
    exif = Image.Exif()
    exif[274] = 6  # turn clockwise by 90 degrees to show
    (tmp_path / "im").mkdir()
    Image.fromarray(np.rot90(image).copy()).save(tmp_path / "im" / "a.png", exif=exif)
    write(tmp_path / "gt" / "a.png", mask)
    sample = FolderDataset(tmp_path)[0]
    assert sample.image.shape == (3, 40, 60)
    assert (sample.image[0] > 0.5).equal(sample.mask[0] > 0.5)


def test_scaling_averages_and_keeps_soft_masks(tmp_path):
    """Half size of a fine chequer is grey, not black or white."""
    chequer = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    write(tmp_path / "im" / "c.png", chequer)
    write(tmp_path / "gt" / "c.png", chequer)
    sample = FolderDataset(tmp_path, (16, 24))[0]
    assert sample.mask.min() > 0.3
    assert sample.mask.max() < 0.7
    assert sample.image.shape == (3, 16, 24)


# -- batches -----------------------------------------------------------------------------------------------------------
def test_an_epoch_meets_everything_once_and_the_order_depends_on_the_step_alone(folder):
    batches = FolderBatches(FolderDataset(folder, size=(32, 32)), seed=4, augment=Augment())
    names = [name for step in range(3) for name in batches.batch(2, step).names]
    assert len(set(names[:3])) == len(set(names[3:])) == 3
    again = FolderBatches(FolderDataset(folder, size=(32, 32)), seed=4, augment=Augment()).batch(2, 2)
    assert torch.equal(again.images, batches.batch(2, 2).images)
    assert again.names == tuple(names[4:])
    other = FolderBatches(FolderDataset(folder, size=(32, 32)), seed=5, augment=Augment()).batch(2, 2)
    assert not torch.equal(again.images, other.images)


def test_batches_need_one_size(folder):
    with pytest.raises(ValueError, match=r"size=\(height, width\)"):
        FolderBatches(FolderDataset(folder))
    with pytest.raises(ValueError, match="at least 1"):
        FolderBatches(FolderDataset(folder, size=(32, 32))).batch(0, 0)


# -- changes -----------------------------------------------------------------------------------------------------------
def tensors(n=6):
    image, mask = square()
    images = torch.from_numpy(image).permute(2, 0, 1)[None].float().expand(n, -1, -1, -1) / 255
    return images, torch.from_numpy(mask)[None, None].float().expand(n, -1, -1, -1) / 255


def test_image_and_mask_move_together():
    """Red is where the mask is, before and after."""
    images, masks = transform_geometry(*tensors(40), RandomNumbers(40, ("move",)), turn=60, crop=0.5)
    red = (images[:, 0] > images[:, 1]).float()
    assert ((red - masks[:, 0]).abs() > 0.6).float().mean() < 0.003
    assert masks.mean((1, 2, 3)).std() > 0.05


def test_no_change_asked_is_no_change():
    images, masks = tensors()
    same, covers = Augment(flip=0, turn=0, crop=1, colour=0, grey=0)(images, masks, ("none",))
    assert torch.allclose(same, images.clamp(min=1e-4), atol=1e-5)
    assert torch.allclose(covers, masks, atol=1e-5)


def test_flip_is_a_mirror_image():
    images, masks = tensors(3)
    flipped, covers = transform_geometry(images, masks, RandomNumbers(3, ("flip",)), flip=1, turn=0, crop=1)
    assert torch.allclose(flipped, images.flip(3), atol=1e-5)
    assert torch.allclose(covers, masks.flip(3), atol=1e-5)


def test_a_turn_keeps_right_angles_in_wide_pictures():
    """A square stays one: its area is kept and its turned outline is as wide as high."""
    height, width = 60, 120
    masks = torch.zeros(8, 1, height, width)
    masks[:, :, 20:40, 50:70] = 1
    _, turned = transform_geometry(
        masks.expand(-1, 3, -1, -1), masks, RandomNumbers(8, ("turn",)), flip=0, turn=45, crop=1
    )
    assert torch.allclose(turned.sum((1, 2, 3)), torch.full((8,), 400.0), rtol=0.02)
    high = (turned[:, 0].amax(2) > 0.5).sum(1)
    wide = (turned[:, 0].amax(1) > 0.5).sum(1)
    assert ((high - wide).abs() <= 1).all()
    assert (high > 21).any()


def test_a_turn_leaves_no_black_corners():
    images, masks = torch.full((4, 3, 32, 32), 0.8), torch.zeros(4, 1, 32, 32)
    turned, _ = transform_geometry(images, masks, RandomNumbers(4, ("corners",)), turn=45, crop=1)
    assert turned.min() > 0.79


def test_colours_change_without_leaving_the_range():
    images, _ = tensors(30)
    changed = jitter_colours(images, RandomNumbers(30, ("colour",)), strength=1.0, grey=0.5)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert changed.std(0).mean() > 0.05
    plain = (changed.amax(1) - changed.amin(1)).amax((1, 2)) < 1e-5
    assert 5 < plain.sum() < 25  # about half are black and white


@pytest.mark.parametrize("wrong", [{"flip": 2}, {"turn": -1}, {"crop": 0}, {"colour": 3}, {"grey": -0.1}])
def test_augment_says_what_it_wants(wrong):
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=f"{name}=.* given; wanted a number from"):
        Augment(**wrong)


# -- people's folders --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "image;mask\nim/a.png;gt/a.png\n",
        "image, mask\nim/a.png, gt/a.png\n",
        "Image,MASK \n im/a.png ,gt/a.png\n\n",
        "image\tmask\nim/a.png\tgt/a.png",
        "sep=;\nimage;mask\r\nim/a.png;gt/a.png\r\n",
        "image,mask\nim\\a.png,gt\\a.png\n",
        'number,image,mask,note\n1,"im/a.png",gt/a.png,"two\nlines"\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_programs_save_them(tmp_path, text, encoding):
    image, mask = square()
    write(tmp_path / "im/a.png", image)
    write(tmp_path / "gt/a.png", mask)
    (tmp_path / "p.csv").write_bytes(text.encode(encoding))
    assert [pair.image for pair in FolderDataset(tmp_path / "p.csv").pairs] == [tmp_path / "im/a.png"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("image,mask\nim/ä.png,gt/ä.png\n".encode("latin-1"), "p.csv is not in UTF-8: save it as CSV UTF-8"),
        (b"image,mask\nim/" + b"a" * 200_000 + b",x\n", "p.csv, line 2: field larger"),
        (b"", "has no column 'image'"),
        (b"\0\0\0\0", "has no column 'image'"),
        (b"image,mask\nim/a.png\n", "line 2: image, mask must all be given"),
    ],
)
def test_tables_that_cannot_be_read_are_named(tmp_path, data, words):
    (tmp_path / "p.csv").write_bytes(data)
    with pytest.raises(ValueError, match=words) as raised:
        FolderDataset(tmp_path / "p.csv")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("table", [False, True])
def test_two_spellings_of_one_name_pair(tmp_path, table):
    image, mask = square()
    composed, decomposed = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    write(tmp_path / f"im/{composed}.png", image)
    write(tmp_path / f"gt/{decomposed}.png", mask)
    (tmp_path / "p.csv").write_text(f"image,mask\nim/{decomposed}.png,gt/{composed}.png\n", encoding="utf-8")
    data = FolderDataset(tmp_path / "p.csv" if table else tmp_path)
    assert data[0].mask.mean() == pytest.approx(mask.mean() / 255)


def test_names_that_differ_in_case_pair_unless_two_fit(tmp_path):
    image, mask = square()
    for name in ("im/Cat.JPG", "im/dog.png", "im/Dog.png"):
        write(tmp_path / name, image)
    for name in ("gt/cat.png", "gt/dog.png", "gt/DOG.png"):
        write(tmp_path / name, mask)
    data = FolderDataset(tmp_path)
    assert [(pair.image.name, pair.mask.name) for pair in data.pairs] == [
        ("Cat.JPG", "cat.png"),
        ("Dog.png", "DOG.png"),
        ("dog.png", "dog.png"),
    ]


def test_what_is_passed_over_is_named_once(tmp_path):
    image, mask = square()
    for name in ("im/a.avif", "im/b.jfif", "im/sub/c.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, format="JPEG" if name.endswith("jfif") else None)
    for name in ("gt/a.png", "gt/b.png"):
        write(tmp_path / name, mask)
    for name in ("im/Thumbs.db", "im/.hidden.png", "im/notes.txt"):
        (tmp_path / name).write_text("x")
    with pytest.warns(UserWarning, match="passed over") as noted:
        data = FolderDataset(tmp_path)
    assert len(data) == 2
    assert [str(note.message) for note in noted] == [f"{tmp_path / 'im'}: passed over, as no images: notes.txt, sub/"]


@pytest.mark.parametrize(("value", "words"), [(0, "2 of 2 masks are empty"), (255, "2 of 2 masks are full")])
def test_a_folder_from_which_nothing_can_be_learnt_is_an_error(tmp_path, value, words):
    for name in "ab":
        write(tmp_path / f"im/{name}.png", square()[0])
        write(tmp_path / f"gt/{name}.png", np.full((40, 60), value, np.uint8))
    with pytest.raises(ValueError, match=rf"nothing to learn: {words}.*a\.png.*b\.png"):
        FolderDataset(tmp_path)


def test_some_empty_masks_are_noted(tmp_path):
    for name, mask in {"a": square()[1], "b": np.zeros((40, 60), np.uint8), "c": np.full((40, 60), 0.003, "f")}.items():
        write(tmp_path / f"im/{name}.png", square()[0])
        write(tmp_path / f"gt/{name}.{'tif' if name == 'c' else 'png'}", mask)
    soft = np.linspace(0, 0.003, 2400, dtype=np.float32).reshape(40, 60)
    Image.fromarray(soft).save(tmp_path / "gt/c.tif")
    with pytest.warns(UserWarning, match=r"2 of 3 masks are empty or almost black.*b\.png, .*c\.tif"):
        FolderDataset(tmp_path)


def test_all_faults_are_named_at_once(tmp_path):
    for i in range(8):
        write(tmp_path / f"im/{i}.png", square()[0])
        write(tmp_path / f"gt/{i}.png", np.arange(2400, dtype=np.uint8).reshape(40, 60) % (i + 3))
    with pytest.raises(ValueError, match=r"0\.png: The mask holds 3 values.*; and 3 more") as raised:
        FolderDataset(tmp_path)
    assert "\n" not in str(raised.value)


def test_own_masks_beside_the_images_are_passed_over(tmp_path):
    image, mask = square()
    write(tmp_path / "im/a.jpg", image)
    for part in ("im", "gt"):
        (tmp_path / part).mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / part / "a.png", pnginfo=Mark(MASK).to_png_info())
    with pytest.warns(UserWarning, match=r"im: passed over.*a\.png"):
        data = FolderDataset(tmp_path)
    assert [pair.image.name for pair in data.pairs] == ["a.jpg"]
