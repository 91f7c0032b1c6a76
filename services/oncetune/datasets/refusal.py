"""The one exception of this room that ends a run for good."""


class DatasetRefused(Exception):
    """This dataset cannot be trained on, on any attempt: the run fails with `code` and the sentence.

    The sentence says what was found, where, against which limit and what to do; it never holds text of the dataset,
    nor the secret part of a URL (user, query, fragment). Of a name that is no field it has the beginning, printable.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # snake_case
        self.message = message[:2000]


class BadRow(DatasetRefused):
    """A row that cannot be trained on; `str()` names its place (reading.py), the field and what is expected."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid_dataset", message)
