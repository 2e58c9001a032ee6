"""Formats that are converted when they are read: the same pixels for every reader."""

import base64
import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.client.batches import _send
from deml_tf.client.transport import Outputs
from deml_tf.data import converted_formats
from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import class_ids, training_dataset
from deml_tf.data.boxes import relative_box
from deml_tf.data.converted_formats import (
    HEADS,
    converted,
    format_of,
    why_not_converted,
)
from deml_tf.data.example import Example
from deml_tf.data.image_bytes import read_bytes
from deml_tf.data.image_limits import MOST_PIXELS
from deml_tf.data.images import decode
from deml_tf.data.scan import find_bad
from deml_tf.errors import DataError

# 32 x 24 pixels: red, green; yellow, blue. Made once by libheif's encoder.
HEIC = base64.b85decode(
    b"0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004eZDn*}000000000XXk=`10000000000aA{+70"
    b"0000000000000000000B57=IV*mgE07O6l0RRC200001pa1~?00000009O7001LtX>Mi!000000R"
    b"R916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002|X>f9I0002oX>en20001WXm(>m0Rw"
    b"OV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDDMA4O18@K"
    b"U0|1Z!00RI30{|YNAb|yz>aLpR;31&EfB*mtfB*mk0EA)y0RRR>0l{;@i2wiq6Ju{|a&BX6cmM$a"
    b"4FCp!0000KX>)L8000000000$0000$0000eV{Bn?0000W000010000O00001|NsBs00002|NsBk0"
    b"00020000GaA|mH000000|*ER0000OX>e^}0000000001009Mo0s{qv0003FZDe6|00033C;_ht$a"
    b"u*lKqHw`zuUk5{BjbB_a+`0*ET5h1lsQ`a|4s!b%nFnOon}r*3DdEdp06`z`QTU)BhEOCC&=)YXo"
    b"0m`#!eQs#^S@zmOiC!m0{esX$&#EZOui*Ubt*6AU263Wh^pG+htR{4;%m@sdtmXp|T5!=*oku8ah"
    b"vofD2vAZ*t0ugZ>ONPpMj)9!&A4YG&Y8yL{Wb{ULWwSU+{(0Vu^FC6VzZ|y`BWfmSrYOb-~XEe`@"
    b"grJ$aYfZP^Gjbhd9LDUGZx;pp0ja6~hj&>?mxyTD`Z7f;@o8YvCSIng+@rB|8l6G*%NaJV5xEw%k"
    b"y?fq*&@llXdn"
)
PIXELS = np.random.default_rng(3).integers(0, 256, (18, 31, 3), dtype=np.uint8)
PHOTO = Image.fromarray(PIXELS)


def stored(image, kind="TIFF", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def shown(encoded, folder):
    """What a reader in the graph and one in Python make of a file."""
    path = folder / "image"
    path.write_bytes(encoded)
    in_graph = decode(str(path)).numpy()
    with Image.open(io.BytesIO(read_bytes(str(path)))) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(in_graph, np.asarray(image.convert("RGB")))
    return in_graph


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr"])
def test_tiff_in_every_mode(mode, tmp_path):
    image = PHOTO.convert(mode)
    np.testing.assert_array_equal(
        shown(stored(image), tmp_path), np.asarray(image.convert("RGB"))
    )


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff(compression, tmp_path):
    encoded = stored(PHOTO, compression=compression)
    np.testing.assert_array_equal(shown(encoded, tmp_path), PIXELS)


def test_of_16_bits_the_upper_eight(tmp_path):
    grey = np.random.default_rng(4).integers(0, 2**16, (18, 31), dtype=np.uint16)
    for order in ("<", ">"):
        image = Image.fromarray(grey.astype(f"{order}u2"))
        found = shown(stored(image), tmp_path)
        np.testing.assert_array_equal(found, np.stack([grey >> 8] * 3, axis=-1))


def test_the_first_page_of_several(tmp_path):
    other = Image.new("RGB", (40, 40))
    encoded = stored(PHOTO, save_all=True, append_images=[other])
    np.testing.assert_array_equal(shown(encoded, tmp_path), PIXELS)


# Where the first pixel of the stored image comes to lie, and which way its first row
# runs, by the number of the orientation (TIFF 6.0, page 36).
UPRIGHT = {
    1: PIXELS,
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.swapaxes(0, 1),
    6: PIXELS.swapaxes(0, 1)[:, ::-1],
    7: PIXELS.swapaxes(0, 1)[::-1, ::-1],
    8: PIXELS.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("number", UPRIGHT)
def test_orientation(number, tmp_path):
    """The image is turned, and so is the box of one of its pixels."""
    encoded = stored(PHOTO, tiffinfo={0x0112: number})
    found = shown(encoded, tmp_path)
    np.testing.assert_array_equal(found, UPRIGHT[number])
    box = relative_box(str(tmp_path / "image"), (7, 4, 1, 1))
    assert box
    ymin, xmin, *_ = box
    row, column = round(ymin * found.shape[0]), round(xmin * found.shape[1])
    np.testing.assert_array_equal(found[row, column], PIXELS[4, 7])


def test_orientation_of_avif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    rows, columns = np.mgrid[:48, :64]
    smooth = np.stack([5 * rows, 4 * columns, 0 * rows], axis=-1).astype(np.uint8)
    encoded = stored(Image.fromarray(smooth), "AVIF", quality=95, exif=exif)
    truth = smooth.swapaxes(0, 1)[:, ::-1]
    found = shown(encoded, tmp_path)
    assert found.shape == truth.shape
    assert abs(found.astype(int) - truth).mean() < 4


def test_jpeg_2000_without_loss(tmp_path):
    np.testing.assert_array_equal(shown(stored(PHOTO, "JPEG2000"), tmp_path), PIXELS)


def test_heic(tmp_path):
    found = shown(HEIC, tmp_path).astype(int)
    assert found.shape == (24, 32, 3)
    quarters = found[3:-3, 3:-3][[0, 0, -1, -1], [0, -1, 0, -1]]
    colours = [(200, 30, 30), (20, 200, 40), (240, 240, 10), (20, 30, 220)]
    assert abs(quarters - colours).max() <= 8


def test_heic_without_its_plug_in(tmp_path, monkeypatch):
    monkeypatch.setenv("DEML_TF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "phone.heic").write_bytes(HEIC)
    path = str(tmp_path / "phone.heic")
    with monkeypatch.context() as without:
        without.setattr(converted_formats, "_PLUG_IN", "no_such_module")
        assert converted(HEIC) is HEIC
        bad = find_bad([path])[path]
        assert bad == 'it is HEIC, which needs pip install "deml_tf[formats]"'
        judged_without = find_bad([path])
    assert find_bad([path]) == {}  # nothing stale is remembered
    monkeypatch.setattr(converted_formats, "_PLUG_IN", "no_such_module")
    assert find_bad([path]) == judged_without


def test_what_cannot_be_converted_stays_and_says_why():
    floats = Image.fromarray(np.ones((8, 8), np.float32))
    huge = Image.new("1", (2**14, MOST_PIXELS // 2**14 + 1))
    reasons = {
        stored(floats): "its samples have 32 bits, not 8 or 16",
        stored(huge, compression="group4"): "it has more than 100 million pixels",
        stored(PHOTO)[:60]: "it begins as TIFF, but cannot be decoded",
        HEIC[:300]: "it begins as HEIC, but cannot be decoded",
    }
    for encoded, reason in reasons.items():
        assert converted(encoded) is encoded
        assert why_not_converted(encoded) == reason


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "JPEG2000", "HEIC"])
def test_an_image_is_not_copied_for_nothing(kind, monkeypatch):
    encoded = HEIC if kind == "HEIC" else stored(PHOTO, kind)
    expected = converted(encoded)
    monkeypatch.delattr(Image.Image, "copy")  # of pixels; a large image has many
    assert expected is not encoded and converted(encoded) == expected


def test_large_images_are_converted_one_at_a_time(monkeypatch):
    alone, turn = [], converted_formats._LARGE_TURN

    def seen(image):
        alone.append(not turn.acquire(blocking=False))
        if not alone[-1]:
            turn.release()
        return image

    monkeypatch.setattr(converted_formats, "_LARGE", PIXELS.size // 3)
    monkeypatch.setattr(converted_formats, "_rgb", seen)
    converted(stored(PHOTO))
    converted(stored(PHOTO.resize((32, 32))))
    assert alone == [False, True]
    assert turn.acquire(blocking=False)  # it was given back
    turn.release()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_other_formats_are_left_alone(kind):
    encoded = stored(PHOTO, kind)
    assert converted(encoded) is encoded
    assert not why_not_converted(encoded)


def test_the_pattern_finds_what_the_names_find():
    """In the graph the first bytes decide; each format's are found, others are not."""
    heads = [HEIC, *(stored(PHOTO, kind) for kind in ("TIFF", "AVIF", "JPEG2000"))]
    big = [stored(PHOTO, big_tiff=True), b"MM\0*" + bytes(8), b"MM\0+" + bytes(8)]
    for encoded in [head[:12] for head in heads + big]:
        assert format_of(encoded)
        assert tf.strings.regex_full_match(encoded, HEADS)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        encoded = stored(PHOTO, kind)[:12]
        assert not format_of(encoded)
        assert not tf.strings.regex_full_match(encoded, HEADS)
    for encoded in (b"", b"II", b"II*\0", b"\n" * 12, bytes(range(244, 256))):
        found = bool(tf.strings.regex_full_match(encoded, HEADS))
        assert found == bool(format_of(encoded))


def test_junk_behind_a_true_head_is_no_error():
    random = np.random.default_rng(5)
    for head in (b"II*\0", b"MM\0*", b"\0\0\0\x1cftypheic", b"\0\0\0\x1cftypavif"):
        for length in (0, 1, 30, 400):
            encoded = head + random.bytes(length)
            assert converted(encoded) is encoded
            assert why_not_converted(encoded)


def test_training_sees_the_same_pixels(tmp_path):
    """Batches of TIFF files are those of PNG files, cut and mirrored alike."""
    batches = {}
    for kind in ("png", "tif"):
        examples = []
        for n in range(8):
            path = tmp_path / f"{n}.{kind}"
            image = Image.fromarray(np.roll(PIXELS, 5 * n, axis=1))
            image.save(path)
            examples.append(Example(str(path), f"bird {n % 2}"))
        table = BatchTable(class_ids(examples)[0], 2, 3, seed=4)
        sizes: Any = {
            "resize_size": 16,
            "input_size": 12,
            "first_step": 0,
            "last_step": 4,
        }
        batches[kind] = training_dataset(examples, table, **sizes).as_numpy_iterator()
    for one, other in zip(batches["png"], batches["tif"], strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("name", ["{}.TIF", "{}", "{}.jpg"])
def test_a_data_service_says_that_it_does_not_convert(name, tmp_path):
    examples = []
    for n in range(8):
        path = tmp_path / name.format(n)
        if n == 7:
            Image.fromarray(PIXELS).save(path, "TIFF")
        examples.append(Example(str(path), f"bird {n % 2}"))
    table = BatchTable(class_ids(examples)[0], 2, 3, seed=4)
    with pytest.raises(DataError, match=r"cannot convert .*: save it as PNG"):
        training_dataset(
            examples,
            table,
            resize_size=16,
            input_size=12,
            first_step=0,
            last_step=4,
            service="localhost:1",
        )


def test_a_client_says_which_format_a_server_refused():
    class Patient:
        def call(self, ask):
            return ask(1.0)

    images = {0: HEIC[:300], 1: b"text"}
    nothing = np.zeros(2, bool)
    outputs = Outputs(np.zeros((2, 4)), nothing, np.zeros((2, 1, 4)), ~nothing)
    answers = _send(lambda *_: outputs, images, cast(Any, Patient()))
    reasons = [answer.reason for _, answer in answers]
    assert reasons == ["it begins as HEIC, but cannot be decoded", "not an image"]


def test_threads_keep_back_warnings_of_pillow_alone_and_for_a_while(monkeypatch):
    """Of two, the first one to come is the first one to go."""
    both, first_is_out = threading.Barrier(2, timeout=60), threading.Event()
    rgb = converted_formats._rgb

    def slow(image):
        second = image.width == 2
        both.wait()
        if second:
            assert first_is_out.wait(60)
            warnings.warn("of the program", stacklevel=1)
            warnings.warn_explicit("odd", UserWarning, "a.py", 1, "PIL.Image")
        return rgb(image)

    def first():
        found = converted(stored(Image.new("RGB", (1, 1))))
        first_is_out.set()
        return found

    def second():
        return converted(stored(Image.new("RGB", (2, 2))))

    monkeypatch.setattr(converted_formats, "_rgb", slow)
    with warnings.catch_warnings(record=True) as seen, ThreadPoolExecutor(2) as pool:
        warnings.simplefilter("always")
        before = [*warnings.filters]
        for job in [pool.submit(first), pool.submit(second)]:
            assert job.result().startswith(b"\x89PNG")
        assert warnings.filters == before
    assert [str(warning.message) for warning in seen] == ["of the program"]
