"""Batches: whose they equal, in which order, and what no number of threads changes."""

from __future__ import annotations

import gc
import itertools
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

import cnnzoo as cz
import pictures

PREPROCESS = cz.Preprocess(
    resize=40, crop=32, interpolation="bilinear", mean=(0.485, 0.456, 0.406), std=(0.2, 0.3, 0.4)
)
Batches = list[tuple[NDArray[np.float32], NDArray[np.int64]]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures.folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def dataset(root: Path) -> cz.data.Dataset:
    return cz.data.ImageFolder(root)


def arrays(count: int, side: int = 8) -> cz.data.Arrays:
    """Each picture has its number as its first bytes, which its label is too."""
    x = np.zeros((count, side, side, 3), np.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = np.arange(count) // 256, np.arange(count) % 256
    return cz.data.Arrays(x, np.arange(count))


def numbers(x: NDArray[np.float32]) -> list[int]:
    return [round(255 * 256 * float(one[0, 0, 0]) + 255 * float(one[1, 0, 0])) for one in x]


def same(one: Batches, other: Batches) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(x, X) and np.array_equal(y, Y)
        for (x, y), (X, Y) in zip(one, other, strict=True)
    )


# ---- what comes


def test_batches_equal_torchvisions(root: Path, dataset: cz.data.Dataset) -> None:
    transform = transforms.Compose(
        [
            transforms.Resize(PREPROCESS.resize),
            transforms.CenterCrop(PREPROCESS.crop),
            transforms.ToTensor(),
            transforms.Normalize(PREPROCESS.mean, PREPROCESS.std),
        ]
    )
    theirs = DataLoader(datasets.ImageFolder(str(root), transform), batch_size=4)
    mine = cz.data.Loader(dataset, batch_size=4, transform=PREPROCESS, shuffle=False)
    assert len(mine) == len(theirs) == 6
    for (x, y), (X, Y) in zip(mine, theirs, strict=True):
        assert x.dtype == np.float32 and y.dtype == np.int64
        assert x.flags.c_contiguous and x.flags.writeable
        np.testing.assert_array_equal(x, X.numpy())
        np.testing.assert_array_equal(y, Y.numpy())


def test_jpegs_come_as_they_decode(tmp_path: Path) -> None:
    pictures.folder(tmp_path, ending=".jpg")
    dataset = cz.data.ImageFolder(tmp_path)
    ((x, _),) = cz.data.Loader(dataset, batch_size=50, transform=PREPROCESS, shuffle=False)
    expected = PREPROCESS([dataset.name(index) for index in range(len(dataset))])
    np.testing.assert_array_equal(x, expected)


def test_without_a_transform_bytes_become_numbers_of_0_to_1() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    loader = cz.data.Loader(cz.data.Arrays(pixels, np.arange(5)), batch_size=2, shuffle=False)
    x = np.concatenate([x for x, _ in loader])
    expected = torch.stack([transforms.functional.to_tensor(one) for one in pixels])
    np.testing.assert_array_equal(x, expected.numpy())


def test_pictures_of_two_sizes_make_no_batch(dataset: cz.data.Dataset) -> None:
    for policy in ("raise", "skip", "replace"):
        with pytest.raises(cz.ShapeError, match="a transform that resizes makes all alike"):
            next(iter(cz.data.Loader(dataset, on_error=policy)))


# ---- order


@pytest.mark.parametrize("threads", range(1, 9))
def test_no_number_of_threads_changes_a_bit(dataset: cz.data.Dataset, threads: int) -> None:
    one = cz.data.Loader(dataset, batch_size=4, transform=PREPROCESS, threads=1, seed=3)
    many = cz.data.Loader(
        dataset, batch_size=4, transform=PREPROCESS, threads=threads, seed=3, prefetch=threads
    )
    for _ in range(2):
        assert same(list(one), list(many))


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 5000])
def test_an_epoch_has_every_sample_once(size: int) -> None:
    loader = cz.data.Loader(arrays(1000), batch_size=size, seed=1)
    epochs = [[(numbers(x), list(y)) for x, y in loader] for _ in range(3)]
    orders = []
    for number, epoch in enumerate(epochs):
        assert [len(y) for _, y in epoch[:-1]] == [size] * (len(loader) - 1)
        order = list(itertools.chain.from_iterable(y for _, y in epoch))
        assert list(itertools.chain.from_iterable(x for x, _ in epoch)) == order
        assert sorted(order) == list(range(1000))
        assert order == list(loader.order(number))
        orders.append(order)
    assert orders[0] != orders[1] != orders[2]


def test_every_order_is_as_likely() -> None:
    loader = cz.data.Loader(arrays(4), batch_size=4)
    drawn = [tuple(loader.order(epoch).tolist()) for epoch in range(24 * 200)]
    counts = np.array([drawn.count(order) for order in itertools.permutations(range(4))])
    # Chi squared with 23 degrees of freedom: 49.7 is exceeded once in a thousand seeds.
    assert ((counts - 200) ** 2 / 200).sum() < 49.7


def test_another_seed_draws_another_order() -> None:
    orders = [cz.data.Loader(arrays(100), seed=seed).order(0).tolist() for seed in range(3)]
    assert orders[0] != orders[1] != orders[2]
    again = cz.data.Loader(arrays(100), seed=2, batch_size=7, threads=1).order(0).tolist()
    assert again == orders[2]


def splitmix(state: int) -> int:
    """The finaliser of SplitMix64, one step on."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def shuffled(count: int, seed: int, epoch: int) -> list[int]:
    """The order as random.rs defines it: Fisher and Yates on xoshiro256++, keyed by mixing."""
    key = splitmix(splitmix(splitmix(seed) ^ epoch) ^ 2**64 - 1)
    state = [splitmix((key + step * 0x9E3779B97F4A7C15) % 2**64) for step in range(4)]

    def rotated(number: int, bits: int) -> int:
        return (number << bits | number >> 64 - bits) % 2**64

    def draw() -> int:
        a, b, c, d = state
        drawn = (rotated((a + d) % 2**64, 23) + a) % 2**64
        c, d = c ^ a, d ^ b
        state[:] = [a ^ d, b ^ c, c ^ (b << 17) % 2**64, rotated(d, 45)]
        return drawn

    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = draw() * (last + 1) >> 64
        order[last], order[other] = order[other], order[last]
    return order


def test_the_format_of_a_seed_stays() -> None:
    """A state in a run checkpoint means the same order in every version."""
    for seed, epoch in [(0, 0), (5, 3), (2**64 - 1, 1000)]:
        order = cz.data.Loader(arrays(50), seed=seed).order(epoch).tolist()
        assert order == shuffled(50, seed, epoch)


def test_drop_last_leaves_out_what_is_smaller() -> None:
    loader = cz.data.Loader(arrays(10), batch_size=4, drop_last=True)
    assert [len(y) for _, y in loader] == [4, 4]
    assert len(loader) == 2
    with pytest.raises(cz.ArgumentError, match="at most 10 samples"):
        cz.data.Loader(arrays(10), batch_size=11, drop_last=True)


# ---- resuming


@pytest.mark.parametrize("batch", [0, 1, 3, 5, 6])
def test_an_epoch_is_gone_on_with_bit_for_bit(dataset: cz.data.Dataset, batch: int) -> None:
    options: dict[str, Any] = {"batch_size": 4, "transform": PREPROCESS, "seed": 7}
    straight = cz.data.Loader(dataset, **options)
    expected = [list(straight) for _ in range(3)]
    first = cz.data.Loader(dataset, **options)
    list(first)
    if batch:
        list(itertools.islice(first, batch))
    state = json.loads(json.dumps(asdict(first.state())))
    assert (state["epoch"], state["batch"]) == (1, batch)
    second = cz.data.Loader(dataset, **options, threads=1, start=state)
    assert same(list(second), expected[1][batch:])
    assert same(list(second), expected[2])


def test_what_came_before_is_not_read_again(root: Path, tmp_path: Path) -> None:
    """Batches before the start may be unreadable: nobody looks."""
    for seed in range(8):
        pictures.save(tmp_path / "a" / f"{seed}.png", seed)
    dataset = cz.data.ImageFolder(tmp_path)
    loader = cz.data.Loader(dataset, batch_size=2, transform=PREPROCESS, shuffle=False)
    state = replace(loader.state(), batch=3)
    for seed in range(6):
        (tmp_path / "a" / f"{seed}.png").write_bytes(b"")
    loader.load_state(state)
    assert len(list(loader)) == 1


def test_what_is_left_early_is_not_gone_on_with() -> None:
    loader = cz.data.Loader(arrays(10), batch_size=2)
    for _ in loader:
        break
    state = loader.state()
    assert (state.epoch, state.batch) == (0, 1)
    assert np.concatenate([y for _, y in loader]).tolist() == loader.order(1).tolist()
    loader.set_epoch(7)
    assert np.concatenate([y for _, y in loader]).tolist() == loader.order(7).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"batch_size": 3},
        {"shuffle": False},
        {"drop_last": True},
        {"transform": "RandomHorizontalFlip(p=0.5)"},
        {"fingerprint": "0" * 16},
        {"batch": 6},
        {"epoch": -1},
    ],
)
def test_a_state_of_another_run_is_refused(change: dict[str, Any]) -> None:
    loader = cz.data.Loader(arrays(10), batch_size=2)
    with pytest.raises(cz.CheckpointError, match=r"loader state.*: expected"):
        loader.load_state(asdict(loader.state()) | change)
    with pytest.raises(cz.CheckpointError, match=r"`loader state\.epoch`: expected a value"):
        loader.load_state({})


def test_a_state_of_other_types_is_refused() -> None:
    loader = cz.data.Loader(arrays(10), batch_size=2)
    plain = asdict(loader.state())
    others: list[Any] = [None, "x", 1.5, -1, 2**64, 2**63, [], {}, np.zeros(2)]
    for name in plain:
        for other in others:
            with pytest.raises(cz.CheckpointError, match="loader state"):
                loader.load_state({**plain, name: other})
    foreign: list[Any] = [5, "state", [1], {**plain, "more": 1}]
    for other in foreign:
        with pytest.raises(cz.CheckpointError, match="`loader state`"):
            loader.load_state(other)


def test_two_iterations_at_once_do_not_mix() -> None:
    loader = cz.data.Loader(arrays(20), batch_size=2)
    one, other = iter(loader), iter(loader)
    pairs = list(zip(one, other, strict=True))
    assert np.concatenate([y for (_, y), _ in pairs]).tolist() == loader.order(0).tolist()
    assert np.concatenate([y for _, (_, y) in pairs]).tolist() == loader.order(1).tolist()
    assert loader.state().epoch == 2


# ---- broken files


def bomb(width: int, height: int) -> bytes:
    """A PNG file whose header promises more pixels than any memory holds."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def break_some(root: Path) -> tuple[cz.data.Dataset, dict[str, str]]:
    """Breaks files of the class `a`, of which 12 stay; says of each what a message says."""
    for seed in range(12):
        pictures.save(root / "a" / f"{seed:02}.jpg", seed)
    folder = root / "a"
    whole = (folder / "00.jpg").read_bytes()
    png = pictures.save(folder / "crc.png", 0).read_bytes()
    at = png.index(b"IDAT") + 40
    frame = whole.index(b"\xff\xc0") + 5
    for name, body in {
        "cut.jpg": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "text.jpg": b"not a picture\n",
        "picture.bmp": b"BM" + bytes(60),
        "crc.png": png[:at] + bytes([png[at] ^ 1]) + png[at + 1 :],
        "head.png": png[:20],
        "area.png": bomb(60_000, 60_000),
        "side.png": bomb(2**31 - 1, 1),
        "area.jpg": whole[:frame] + struct.pack(">HH", 65_500, 65_500) + whole[frame + 4 :],
        "folder.jpg": b"",
        "gone.jpg": b"",
    }.items():
        (folder / name).write_bytes(body)
    (folder / "nowhere.jpg").symlink_to(root / "missing")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    dataset = cz.data.ImageFolder(root)
    # What changes after it was listed.
    (folder / "gone.jpg").unlink()
    (folder / "folder.jpg").unlink()
    (folder / "folder.jpg").mkdir()
    return dataset, {
        "cut.jpg": "a complete, undamaged JPEG file",
        "empty.jpg": "an empty file",
        "text.jpg": 'text that begins with "not a picture"',
        "picture.bmp": "bytes 42 4d 00 00",
        "crc.png": "a complete, undamaged PNG file",
        "head.png": "a complete, undamaged PNG file, got a truncated file",
        "area.png": "at most 178956970 pixels, got 60000x60000",
        "side.png": "sides of at most 1048576 pixels, got 2147483647x1",
        "area.jpg": "at most 178956970 pixels, got 65500x65500",
        "folder.jpg": "a directory",
        "gone.jpg": "No such file",
        "nowhere.jpg": "No such file",
        "circle.jpg": "Too many levels of symbolic links",
    }


@pytest.mark.parametrize("policy", ["raise", "skip", "replace"])
def test_every_broken_file_follows_the_policy(tmp_path: Path, policy: Any) -> None:
    dataset, broken = break_some(tmp_path)
    names = [Path(dataset.name(index)).name for index in range(len(dataset))]
    whole = names.index("07.jpg")
    expected = PREPROCESS(dataset.name(whole))
    for name, message in broken.items():
        bad = names.index(name)
        loader = cz.data.Loader(
            dataset.subset([whole, bad]),
            batch_size=1,
            transform=PREPROCESS,
            shuffle=False,
            on_error=policy,
        )
        if policy == "raise":
            batches = iter(loader)
            np.testing.assert_array_equal(next(batches)[0], expected)
            with pytest.raises(cz.DataError) as caught:
                next(batches)
            error: Exception = caught.value
        else:
            with pytest.warns(cz.data.DataWarning, match=re.escape(message)):
                x = np.concatenate([x for x, _ in loader])
            count = 1 if policy == "skip" else 2
            np.testing.assert_array_equal(x, np.repeat(expected, count, axis=0))
            (sample,) = loader.bad_samples
            error = sample.error
        assert str(error).startswith(str(tmp_path / "a" / name)), name
        assert message in str(error)
        assert isinstance(error, FileNotFoundError) == (message == "No such file")


@pytest.mark.parametrize("threads", [1, 4])
def test_raise_names_the_first_broken_file_of_the_order(tmp_path: Path, threads: int) -> None:
    dataset, broken = break_some(tmp_path)
    names = [Path(dataset.name(index)).name for index in range(len(dataset))]
    for epoch in range(4):
        loader = cz.data.Loader(dataset, batch_size=2, transform=PREPROCESS, threads=threads)
        loader.set_epoch(epoch)
        order = [names[index] for index in loader.order(epoch)]
        place, first = next((at, name) for at, name in enumerate(order) if name in broken)
        with pytest.raises(cz.DataError) as caught:
            list(loader)
        assert loader.state().batch == place // 2
        assert str(tmp_path / "a" / first) in str(caught.value)
        assert broken[first] in str(caught.value)
        assert caught.type is not cz.errors.PhotoNotFoundError or broken[first] == "No such file"


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_skip_leaves_them_out_and_tells(tmp_path: Path, threads: int, shuffle: bool) -> None:
    dataset, broken = break_some(tmp_path)
    loader = cz.data.Loader(
        dataset,
        batch_size=3,
        transform=PREPROCESS,
        shuffle=shuffle,
        threads=threads,
        on_error="skip",
    )
    with pytest.warns(cz.data.DataWarning, match="is skipped: .*expected|No such") as told:
        batches = list(loader)
    assert len(told) == 1
    order = [Path(dataset.name(index)) for index in loader.order(0)]
    kept = [path for path in order if path.name not in broken]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), PREPROCESS(kept))
    assert all(len(x) == len(y) > 0 for x, y in batches)
    bad = loader.bad_samples
    assert [sample.name for sample in bad] == [str(path) for path in order if path not in kept]
    for sample in bad:
        assert broken[Path(sample.name).name] in str(sample.error)
        assert dataset.name(sample.index) == sample.name
        assert sample.replacement is None


def test_replace_keeps_every_batch_whole(tmp_path: Path) -> None:
    dataset, broken = break_some(tmp_path)
    seen = []
    for threads in (1, 5):
        loader = cz.data.Loader(
            dataset, batch_size=4, transform=PREPROCESS, threads=threads, on_error="replace"
        )
        with pytest.warns(cz.data.DataWarning, match="is replaced by sample"):
            batches = list(loader)
        instead = {sample.index: sample.replacement for sample in loader.bad_samples}
        assert len(instead) == len(broken)
        order = [instead.get(index, index) for index in loader.order(0).tolist()]
        expected = PREPROCESS([dataset.name(index) for index in order if index is not None])
        np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), expected)
        np.testing.assert_array_equal(
            np.concatenate([y for _, y in batches]), dataset.labels[order]
        )
        seen.append(instead)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("policy", ["raise", "skip", "replace"])
def test_nothing_but_broken_files_is_an_error(tmp_path: Path, policy: Any) -> None:
    (tmp_path / "a").mkdir()
    for name in ("one.jpg", "two.jpg"):
        (tmp_path / "a" / name).write_bytes(b"")
    loader = cz.data.Loader(cz.data.ImageFolder(tmp_path), on_error=policy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cz.data.DataWarning)
        with pytest.raises(cz.DataError, match=r"(one|two)\.jpg: .*an empty file"):
            list(loader)


# ---- threads and memory


def threads() -> set[str]:
    """The threads of this process that are a loader's."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            if (task / "comm").read_text().startswith("cnnzoo-loader"):
                found.add(task.name)
        except OSError:
            pass
    return found


def assert_threads(count: int) -> None:
    """That many soon: the system names a thread after it begins, and lists it after it ends."""
    end = time.monotonic() + 5
    while len(threads()) != count and time.monotonic() < end:
        time.sleep(0.001)
    assert len(threads()) == count


def test_threads_run_with_an_iteration_and_end_with_it() -> None:
    assert_threads(0)
    loader = cz.data.Loader(arrays(1000), batch_size=2, threads=5)
    assert_threads(0)
    batches = iter(loader)
    next(batches)
    assert_threads(5)
    list(batches)
    assert_threads(0)


def test_leaving_early_ends_the_threads(dataset: cz.data.Dataset) -> None:
    loader = cz.data.Loader(dataset, batch_size=2, transform=PREPROCESS, threads=4)
    for _ in range(20):
        for _ in loader:
            break
        assert_threads(0)
    # Never begun, and only then forgotten.
    batches = iter(loader)
    del batches, loader
    gc.collect()
    assert_threads(0)


def test_a_failure_ends_the_threads(tmp_path: Path) -> None:
    dataset, _ = break_some(tmp_path)
    loader = cz.data.Loader(dataset, batch_size=1, transform=PREPROCESS, threads=4)
    with pytest.raises(cz.DataError) as caught:
        list(loader)
    assert caught.value
    assert_threads(0)


SLOW_CONSUMER = """
import os, time
from pathlib import Path
import numpy as np
import cnnzoo as cz

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

side, samples, size = 256, 640, 64
dataset = cz.data.Arrays(np.zeros((samples, side, side, 3), np.uint8), np.zeros(samples, int))
loader = cz.data.Loader(dataset, batch_size=size, threads=4, prefetch=3)
batch = size * 3 * side * side * 4
before = resident()
batches = iter(loader)
taken = next(batches)
del taken
end = time.monotonic() + 60
# Grown to what is expected, and then still for a while.
grown, since = 0, time.monotonic()
while time.monotonic() < end:
    time.sleep(0.02)
    now = resident() - before
    if abs(now - grown) > batch // 20:
        grown, since = now, time.monotonic()
    elif grown > 2.8 * batch and time.monotonic() - since > 0.5:
        break
print(grown / batch)
"""


def test_a_slow_consumer_bounds_the_memory() -> None:
    """Three batches are ahead, and no more however long one waits, beside which all else is small.

    Batches that were taken are not held either; by the allocator neither, hence a process of its
    own, which training has not told to keep freed memory.
    """
    command = [sys.executable, "-c", SLOW_CONSUMER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert 2.8 < float(done.stdout) < 3.8


def test_a_batch_belongs_to_whoever_took_it() -> None:
    batches = list(cz.data.Loader(arrays(64), batch_size=4, shuffle=False))
    gc.collect()
    assert list(itertools.chain.from_iterable(numbers(x) for x, _ in batches)) == list(range(64))


def test_python_goes_on_while_a_batch_is_waited_for(tmp_path: Path) -> None:
    picture = pictures.save(tmp_path / "a" / "0.jpg", 0, width=1500, height=1000)
    for other in range(1, 60):
        os.link(picture, picture.with_name(f"{other}.jpg"))
    loader = cz.data.Loader(cz.data.ImageFolder(tmp_path), transform=PREPROCESS)
    ticks: list[float] = []
    done = threading.Event()

    def count() -> None:
        while not done.wait(0.001):
            ticks.append(time.perf_counter())

    counter = threading.Thread(target=count)
    counter.start()
    try:
        begin = time.perf_counter()
        next(iter(loader))
        end = time.perf_counter()
    finally:
        done.set()
        counter.join()
    assert end - begin > 10 * sys.getswitchinterval(), "too quick to tell"
    assert len([tick for tick in ticks if begin < tick < end]) >= 5


def test_many_threads_take_from_one_iteration() -> None:
    loader = cz.data.Loader(arrays(3000), batch_size=10, threads=3)
    engine = loader._engine.epoch(0, 0)
    taken: list[int] = []

    def take() -> None:
        while (batch := engine.next()) is not None:
            taken.extend(batch[2].tolist())

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert sorted(taken) == list(range(3000))


# ---- forks and signals


def in_a_fork(work: Any) -> int:
    """Runs it in a forked child that has ten seconds; its exit status."""
    with warnings.catch_warnings():
        # Python warns of forks beside threads, which is what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_child_begins_epochs_of_its_own(dataset: cz.data.Dataset) -> None:
    loader = cz.data.Loader(dataset, batch_size=2, transform=PREPROCESS, threads=3)
    running = iter(loader)
    next(running)
    expected = list(cz.data.Loader(dataset, batch_size=2, transform=PREPROCESS))

    def work() -> None:
        fresh = cz.data.Loader(dataset, batch_size=2, transform=PREPROCESS, threads=3)
        assert same(list(fresh), expected)
        loader.set_epoch(0)
        assert same(list(loader), expected)

    for _ in range(5):
        assert in_a_fork(work) == 0
    assert len(list(running)) == len(loader) - 1


def test_an_iteration_of_the_parent_is_refused_in_a_fork(dataset: cz.data.Dataset) -> None:
    loader = cz.data.Loader(dataset, batch_size=2, transform=PREPROCESS, threads=3)
    running = iter(loader)
    next(running)

    def work() -> None:
        nonlocal running
        with pytest.raises(cz.ArgumentError, match="begin an epoch there"):
            next(running)
        del running

    for _ in range(5):
        assert in_a_fork(work) == 0
    assert len(list(running)) == len(loader) - 1


# Whoever starts a job in the background may have told it to ignore SIGINT.
INTERRUPTED = """
import signal
import numpy as np
import cnnzoo as cz

signal.signal(signal.SIGINT, signal.default_int_handler)
dataset = cz.data.Arrays(np.zeros((1, 3000, 3000, 3), np.uint8), [0])
long = cz.transforms.RandAugment(num_ops=1000)
batches = iter(cz.data.Loader(dataset, threads=1, transform=long))
print("waiting", flush=True)
try:
    next(batches)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_control_c_is_heard_while_a_batch_is_waited_for() -> None:
    """Also where its one sample takes a minute."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)


# ---- arguments


@pytest.mark.parametrize("name", ["batch_size", "threads", "prefetch"])
def test_zero_is_no_number_of_anything(name: str) -> None:
    with pytest.raises(cz.ArgumentError, match=f"loader: {name}: expected at least 1, got 0"):
        cz.data.Loader(arrays(4), **cast(Any, {name: 0}))


def test_another_policy_or_transform_is_refused() -> None:
    with pytest.raises(cz.ArgumentError, match="raise, skip or replace, got ignore"):
        cz.data.Loader(arrays(4), on_error=cast(Any, "ignore"))
    with pytest.raises(
        cz.ArgumentError, match="transform: expected a transform, a Preprocess, or none"
    ):
        cz.data.Loader(arrays(4), transform=lambda x: x)


def test_importing_it_stays_light() -> None:
    heavy = "{'csv', 'urllib.request', 'torch', 'PIL'}"
    program = f"import sys, cnnzoo.data; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
