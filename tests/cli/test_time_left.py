"""How long work will still take, whenever its parts end."""

from deml_tf.cli.time_left import TimeLeft


def shown(left):
    return left.render(None).plain


def test_parts_that_go_on_side_by_side_and_end_together(bar_clock):
    """Four at once, an hour each: of twelve, eight are left, which take two hours."""
    left = TimeLeft(12)
    assert left.seconds is None and shown(left) == "-:--:--"
    bar_clock.now += 3600
    for done in (1, 2, 3, 4):
        left.move(done)
        bar_clock.now += 2
    assert 7200 <= left.seconds <= 7212 and shown(left) == "2:00:10"
    bar_clock.now += 3000
    assert 4200 <= left.seconds <= 4212  # it counts down
    bar_clock.now += 9000
    assert left.seconds == 0 and shown(left) == "0:00:00"


def test_what_was_done_before_takes_no_time(bar_clock):
    left = TimeLeft(10, done=4)
    bar_clock.now += 60
    left.move(5)
    assert left.seconds == 300
    left.start(5)
    assert left.seconds is None
    bar_clock.now += 3
    left.move(8)
    assert left.per_second == 1 and left.seconds == 2
