"""The generated page says what the code says."""

from api import reference


def test_the_reference_is_the_one_that_would_be_generated() -> None:
    assert reference.PAGE.read_text() == reference.render(), "run: python -m api.reference"
