import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest
from PIL import Image

from comp.data.augmenting import Preprocessing, apply_symmetry, seed_pipeline, training_pipeline
from comp.data.loading import ImageDataset
from comp.data.reading import Depth, Reading, with_margin
from comp.declare.reading import sides
from comp.declare.viewpoint import View, side_on, top_down, upright
from comp.errors import DeclarationError
from tests.data.conftest import noise, turned

SQUARE = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)


def plain(size, value=7):
    return np.full((size, size, 3), value, np.uint8)


def centre_crop(size):
    return A.CenterCrop(size, size)


def views_of(viewpoint, image, size, draws, erasing=0.0):
    pipeline = training_pipeline(viewpoint, size, erasing)
    views = []
    for draw in range(draws):
        seed_pipeline(pipeline, draw)
        views.append(pipeline(image=image)["image"])
    return views


def test_the_symmetries_are_the_eight_of_the_square():
    views = [apply_symmetry(SQUARE, symmetry) for symmetry in range(8)]
    assert len({view.tobytes() for view in views}) == 8
    for symmetry, view in enumerate(views):
        turned = SQUARE[:, ::-1] if symmetry >= 4 else SQUARE
        for _ in range(symmetry % 4):
            turned = turned.transpose(1, 0, 2)[::-1]
        assert np.array_equal(view, turned)


@pytest.mark.parametrize("family", [side_on, top_down, upright])
@pytest.mark.parametrize(
    ("size", "zoom", "channels"), [(8, 1, 1), (31, 1.1, 2), (64, 2, 3), ((8, 31), 1.1, 5), ((64, 20), 2, 1)]
)
def test_views_have_the_size_and_channels_of_the_image_are_many_and_follow_from_the_seed(family, size, zoom, channels):
    height, width = sides(with_margin(size, zoom))
    for image in (noise(height, width, channels), noise(height, 2 * width, channels)):
        views, again = (views_of(family(max_zoom=zoom), image, size, 5, erasing=0.5) for _ in range(2))
        for view in views:
            assert view.shape == (*sides(size), channels)
            assert view.dtype == np.uint8
        assert [view.tobytes() for view in views] == [view.tobytes() for view in again]
        assert len({view.tobytes() for view in views}) == 5


def test_a_fixed_view_of_a_rectangle_is_a_symmetry_that_keeps_its_shape():
    preprocessing = Preprocessing((8, 12), Reading(), top_down())
    image = noise(10, 12)
    views = [preprocessing.seen(view, lambda size: image, None, 0, 0) for view in top_down().at((8, 12)).fixed_views]
    assert len({view.tobytes() for view in views}) == 4
    assert [view.shape for view in views] == [(8, 12, 3)] * 4
    assert np.array_equal(views[0], image[1:9])


@pytest.mark.parametrize(("family", "symmetries"), [(upright, {0}), (side_on, {0, 4}), (top_down, set(range(8)))])
def test_without_zoom_rotation_and_light_only_the_flips_of_the_family_are_left(family, symmetries):
    image = noise(16, 16)
    known = {apply_symmetry(image, symmetry).tobytes(): symmetry for symmetry in range(8)}
    views = views_of(family(max_zoom=1, max_rotation=0, max_light=0), image, 16, 100)
    assert {known[np.ascontiguousarray(view).tobytes()] for view in views} == symmetries


@pytest.mark.parametrize("light", [0.05, 0.5])
def test_light_changes_no_more_than_its_limit(light):
    views = views_of(upright(max_zoom=1, max_rotation=0, max_light=light), plain(16, 100), 16, 30)
    greys = {int(view[0, 0, 0]) for view in views}
    # Contrast scales a pixel by up to the limit, brightness shifts it by up to the limit of the whole range.
    assert max(abs(grey - 100) for grey in greys) <= light * 100 + light * 255 + 1
    assert len(greys) > 5


def test_zoom_shows_no_less_than_its_share_of_the_shorter_side():
    rows = np.arange(64, dtype=np.uint8)[:, None, None].repeat(64, axis=1).repeat(3, axis=2)
    seen = [np.ptp(view) for view in views_of(upright(max_zoom=2, max_rotation=0, max_light=0), rows, 32, 60)]
    assert min(seen) >= 29
    assert max(seen) >= 58


def test_a_pipeline_of_ones_own_replaces_the_augmentations():
    def invert(size):
        return A.Compose([A.CenterCrop(size, size), A.InvertImg(p=1)])

    image = noise(20, 30)
    for view in views_of(top_down(pipeline=invert), image, 16, 5):
        assert np.array_equal(view, 255 - image[2:18, 7:23])


def drawn(**own):
    preprocessing = Preprocessing(16, Reading(), **{"viewpoint": side_on(), **own})
    return preprocessing.seen(View(draw=0), lambda size: noise(20, 20), preprocessing.pipelines(), 0, 0)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"viewpoint": side_on(pipeline=lambda size: 7)}, "`pipeline`.*7"),
        ({"viewpoint": side_on(pipeline=lambda size: 1 / 0)}, "`pipeline`.*ZeroDivisionError"),
        ({"viewpoint": side_on(pipeline=lambda size: A.Normalize())}, "`pipeline`.*float32.*Normalize"),
        ({"viewpoint": side_on(pipeline=lambda size: A.pytorch.ToTensorV2())}, "`pipeline`.*of Tensor"),
        ({"tta": lambda size: A.Resize(size, size)}, "`tta`.*list"),
        ({"tta": lambda size: []}, "`tta`.*list"),
    ],
)
def test_what_makes_no_images_of_bytes_is_named(own, said):
    with pytest.raises(DeclarationError, match=said):
        drawn(**own)


@pytest.mark.parametrize("file", ["image.jpg", "image.npy"])
def test_pipelines_of_ones_own_are_given_the_whole_image_upright_and_in_bytes(tmp_path, file):
    given, path = [], tmp_path / file

    def whole(size):
        return A.Compose([A.Lambda(image=lambda image, **_: given.append(image) or image), A.Resize(size, size)])

    if file == "image.npy":
        reading, expected = Reading(read="npy", depth=Depth(3, (0.0,) * 3, (510.0,) * 3)), noise(45, 60)
        np.save(path, 2 * expected.astype(np.uint16))
    else:
        Image.fromarray(noise(60, 45)).save(path, exif=turned(6))
        reading, expected = Reading(), np.rot90(np.asarray(Image.open(path)), -1)
    preprocessing = Preprocessing(8, reading, side_on(pipeline=whole), tta=lambda size: [whole(size)])
    _, (drawn, own) = ImageDataset([path], preprocessing, 0)[0, (View(draw=3), View(own=1))]
    assert len(given) == 2
    assert all(np.array_equal(image, expected) for image in given)
    assert np.array_equal(drawn, own)


def test_steps_are_drawn_independently_of_each_other():
    def flip_and_invert(size):
        return A.Compose([A.HorizontalFlip(p=0.5), A.InvertImg(p=0.5)])

    image = plain(8, 10)
    image[:, :4] = 20
    corners = [(view[0, 0, 0], view[0, -1, 0]) for view in views_of(upright(pipeline=flip_and_invert), image, 8, 400)]
    # The corners' values: flipped or not, inverted or not.
    ways = [(20, 10), (10, 20), (235, 245), (245, 235)]
    assert [corners.count(way) for way in ways] == pytest.approx([100] * 4, abs=30)


def test_one_rectangle_of_noise_is_erased_within_the_papers_bounds():
    # Zhong et al., section 4: 0.02 to 0.4 of the area, and the shorter side at least 0.3 of the longer one.
    size, shares = 64, []
    rounding = 2 / size
    for view in views_of(upright(pipeline=centre_crop), plain(size), size, 200, erasing=1):
        erased = (view != 7).any(axis=2)
        height, width = erased.any(axis=1).sum(), erased.any(axis=0).sum()
        assert erased.sum() == pytest.approx(height * width, rel=0.01)
        assert 0.3 - 6 * rounding < height / width < 1 / (0.3 - 6 * rounding)
        shares.append(erased.mean())
        assert 0.02 - rounding < shares[-1] < 0.4 + rounding
        assert len(np.unique(view[erased])) > 20
    assert min(shares) < 0.06
    assert max(shares) > 0.25


@pytest.mark.parametrize("viewpoint", [side_on(), top_down(), upright(pipeline=centre_crop)])
def test_erasing_comes_last_and_changes_nothing_else(viewpoint):
    image = noise(36, 40)
    whole, erased = (views_of(viewpoint, image, 32, 30, erasing=chance) for chance in (0, 0.5))
    changed = [(one != other).any(axis=2) for one, other in zip(whole, erased, strict=True)]
    assert 5 < sum(mask.any() for mask in changed) < 25
    for mask in changed:
        box = mask[np.ix_(mask.any(axis=1), mask.any(axis=0))]
        assert box.size == 0 or box.mean() > 0.98
        assert mask.mean() < 0.5
