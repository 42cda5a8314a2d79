"""Values come in order, whoever makes them, and no more than a few are made ahead."""

import threading

import pytest

from surgicalft.ahead import ahead


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_it_is_map(workers):
    assert list(ahead(lambda x: x * x, range(20), workers)) == [x * x for x in range(20)]
    assert list(ahead(str, [], workers)) == []


def test_it_looks_only_a_few_items_ahead():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    values = ahead(str, items(), workers=2)
    assert next(values) == "0" and len(taken) <= 5
    values.close()
    assert len(taken) <= 5


def test_several_work_at_once():
    both = threading.Barrier(2, timeout=20)
    assert list(ahead(lambda _: both.wait() >= 0, range(4), workers=2)) == [True] * 4


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_in_its_place(workers):
    values = ahead(lambda x: 6 // x, [3, 2, 0, 1], workers)
    assert [next(values), next(values)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(values)
