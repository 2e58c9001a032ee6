import pytest

from deml_tf.data.image_files import is_image


@pytest.mark.parametrize(
    ("name", "readable", "listed"),
    [
        ("a.jpg", True, True),
        ("B.JPEG", True, True),
        ("möwe 1.webp", True, True),
        ("a.b.png", True, True),
        ("scan.TIF", False, True),
        ("phone.heic", False, True),
        (".hidden.jpg", False, False),
        (".jpg", False, False),
        ("notes.txt", False, False),
        ("jpg", False, False),
        ("a.jpg.part", False, False),
    ],
)
def test_names_of_images(name, readable, listed):
    assert is_image(name) == readable
    assert is_image(name, readable=False) == listed
