from itertools import islice

from tenuto.client.backoff import backoff


def test_waits_grow_up_to_a_cap_and_no_two_are_alike() -> None:
    waits = list(islice(backoff(), 200))
    bounds = [min(0.1 * 2**number, 15.0) for number in range(200)]
    assert all(0 <= seconds <= bound for seconds, bound in zip(waits, bounds, strict=True))
    assert max(waits) > 7.5
    assert len(set(waits)) > 190
