"""The one exception of this room that ends a run for good."""


class Refusal(Exception):
    """This recipe cannot succeed on any attempt: tell the trainer `code` and the sentence, exit REFUSED_EXIT.

    The sentence says what was found, how often, against which limit and what to do; it never holds dataset text.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message[:2000]
