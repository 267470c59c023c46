"""Who is named by a header, and what only takes the place of a name."""

import pytest

from cmfnet_napari.core.images.series.nobody import says_who


@pytest.mark.parametrize(
    "text",
    ["", " ", "0", "000000", "NA", "N/A", "XXXX", "xxx^xxx", "Anonymous", "Anonymous Patient",
     "ANON^ANON", "No Name", "DE-IDENTIFIED", "Patient^Anonymized", "^^"],
)  # fmt: skip
def test_these_name_nobody(text):
    assert says_who(text) == ""


@pytest.mark.parametrize(
    "text",
    ["4711", "0004711", "10", "Doe^John", "Na^Hyun", "Anon4711", "ANON^12", "Max^Patient", "X1"],
)
def test_these_name_somebody(text):
    assert says_who(text) == text
