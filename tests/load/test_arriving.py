"""Checkpoints of a run that still trains: hand-made folders in every state of being written."""

import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from lens.load.arriving import arrived, is_whole
from lens.load.checkpoints import checkpoints


@pytest.fixture
def write(tmp_path):
    """``write(10)``: a folder with all that the Trainer writes, in its order."""

    def build(step: int):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        save_file({"a": np.ones((4, 4), np.float32)}, folder / "model.safetensors")
        (folder / "training_args.bin").write_bytes(b"not read")
        (folder / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
        return folder

    return build


def test_whole_ones_stand_in_order_of_their_steps(write, tmp_path):
    folders = [write(step) for step in (100, 20, 3)]
    for age, folder in enumerate(folders):
        for file in folder.iterdir():
            os.utime(file, (1000 - age, 1000 - age))
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "runs").mkdir()
    now = arrived(tmp_path)
    assert now.whole == ("checkpoint-3", "checkpoint-20", "checkpoint-100")
    assert now.unfinished == ()
    assert now.newest == ("checkpoint-100", 1000)


def test_nothing_has_come_to_an_empty_folder_or_to_none(tmp_path):
    assert arrived(tmp_path) == arrived(tmp_path / "later") == ((), (), None)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "trainer_state.json"])
def test_a_file_that_is_still_to_come(write, tmp_path, missing):
    write(1)
    (write(2) / missing).unlink()
    assert arrived(tmp_path)[:2] == (("checkpoint-1",), ("checkpoint-2",))


@pytest.mark.parametrize("name", ["model.safetensors", "trainer_state.json"])
def test_no_part_of_a_file_is_a_whole_one(write, name):
    folder = write(1)
    data = (folder / name).read_bytes()
    for kept in (0, 3, 9, len(data) // 2, len(data) - 1):
        (folder / name).write_bytes(data[:kept])
        assert not is_whole(folder)
    (folder / name).write_bytes(data)
    assert is_whole(folder)


def test_a_zip_archive_is_whole_with_the_table_at_its_end(write):
    import torch

    folder = write(1)
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.ones(4)}, folder / "pytorch_model.bin")
    assert is_whole(folder)
    data = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(data[:-30])
    assert not is_whole(folder)


def test_a_pickle_that_is_no_archive_is_whole_when_it_is_there(write):
    import torch

    folder = write(1)
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    torch.save({"a": torch.ones(4)}, file, _use_new_zipfile_serialization=False)
    assert is_whole(folder)
    file.write_bytes(b"")
    assert not is_whole(folder)


def test_what_was_not_written_by_the_trainer_needs_no_state(write):
    folder = write(1)
    (folder / "training_args.bin").unlink()
    (folder / "trainer_state.json").unlink()
    assert is_whole(folder)


def test_a_file_that_was_not_fetched_is_left_to_whoever_opens_it(write):
    folder = write(1)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert is_whole(folder)


def test_a_run_that_still_trains_lists_what_is_whole(write, tmp_path):
    write(1)
    late = write(2) / "model.safetensors"
    data = late.read_bytes()
    late.write_bytes(data[:-1])
    assert checkpoints(str(tmp_path), arriving=True).labels == (1,)
    assert checkpoints(str(tmp_path)).labels == (1, 2)  # else the second is damaged, and opening says so
    late.write_bytes(data)
    assert checkpoints(str(tmp_path), arriving=True).labels == (1, 2)
