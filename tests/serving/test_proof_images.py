from deml_tf.data.example import Example
from deml_tf.serving.proof_images import stored_images


def test_small_files_are_found_at_the_end_of_the_list(tmp_path):
    """Later ones are smaller, and the last one cannot be read."""
    for n in range(99):
        (tmp_path / str(n)).write_bytes(b"x" * (100 - n))
    examples = [Example(str(tmp_path / str(n)), "a") for n in range(100)]
    lengths = [len(image) for image in stored_images(examples, 8)]
    assert len(lengths) == 8 and lengths == sorted(lengths) and lengths[-1] < 20
    assert stored_images(examples[99:], 8) == stored_images([], 8) == []
    assert len(stored_images(examples[:5], 8)) == 5
