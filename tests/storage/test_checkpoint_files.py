"""A checkpoint is whole, or the one before is used."""

import pytest

from rlhfkit.storage.checkpoint_files import newest_checkpoint, write_checkpoint


def written(folder, name, text="fine", limit=2):
    def write(path):
        (path / "part").mkdir()
        (path / "part" / "a.txt").write_text(text)

    write_checkpoint(folder, name, write, limit)
    return folder / name


def test_the_newest_is_found_and_the_oldest_go(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    for step in (1, 2, 10):
        written(tmp_path, f"step_{step:06d}")
    written(tmp_path, "step_000010_within")
    assert newest_checkpoint(tmp_path) == tmp_path / "step_000010_within"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000010", "step_000010_within"]


def test_an_error_while_writing_leaves_the_one_before(tmp_path):
    before = written(tmp_path, "step_000001", limit=1)

    def fail(path):
        (path / "half.txt").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_checkpoint(tmp_path, "step_000002", fail, 1)
    assert newest_checkpoint(tmp_path) == before
    after = written(tmp_path, "step_000002", limit=1)
    assert newest_checkpoint(tmp_path) == after
    assert not (after / "half.txt").exists()


def truncate(path):
    (path / "part" / "a.txt").write_text("fin")


def alter(path):
    (path / "part" / "a.txt").write_text("five")


def remove(path):
    (path / "part" / "a.txt").unlink()


def add(path):
    (path / "b.txt").write_text("more")


def forge(path):
    (path / "digests.json").write_text("[]")


def break_digests(path):
    (path / "digests.json").write_text('{"part/')


def lose_digests(path):
    (path / "digests.json").unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (truncate, "part/a.txt is missing or was altered"),
        (alter, "part/a.txt is missing or was altered"),
        (remove, "part/a.txt is missing or was altered"),
        (add, "b.txt is missing or was altered"),
        (forge, "digests.json was altered"),
        (break_digests, "cannot be read"),
        (lose_digests, "cannot be read"),
    ],
)
def test_a_damaged_one_is_put_aside_and_the_one_before_used(tmp_path, capsys, damage, says):
    before, newest = written(tmp_path, "step_000001"), written(tmp_path, "step_000002", "other")
    damage(newest)
    assert newest_checkpoint(tmp_path) == before
    assert says in capsys.readouterr().out
    assert newest_checkpoint(tmp_path) == before  # and again, without a word
    assert not capsys.readouterr().out
    again = written(tmp_path, "step_000002")
    assert newest_checkpoint(tmp_path) == again
