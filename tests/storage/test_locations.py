"""Locations as text."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irnet_ray.errors import UserError
from irnet_ray.storage.locations import absolute, base_name, has_password, is_uri, join, parent, suffix

KEYS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(KEYS, min_size=1, max_size=3), st.sampled_from(["/data", "s3://bucket/data", "gs://b/d?project=x"]))
def test_a_name_that_is_joined_comes_back(parts: list[str], folder: str) -> None:
    location = join(folder, *parts)
    assert location == join(folder, "/".join(parts))
    assert base_name(location) == parts[-1]
    assert parent(location) == (join(folder, *parts[:-1]) if parts[:-1] else folder)


def test_a_location_means_the_same_everywhere() -> None:
    assert absolute("s3://bucket/data/?region=x") == "s3://bucket/data?region=x"
    assert absolute("file:///data/a%20b") == "/data/a b"
    assert absolute("a") == os.path.abspath("a") and not is_uri("/data/s3://x")


def test_parts() -> None:
    assert suffix("s3://bucket/a.TAR?x=y.z") == ".tar"
    assert parent("s3://bucket") == "s3://bucket"
    assert (base_name("/data/a.png"), base_name("s3://bucket/a%23b?region=x")) == ("a.png", "a#b")


@pytest.mark.parametrize(
    ("uri", "held"),
    [
        ("s3://key:secret@bucket/data", True),
        ("s3://key:sec@ret@bucket?region=x", True),
        ("tar+s3://key:secret@bucket/a.tar#0:1", True),
        ("hdfs://someone@host:8020/data", False),
        ("s3://bucket/a:b@c", False),
        ("/data/a:b@c", False),
    ],
)
def test_a_password_is_found_and_never_shown(uri: str, held: bool) -> None:
    assert has_password(uri) == held
    if held and not uri.startswith("tar"):
        with pytest.raises(UserError, match="The URI of bucket holds a password") as caught:
            absolute(uri)
        assert "sec" not in str(caught.value) and "ret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "said"), [("", "is empty"), ("s3://", "names no bucket"), ("gs:///", "no bucket")]
)
def test_a_location_that_names_nothing_is_refused(location: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        absolute(location)
