"""A stopped run goes on to the same bits, however it ended; no run checkpoint is trusted."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import cnnzoo as cz
from train import small_run
from train.small_run import EPOCHS, loaders, pictures, summary, trainer

SCRIPT = Path(small_run.__file__)
LAST = "last.safetensors"
STEPS = 7 * EPOCHS


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return out.strip()


def written(folder: Path) -> tuple[int, int]:
    """The facts that tell one run checkpoint from the next."""
    try:
        status = (folder / LAST).stat()
    except FileNotFoundError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


def wait_for_checkpoints(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    seen = written(folder)
    deadline = time.monotonic() + 120
    while count and process.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint comes"
        now = written(folder)
        count -= now != seen
        seen = now
        time.sleep(0.001)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The result of the run without a stop, and its folder."""
    folder = tmp_path_factory.mktemp("straight")
    return finish(start(folder)), folder


def steps_of_log(folder: Path) -> list[int]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_killed_at_any_moment_it_ends_in_the_same_bits(
    straight: tuple[str, Path], tmp_path: Path
) -> None:
    expected, folder = straight
    moments = random.Random(0)
    kills = 0
    for _ in range(100):
        process = start(tmp_path)
        if kills < 6:
            # Some batches further than it came before, and anywhere between two checkpoints.
            wait_for_checkpoints(process, tmp_path, moments.randrange(1, 6))
            time.sleep(moments.random() * 0.03)
        if kills < 6 and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            process.communicate()
            kills += 1
            continue
        assert finish(process) == expected
        break
    assert kills >= 3
    assert steps_of_log(tmp_path) == steps_of_log(folder)
    assert len(steps_of_log(folder)) == STEPS + EPOCHS
    assert not list(tmp_path.glob(".*.tmp"))
    best = [cz.load(of / "best.safetensors").state_dict() for of in (tmp_path, folder)]
    assert all(np.array_equal(best[0][name], best[1][name]) for name in best[1])


def test_killed_before_its_first_batch_it_goes_on(
    straight: tuple[str, Path], tmp_path: Path
) -> None:
    process = start(tmp_path)
    wait_for_checkpoints(process, tmp_path, 1)
    process.kill()
    process.communicate()
    assert finish(start(tmp_path)) == straight[0]


def test_control_c_leaves_a_checkpoint_to_go_on_from(
    straight: tuple[str, Path], tmp_path: Path
) -> None:
    process = start(tmp_path)
    wait_for_checkpoints(process, tmp_path, 5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    last = error.strip().splitlines()[-1]
    assert last.startswith("KeyboardInterrupt: interrupted after batch")
    assert "Trainer.resume(" in last
    assert finish(start(tmp_path)) == straight[0]


def test_the_number_of_loader_threads_changes_nothing(straight: tuple[str, Path]) -> None:
    for threads in (1, 3):
        one = trainer()
        one.fit(*loaders(threads=threads), epochs=EPOCHS, progress=False)
        assert summary(one) == straight[0]


def test_another_seed_makes_another_run(straight: tuple[str, Path]) -> None:
    other = trainer(seed=8)
    other.fit(*loaders(), epochs=EPOCHS, progress=False)
    assert summary(other) != straight[0]


def test_a_finished_run_resumes_to_itself_and_takes_further_epochs(
    straight: tuple[str, Path],
) -> None:
    expected, folder = straight
    done = cz.Trainer.resume(folder, *loaders(), progress=False)
    assert summary(done) == expected
    assert done.model.trained[0] != "conv1.weight"
    history = done.fit(*loaders(), epochs=1, progress=False)
    assert [row.epoch for row in history] == [1, 2, 3, 4]


@pytest.fixture
def finished(straight: tuple[str, Path], tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(straight[1], folder)
    return folder


def refusal(folder: Path, *data: cz.data.Loader) -> str:
    with pytest.raises(cz.CheckpointError) as caught:
        cz.Trainer.resume(folder, *(data or loaders()), progress=False)
    return str(caught.value)


def test_every_damaged_byte_is_noticed(finished: Path) -> None:
    file = finished / LAST
    whole = file.read_bytes()
    moments = random.Random(1)
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [0, 3, 9, header // 2, header - 1, header, len(whole) - 1]
    places += [moments.randrange(len(whole)) for _ in range(30)]
    for place in places:
        if whole[place] == ord(" "):
            continue  # between the header and the data nothing is said
        damaged = bytearray(whole)
        damaged[place] ^= 1 << moments.randrange(8)
        file.write_bytes(damaged)
        assert str(file) in refusal(finished), place


def test_a_file_that_was_cut_off_is_refused(finished: Path) -> None:
    file = finished / LAST
    whole = file.read_bytes()
    for size in (0, 1, 8, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert str(file) in refusal(finished), size


def test_a_foreign_file_is_refused(finished: Path) -> None:
    file = finished / LAST
    shutil.copy(finished / "best.safetensors", file)
    assert "expected a run checkpoint, got a weights file" in refusal(finished)
    safetensors.numpy.save_file({"a": np.zeros(3, np.float32)}, file)
    assert "expected a run checkpoint" in refusal(finished)
    file.write_text("no checkpoint")
    assert str(file) in refusal(finished)


def test_a_missing_checkpoint_is_a_file_that_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"last\.safetensors: No such file"):
        cz.Trainer.resume(tmp_path, *loaders())
    with pytest.raises(cz.CheckpointError, match="nowhere"):
        cz.Trainer.resume(tmp_path / "nowhere", *loaders())


def test_other_data_are_refused(finished: Path) -> None:
    train, validation = loaders()
    other = cz.data.Loader(pictures(104, seed=9), batch_size=16, seed=5)
    assert "expected the training data of the run" in refusal(finished, other, validation)
    assert "expected the training data" in refusal(
        finished, cz.data.Loader(pictures(104, seed=1), batch_size=8, seed=5), validation
    )
    plain = cz.data.Loader(train.dataset, batch_size=16, seed=5)
    assert "fingerprint" not in refusal(finished, plain, validation)
    assert "RandomHorizontalFlip(p=0.5)" in refusal(finished, plain, validation)
    assert "expected the validation data of the run" in refusal(finished, train)


def test_a_schedule_of_ones_own_has_to_be_given_again(tmp_path: Path) -> None:
    class Mine(cz.Schedule):
        pass

    train, validation = loaders()
    model = cz.create_model("resnet20", num_classes=4)
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), schedule=Mine())
    one.fit(train, validation, epochs=1, progress=False, checkpoint=tmp_path)
    assert "expected `schedule=`" in refusal(tmp_path)
    cz.Trainer.resume(tmp_path, train, validation, schedule=Mine())


def test_another_schedule_or_loss_than_the_runs_is_refused(tmp_path: Path) -> None:
    train, validation = loaders()
    model = cz.create_model("resnet20", num_classes=4)
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), schedule=cz.Cosine())
    one.fit(train, validation, epochs=1, progress=False, checkpoint=tmp_path)
    with pytest.raises(cz.CheckpointError, match=r"`schedule` as the run had it, Cosine\(.*Const"):
        cz.Trainer.resume(tmp_path, train, validation, schedule=cz.Constant())
    with pytest.raises(cz.CheckpointError, match=r"`loss` as the run had it, CrossEntropy\("):
        cz.Trainer.resume(tmp_path, train, validation, loss=cz.CrossEntropy(label_smoothing=0.1))
    same = cz.Cosine(), cz.CrossEntropy()
    cz.Trainer.resume(tmp_path, train, validation, schedule=same[0], loss=same[1], progress=False)


def test_a_folder_of_another_run_is_refused(finished: Path) -> None:
    before = (finished / LAST).read_bytes()
    with pytest.raises(cz.CheckpointError, match="got one of another run; continue it by"):
        trainer().fit(*loaders(), epochs=1, progress=False, checkpoint=finished)
    assert (finished / LAST).read_bytes() == before


def test_one_run_may_go_on_in_its_own_folder(tmp_path: Path) -> None:
    one = trainer()
    for _ in range(2):
        one.fit(*loaders(), epochs=1, progress=False, checkpoint=tmp_path)
    again = cz.Trainer.resume(tmp_path, *loaders(), progress=False)
    assert summary(again) == summary(one)


def test_a_checkpoint_in_the_middle_of_an_accumulation_keeps_the_gradients(tmp_path: Path) -> None:
    class Saves(cz.callbacks.Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            if trainer.step == 5:
                trainer.save(tmp_path / "fifth.safetensors")

    one = trainer()
    one.fit(*loaders(), epochs=2, progress=False, callbacks=[Saves()])
    names = safetensors.numpy.load_file(tmp_path / "fifth.safetensors")
    assert any(name.startswith("waiting/") for name in names)
    again = cz.Trainer.resume(tmp_path / "fifth.safetensors", *loaders(), progress=False)
    assert summary(again) == summary(one)


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import cnnzoo as cz
from train.small_run import loaders, trainer

class Fills(cz.callbacks.Callback):
    def on_epoch(self, trainer, row):
        if row.epoch == 2:
            # Python ignores SIGXFSZ, so a longer file is an error of the write, as on a full disk.
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))

one = trainer()
try:
    one.fit(*loaders(), epochs=3, progress=False, callbacks=[Fills()], checkpoint={folder!r})
except cz.CheckpointError as error:
    print(type(error).__name__, isinstance(error, OSError), error)
"""


def test_a_full_disk_is_reported_and_the_last_checkpoint_kept(tmp_path: Path) -> None:
    code = FULL.format(tests=str(SCRIPT.parents[1]), folder=str(tmp_path))
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert found.stdout.startswith(f"CheckpointFileError True {tmp_path / LAST}: "), found
    assert not list(tmp_path.glob(".*.tmp"))
    on = cz.Trainer.resume(tmp_path, *loaders(), progress=False)
    straight = trainer()
    straight.fit(*loaders(), epochs=3, progress=False)
    assert summary(on) == summary(straight)


def test_what_a_killed_run_left_unfinished_is_removed(tmp_path: Path) -> None:
    unfinished = [tmp_path / f".{name}.safetensors.12-0.tmp" for name in ("last", "best")]
    others = tmp_path / ".mine.tmp"
    for file in (*unfinished, others):
        file.write_bytes(b"half")
    trainer().fit(*loaders(), epochs=1, progress=False, checkpoint=tmp_path)
    assert not any(file.exists() for file in unfinished)
    assert others.exists()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(cz.CheckpointError, match="file"):
        trainer().fit(*loaders(), epochs=1, progress=False, checkpoint=tmp_path / "file" / "run")
