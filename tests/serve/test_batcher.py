"""The queue: what waits together runs together, what fails fails alone, nothing is lost."""

import asyncio
import threading
import time

import pytest

from modelscope_ext.serve.batcher import Batcher
from modelscope_ext.serve.refusal import Refused


def run(main):
    return asyncio.run(main())


def test_inputs_that_wait_run_together_and_answers_go_to_their_askers():
    seen = []

    def work(items, options):
        seen.append(len(items))
        time.sleep(0.02)
        return [item * options["by"] for item in items]

    async def main():
        async with Batcher(work, most=8, wait=0.05) as batcher:
            return await asyncio.gather(*(batcher.submit(i, {"by": 2}, "two") for i in range(20)))

    assert run(main) == [2 * i for i in range(20)]
    assert seen == [8, 8, 4]


def test_only_inputs_with_the_same_options_share_a_batch():
    seen = []

    def work(items, options):
        seen.append((options["by"], sorted(items)))
        return [item * options["by"] for item in items]

    async def main():
        async with Batcher(work, wait=0.05) as batcher:
            asked = [batcher.submit(i, {"by": i % 2}, str(i % 2)) for i in range(6)]
            return await asyncio.gather(*asked)

    assert run(main) == [0, 1, 0, 3, 0, 5]
    assert sorted(seen) == [(0, [0, 2, 4]), (1, [1, 3, 5])]


def test_an_input_that_fails_fails_alone():
    def work(items, options):
        return [10 // item for item in items]

    async def main():
        async with Batcher(work, wait=0.05) as batcher:
            return await asyncio.gather(*(batcher.submit(i, {}, "") for i in (5, 0, 2)), return_exceptions=True)

    five, zero, two = run(main)
    assert (five, two) == (2, 5)
    assert isinstance(zero, ZeroDivisionError)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(), MemoryError()])
def test_no_error_of_a_model_ends_its_thread(error):
    def work(items, options):
        if items[0] == "bad":
            raise error
        return items

    async def main():
        async with Batcher(work, wait=0) as batcher:
            with pytest.raises(Exception) as caught:
                await batcher.submit("bad", {}, "")
            return caught.value, await batcher.submit("good", {}, "")

    raised, good = run(main)
    assert good == "good"
    assert raised is error or raised.__cause__ is error


def test_the_one_that_came_first_goes_first():
    order = []

    def work(items, options):
        order.append(options["n"])
        time.sleep(0.01)
        return items

    async def main():
        async with Batcher(work, most=2, wait=0) as batcher:
            keys = [0, 1, 0, 0, 2, 0, 0]
            asked = []
            for key in keys:
                asked.append(asyncio.ensure_future(batcher.submit(key, {"n": key}, key)))
                await asyncio.sleep(0.0001)
            await asyncio.gather(*asked)

    run(main)
    assert order.index(1) < 3 and order.index(2) < 5, order  # neither waits until all of key 0 are done


def test_what_nobody_waits_for_is_not_run():
    ran, gate = [], threading.Event()

    def work(items, options):
        gate.wait(10)
        ran.extend(items)
        return items

    async def main():
        async with Batcher(work, most=1, wait=0) as batcher:
            first = asyncio.ensure_future(batcher.submit("first", {}, ""))
            await asyncio.sleep(0.05)
            second = asyncio.ensure_future(batcher.submit("second", {}, ""))
            await asyncio.sleep(0.01)
            second.cancel()
            await asyncio.sleep(0.01)
            gate.set()
            await first
            return await batcher.submit("third", {}, "")

    assert run(main) == "third"
    assert ran == ["first", "third"]


def test_closing_answers_what_waits_and_takes_nothing_more():
    def work(items, options):
        time.sleep(0.02)
        return items

    async def main():
        batcher = Batcher(work, most=1, wait=0)
        async with batcher:
            asked = [asyncio.ensure_future(batcher.submit(i, {}, "")) for i in range(5)]
            await asyncio.sleep(0)
        with pytest.raises(Refused, match="stopping"):
            await batcher.submit(9, {}, "")
        return await asyncio.gather(*asked)

    assert run(main) == [0, 1, 2, 3, 4]


def test_a_stream_comes_piece_by_piece_and_ends_when_its_reader_leaves():
    closed, made = threading.Event(), []

    def pieces():
        try:
            for i in range(1000):
                made.append(i)
                time.sleep(0.002)
                yield i
        finally:
            closed.set()

    async def main():
        async with Batcher(lambda items, options: items, wait=0) as batcher:
            got = []
            walker = batcher.stream(pieces)
            async for piece in walker:
                got.append(piece)
                if piece == 3:
                    break
            await walker.aclose()
            return got, await batcher.submit("next", {}, "")

    got, after = run(main)
    assert got == [0, 1, 2, 3]
    assert after == "next"
    assert closed.is_set() and len(made) < 900


def test_an_error_in_a_stream_reaches_its_reader():
    def pieces():
        yield "a"
        raise LookupError("b")

    async def main():
        async with Batcher(lambda items, options: items, wait=0) as batcher:
            got = []
            with pytest.raises(LookupError, match="b"):
                async for piece in batcher.stream(pieces):
                    got.append(piece)
            return got

    assert run(main) == ["a"]


def test_an_answer_is_finished_in_the_models_thread():
    async def main():
        async with Batcher(lambda items, options: items, name="m", wait=0) as batcher:
            return await batcher.submit(1, {}, "", lambda answer: (answer, threading.current_thread().name))

    answer, thread = run(main)
    assert answer == 1 and thread.startswith("m")
