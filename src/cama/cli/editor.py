"""The line editor of the interactive mode: prompt-toolkit with the keys that people expect."""

from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output

from cama.cli.history import LineHistory

_PROMPT = ">>> "
_CONTINUATION = "... "
_HINT = FormattedText([("fg:ansibrightblack", "Send a message (/? for help)")])
_TAB = " " * 8


class LineEditor:
    """Reads entries. ``input`` and ``output`` are the terminal unless given."""

    def __init__(
        self, history: Path, input: Input | None = None, output: Output | None = None
    ) -> None:
        self.history = LineHistory(history)
        self._session: PromptSession[str] = PromptSession(
            history=self.history,
            key_bindings=_keys(),
            multiline=True,
            prompt_continuation=_CONTINUATION,
            enable_suspend=True,
            enable_open_in_editor=True,
            input=input,
            output=output,
        )

    def read(self, *, is_continued: bool) -> str:
        """One entry. Raises KeyboardInterrupt on Ctrl-C and EOFError on Ctrl-D."""
        if is_continued:
            return self._session.prompt(_CONTINUATION, placeholder="")
        return self._session.prompt(_PROMPT, placeholder=self._hint)

    def _hint(self) -> FormattedText:
        """Gone when the line is left empty, so that it does not stay on the screen."""
        return FormattedText() if self._session.app.is_done else _HINT


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("c-j")
    def _break_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("tab")
    def _indent(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(_TAB)

    @keys.add("c-g")
    def _edit(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    return keys
