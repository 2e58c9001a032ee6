import pytest

from deml_tf.bulk.shard_plan import ShardPlan, read_part
from deml_tf.errors import UsageError


@pytest.mark.parametrize("images", [1, 2, 7, 12, 13])
@pytest.mark.parametrize("shard_size", [1, 3, 4, 20])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
def test_every_image_is_in_one_batch_of_its_shard(images, shard_size, batch_size):
    plan = ShardPlan(images, shard_size, batch_size)
    expected = []  # by going through the images one by one
    for n in range(images):
        shard, place = divmod(n, shard_size)
        if place % batch_size == 0:
            expected.append((shard, []))
        expected[-1][1].append(n)
    assert plan.shards == expected[-1][0] + 1
    for shard in range(plan.shards):
        own = [rows for number, rows in expected if number == shard]
        assert [list(rows) for rows in plan.batches([shard])] == own
        assert list(plan.rows(shard)) == sum(own, [])
    whole = [list(rows) for rows in plan.batches(range(plan.shards))]
    assert whole == [rows for _, rows in expected]


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_parts_share_the_shards(parts):
    plan = ShardPlan(21, 3, 2)
    shared = [plan.part(number, parts) for number in range(1, parts + 1)]
    assert sorted(shard for part in shared for shard in part) == [*range(7)]
    assert max(map(len, shared)) - min(map(len, shared)) <= 1
    for number, part in enumerate(shared):
        assert all(shard % parts == number for shard in part)


def test_reads_parts():
    assert read_part("1/1") == (1, 1) and read_part("3/12") == (3, 12)
    for part in ("3/2", "0/2", "1", "1/", "-1/2", "a/b", "1/0", "1/2/3", "٣/٤", " 1/2"):
        with pytest.raises(UsageError, match=f"^part={part}: give K/N"):
            read_part(part)
