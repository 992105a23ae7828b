from io import BytesIO
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from comp.data.duplicates import close_pairs, connected, duplicate_groups, near_pairs, perceptual_hashes
from comp.data.file_facts import FileFacts, facts_of, facts_of_each
from tests.data.conftest import encoded, picture


def copies(image):
    width, height = image.size
    return {
        "a worse JPEG": Image.open(BytesIO(encoded(image, "JPEG", quality=30))),
        "half its size": image.resize((width // 2, height // 2)),
        "twice its size": image.resize((width * 2, height * 2)),
        "lighter": image.point(lambda value: min(255, round(value * 1.1))),
        "grey": image.convert("L"),
        "softened": image.filter(ImageFilter.GaussianBlur(1)),
    }


def sets_of(found):
    table = pd.DataFrame(found, columns=FileFacts._fields)
    thumbnails = np.frombuffer(b"".join(facts.thumbnail for facts in found), np.uint8).reshape(-1, 16, 16)
    sides = (table[side].to_numpy(np.int64) for side in ("width", "height"))
    return duplicate_groups(table, lambda rows: rows[near_pairs(thumbnails, *sides, rows)])


@pytest.fixture
def sets(tmp_path):
    """Finds the groups of images by name: of exact duplicates, and of images that look alike."""

    def find(images):
        paths = []
        for name, image in images.items():
            paths.append(tmp_path / f"{name}.png")
            image.save(paths[-1]) if isinstance(image, Image.Image) else paths[-1].write_bytes(image)
        same, alike = sets_of(list(facts_of_each(paths)))
        return dict(zip(images, same.tolist(), strict=True)), dict(zip(images, alike.tolist(), strict=True))

    return find


def test_copies_are_in_one_set_and_other_pictures_in_others(sets):
    _, alike = sets({"original": picture(0), **copies(picture(0)), **{f"{n}": picture(n) for n in range(1, 40)}})
    assert {alike[name] for name in copies(picture(0))} == {alike["original"]}
    assert len(set(alike.values())) == 40


def test_only_copies_byte_for_byte_are_the_same(sets):
    same, alike = sets({"a": picture(0), "b": picture(0), "c": picture(0, (48, 36)), "d": picture(1)})
    assert same["a"] == same["b"] != same["c"]
    assert alike["a"] == alike["b"] == alike["c"] != alike["d"]


def test_blank_tiny_and_otherwise_shaped_images_are_compared_byte_for_byte_only(sets):
    small = {name: picture(0, (31, 24)).point(lambda value, n=n: value + n) for n, name in enumerate("ab")}
    white = {name: Image.new("RGB", (side, side), "white") for name, side in (("c", 99), ("d", 88), ("e", 88))}
    _, alike = sets({**small, **white, "f": picture(1), "g": picture(1).resize((96, 96))})
    assert len(set(alike.values())) == 6
    assert alike["d"] == alike["e"]


def test_files_that_can_t_be_read_are_no_duplicates_of_each_other(sets):
    same, alike = sets({"a": b"", "b": b"", "c": b"text", "d": b"text", "e": picture(0)})
    assert len(set(same.values())) == len(set(alike.values())) == 5


def test_no_images_have_no_sets():
    same, alike = sets_of([])
    assert len(same) == len(alike) == 0
    assert sets_of([FileFacts("empty")])[1].tolist() == [0]


def test_the_hash_is_of_what_is_seen_and_not_of_its_brightness(tmp_path):
    picture(0).save(tmp_path / "x.png")
    thumbnail = np.frombuffer(facts_of(tmp_path / "x.png").thumbnail, np.uint8).reshape(1, 16, 16)
    darker = (thumbnail * 0.5).astype(np.uint8)
    mirrored = thumbnail[:, :, ::-1].copy()
    hashes = perceptual_hashes(np.concatenate([thumbnail, darker, mirrored]), np.arange(3))
    assert np.bitwise_count(hashes[0] ^ hashes[1]) <= 2
    assert np.bitwise_count(hashes[0] ^ hashes[2]) > 16


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 60), distance=st.integers(0, 12))
def test_close_pairs_are_those_that_comparing_each_with_each_finds(seed, count, distance):
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for place in rng.permutation(count)[: count // 2]:
        for bit in rng.integers(0, 64, rng.integers(0, 9)):
            hashes[place] = hashes[rng.integers(count)] ^ (np.uint64(1) << np.uint64(bit))
    found = {tuple(pair) for pair in close_pairs(hashes, distance).tolist()}
    first = {value: place for place, value in reversed(list(enumerate(hashes.tolist())))}
    expected = set()
    for place, value in enumerate(hashes.tolist()):
        if first[value] != place:
            expected.add((first[value], place))
            continue
        for other in range(place):
            if first[int(hashes[other])] == other and (value ^ int(hashes[other])).bit_count() <= distance:
                expected.add((other, place))
    assert found == expected


def test_tens_of_thousands_of_hashes_are_compared_in_seconds():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    hashes[19_000:] = hashes[:1000] ^ np.uint64(0b10011)
    started = perf_counter()
    pairs = close_pairs(hashes, 6)
    # Comparing each pair would be two hundred million comparisons.
    assert perf_counter() - started < 10
    assert {(place, 19_000 + place) for place in range(1000)} <= set(map(tuple, pairs.tolist()))
    assert len(pairs) < 1010


@settings(max_examples=25, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19))))
def test_connected_places_share_a_number(pairs):
    numbers = connected(20, np.array(pairs, np.int64).reshape(-1, 2))
    names = list(range(20))
    for one, other in pairs:
        names = [names[other] if name == names[one] else name for name in names]
    assert [[a == b for b in numbers] for a in numbers] == [[a == b for b in names] for a in names]
