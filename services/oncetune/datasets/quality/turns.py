"""Who speaks: turns in the wrong place, and marks of a conversation inside a text."""

import re
from collections.abc import Iterator

from oncetune.contracts.quality import Finding
from oncetune.datasets.quality.row import Row
from oncetune.datasets.quality.tally import Numbers, Tally, counted

# What chat templates write around the turns: inside a text it is a turn that nobody took, or the end of the answer.
_MARKS = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|eot_id|eom_id|begin_of_text|end_of_text|start_header_id|end_header_id|"
    r"system|user|assistant|end|START_OF_TURN_TOKEN|END_OF_TURN_TOKEN)\|>|\[/?INST\]|<</?SYS>>|</s>|"
    r"<(?:start|end)_of_turn>"
)
_SPEAKERS = re.compile(r"(?:^|\n)(?:Human|User|Assistant|AI|Bot): ?")
_USER_SPEAKS = re.compile(r"\n(?:Human|User): ?")
# Only where the key is of a service's own shape: a test key in a lesson about keys looks the same, hence no error.
_SECRETS = re.compile(
    r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|"
    r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32}|\bxox[bp]-[0-9A-Za-z-]{20}"
)
_SECRET_SIGNS = ("PRIVATE KEY-----", "AKIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "sk-", "xoxb-", "xoxp-")


class Turns:
    """Looks at the roles of each row and for what looks like roles in its texts."""

    def __init__(self) -> None:
        self._prompt_ends, self._answer_begins, self._answer_ends = Tally(), Tally(), Tally()
        self._marks, self._transcripts, self._speaks_for_user = Tally(), Tally(), Tally()
        self._secrets, self._plain = Tally(), Tally()

    def see(self, row: Row) -> None:
        self._see_roles(row)
        for text in row.texts:
            if ("<" in text or "[" in text) and (mark := _MARKS.search(text)):
                self._marks.add(row.line, text[max(0, mark.start() - 20) : mark.end() + 20])
            if any(sign in text for sign in _SECRET_SIGNS) and _SECRETS.search(text):
                self._secrets.add(row.line)
        if row.is_text and len(_SPEAKERS.findall(row.prompt, 0, 4096)) > 1:
            self._transcripts.add(row.line, row.prompt)
        for answer in (row.chosen, row.rejected):
            if "\n" in answer and (speaks := _USER_SPEAKS.search(answer)):
                self._speaks_for_user.add(row.line, answer[speaks.start() :])

    def _see_roles(self, row: Row) -> None:
        if row.is_text:
            self._plain.add(row.line)
            return
        answers = [turns for turns in (row.chosen_turns, row.rejected_turns) if turns]
        if row.prompt_turns and row.prompt_turns[-1].role == "assistant":
            self._prompt_ends.add(row.line, row.question)
        for turns in answers:
            if turns[0].role in ("user", "system"):
                self._answer_begins.add(row.line, turns[0].content)
            if turns[-1].role != "assistant":
                self._answer_ends.add(row.line, turns[-1].content)

    def findings(self, rows: int) -> Iterator[Finding]:
        yield from self._of_roles(rows)
        yield from self._marks.finding(
            "chat_marks_in_text",
            "warning",
            f"{counted(self._marks.count, rows)} hold marks of a chat template inside a text: the template writes its "
            "own, so send the bare text, or messages",
        )
        yield from self._transcripts.finding(
            "transcript_as_prompt",
            "info",
            f"in {counted(self._transcripts.count, rows)} the prompt is a conversation written as one text: as "
            "messages the model's own chat template would separate the turns",
        )
        yield from self._speaks_for_user.finding(
            "answer_speaks_for_user",
            "warning",
            f"in {counted(self._speaks_for_user.count, rows)} an answer goes on with a turn of the user: the model "
            "would learn to ask itself; cut the answer before it",
        )
        yield from self._secrets.finding(
            "secrets",
            "warning",
            f"{counted(self._secrets.count, rows)} hold what looks like a key or a token of a service: a model may "
            "repeat it; remove it, and revoke it if it is real",
        )

    def _of_roles(self, rows: int) -> Iterator[Finding]:
        yield from self._prompt_ends.finding(
            "prompt_ends_with_assistant",
            "warning",
            f"in {counted(self._prompt_ends.count, rows)} the prompt ends with an assistant's turn: the answers would "
            "follow an answer; end it with the user's turn",
        )
        yield from self._answer_begins.finding(
            "answer_begins_with_user",
            "warning",
            f"in {counted(self._answer_begins.count, rows)} an answer begins with a turn of the user or the system: "
            "the model would learn to write it; move it to the prompt",
        )
        yield from self._answer_ends.finding(
            "answer_ends_without_assistant",
            "warning",
            f"in {counted(self._answer_ends.count, rows)} an answer does not end with an assistant's turn",
        )
        if self._plain.count < rows:
            yield from self._plain.finding(
                "mixed_forms",
                "info",
                f"{counted(self._plain.count, rows)} are plain texts and the others messages: a text counts as one "
                "turn, so a chat model sees them alike; a model without a chat template refuses the messages",
            )

    def numbers(self, rows: int) -> Numbers:
        return {"text_rows_share": round(self._plain.share(rows), 4)}
