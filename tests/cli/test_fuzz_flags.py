import fuzz_flags
from forks import CONTEXT


def told(queue, seed, rounds):
    said = []
    queue.put((*fuzz_flags.fuzz(seed, rounds=rounds, say=said.append), said))


def test_odd_values_end_in_a_sentence():
    """A slice of `python tests/cli/fuzz_flags.py`, in a process of its own flags."""
    queue = CONTEXT.SimpleQueue()
    process = CONTEXT.Process(target=told, args=(queue, 0, 16))
    process.start()
    tried, wrong, said = queue.get()
    process.join()
    assert not wrong, "\n".join(said)
    assert tried == 16 * fuzz_flags.ROUND
