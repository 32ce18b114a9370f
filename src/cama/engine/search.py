"""A text looked for in a stream that comes in pieces."""


class Search:
    """Finds one text in a stream of characters (Knuth, Morris, Pratt).

    ``matched`` characters at the end of what was read so far begin the text.
    """

    __slots__ = ("_fallback", "matched", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.matched = 0
        self._fallback = _borders(text)

    def find(self, piece: str) -> int | None:
        """Read on; the index in ``piece`` behind the first full match, if there is one."""
        text, fallback, matched = self.text, self._fallback, self.matched
        for index, character in enumerate(piece):
            while matched and text[matched] != character:
                matched = fallback[matched]
            if text[matched] == character:
                matched += 1
                if matched == len(text):
                    return index + 1
        self.matched = matched
        return None


def _borders(text: str) -> list[int]:
    """For each prefix of ``text`` the length of its longest proper border."""
    borders = [0, 0]
    for character in text[1:]:
        length = borders[-1]
        while length and text[length] != character:
            length = borders[length]
        borders.append(length + (text[length] == character))
    return borders
