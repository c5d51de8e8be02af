"""The bounded map against a plain model: what is kept, what is forgotten, what it weighs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chain.lru import Lru

KEYS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(st.tuples(st.just("get"), KEYS), st.tuples(st.just("pop"), KEYS), st.tuples(KEYS, st.text(max_size=6)))
)


@given(STEPS, st.integers(1, 12), st.none() | st.integers(1, 4))
def test_as_a_list_in_the_order_of_use(steps: list, weight_max: int, entries_max: int | None) -> None:
    kept: Lru[int, str] = Lru(weight_max, len, entries_max)
    model: list[tuple[int, str]] = []
    for step in steps:
        known = dict(model)
        if step[0] == "get":
            assert kept.get(step[1]) == known.get(step[1])
            if step[1] in known:
                model = [*(pair for pair in model if pair[0] != step[1]), (step[1], known[step[1]])]
        elif step[0] == "pop":
            assert kept.pop(step[1]) == known.get(step[1])
            model = [pair for pair in model if pair[0] != step[1]]
        else:
            model = [*(pair for pair in model if pair[0] != step[0]), step]
            gone = []
            while len(model) > 1 and (
                sum(len(value) for _, value in model) > weight_max or len(model) > (entries_max or 99)
            ):
                gone.append(model.pop(0)[1])
            assert kept.put(*step) == gone
        assert kept.values() == [value for _, value in model]
        assert kept.weight == sum(len(value) for _, value in model)
    kept.drop(lambda key, _: key > 2)
    assert kept.values() == [value for key, value in model if key <= 2]


def test_values_are_dropped_while_another_thread_uses_them() -> None:
    kept: Lru[int, str] = Lru(9)
    for key in range(5):
        kept.put(key, "value")
    kept.drop(lambda key, _: kept.get(key) is None or key % 2 == 0)  # a `get` reorders
    assert len(kept) == 2
