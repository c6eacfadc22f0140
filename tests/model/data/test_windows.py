"""Windows: a folder for each day, in the order of the days."""

from pathlib import Path

from model.data.windows import day_folder


def test_folders_sort_by_day():
    folders = [day_folder(Path("world"), day) for day in (1, 2, 10, 200)]
    assert folders == sorted(folders)
    assert folders[0] == Path("world/days/001")
