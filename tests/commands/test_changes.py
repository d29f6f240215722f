"""How the images of a folder have changed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from irnet_ray import tables
from irnet_ray.commands.changes import compare
from irnet_ray.inputs.folder import read_folder
from tests.nights import write_photos

Images = dict[str, tuple[str | None, list[str], str]]  # content, tags, uri
ids = st.sampled_from([f"{n}.jpg" for n in range(8)])
described = st.tuples(
    st.sampled_from(["a", "b", None]),
    st.lists(st.sampled_from(["cat", "dog"]), unique=True),
    st.sampled_from(["/x", "/y"]),
)
folders = st.dictionaries(ids, described)


def table(images: Images) -> pa.Table:
    found = [
        {"image_id": i, "uri": uri, "tags": tags, "width": 1, "height": 1, "content": content, "shard": 0}
        for i, (content, tags, uri) in images.items()
    ]
    return pa.Table.from_pylist(found, tables.IMAGES)


@settings(deadline=None)
@given(before=folders, after=folders)
def test_every_image_is_in_exactly_one_list(before: Images, after: Images) -> None:
    found = compare(table(before), table(after))
    lists = vars(found)
    assert sorted(i for listed in lists.values() for i in listed) == sorted(before.keys() | after.keys())
    assert all(list(listed) == sorted(listed) for listed in lists.values())
    assert set(found.new) == after.keys() - before.keys() and set(found.removed) == before.keys() - after.keys()
    for image_id in before.keys() & after.keys():
        differs = [one != other for one, other in zip(before[image_id], after[image_id], strict=True)]
        kind = next((k for k, d in zip(("changed", "retagged", "moved"), differs, strict=True) if d), "same")
        assert image_id in lists[kind]
    assert found.standing == {i for i in before.keys() & after.keys() if before[i][:2] == after[i][:2]}
    assert found.unseen == len(after) - len(found.standing)
    assert compare(table(after), table(after)).same == tuple(sorted(after))


def test_touching_a_file_changes_nothing_but_reordering_its_tags_does(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "data", {"a.png": (9, "cat;dog"), "b.png": (9, "cat")})
    before = read_folder(data, 1)
    (data / "images" / "b.png").touch()
    assert compare(before, read_folder(data, 1)).same == ("a.png", "b.png")
    (data / "tags.csv").write_text("image,tags\na.png,dog;cat\nb.png,cat\n")
    assert compare(before, read_folder(data, 1)).retagged == ("a.png",)
