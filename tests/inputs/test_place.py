"""What is known of the place that `--data` names."""

from __future__ import annotations

from pathlib import Path

from irnet_ray.inputs.place import Place
from tests.inputs.formats import write


def test_files_and_images_and_links_to_nothing(tmp_path: Path) -> None:
    write(tmp_path, "deep/a.PNG", "b.jpeg", ".hidden.png")
    for name in ("notes.txt", "2.TAR", "1.tar"):
        (tmp_path / name).write_bytes(b"")
    for name in ("gone.png", "gone.txt"):
        (tmp_path / name).symlink_to("nowhere")
    place = Place(str(tmp_path))
    assert place.kind == "folder"
    assert sorted(place.files) == ["1.tar", "2.TAR", "b.jpeg", "deep/a.PNG", "notes.txt"]
    assert sorted(place.images) == ["b.jpeg", "deep/a.PNG"]
    assert place.lost_images == ["gone.png"]
    assert place.named(".tar") == ["1.tar", "2.TAR"]


def test_a_file_and_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    assert Place(str(tmp_path / "a.png")).kind == "file"
    assert Place(str(tmp_path / "gone")).kind is None
