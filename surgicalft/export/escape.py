"""Text for LaTeX: what has a meaning there is escaped, common symbols become commands."""

import re
import unicodedata

_COMMANDS = {
    **{character: "\\" + character for character in "{}$&%#_"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "…": r"\ldots{}"},
    **{"±": r"$\pm$", "×": r"$\times$", "−": "$-$", "·": r"$\cdot$", "∞": r"$\infty$"},
    **{"≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$", "†": r"$\dagger$", "µ": r"$\mu$"},
}
_KNOWN = "ßæœøåłÆŒØÅŁ¡¿–—‘’“”"  # noqa: RUF001 (besides letters with the accents below)
_ACCENTS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327"
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (?P<name>[A-Z]+)")
_AS_LATIN = "ABEZHIKMNOPTXo"  # what Greek letters without a command look like
_LOOKALIKES = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", _AS_LATIN, strict=True))  # noqa: RUF001


def escape(text: str) -> str:
    r"""Text that LaTeX shows as it is: `a_b` gives `a\_b`; white space is one space, control characters are `?`."""
    escaped = "".join(map(_escape, one_line(text)))
    return re.sub("-(?=-)", "-{}", escaped)  # no ligature: -- stays two


def one_line(text: str) -> str:
    """Text without line ends, fit for a comment."""
    plain = " ".join(text.split())
    return "".join("?" if unicodedata.category(c).startswith("C") else c for c in plain)


def beyond_pdflatex(text: str) -> set[str]:
    """The characters of escaped text that pdfLaTeX does not know without further packages."""
    return {c for c in text if not (c.isascii() or c in _KNOWN or _accented(c))}


def _escape(character: str) -> str:
    if character in _COMMANDS:
        return _COMMANDS[character]
    if character in _LOOKALIKES:
        return f"${_LOOKALIKES[character]}$"
    found = _GREEK.fullmatch(unicodedata.name(character, ""))
    if found and "Α" <= character <= "ω":  # noqa: RUF001
        name = {"LAMDA": "lambda"}.get(found["name"], found["name"].lower())
        return f"$\\{name.capitalize() if found[1] == 'CAPITAL' else name}$"
    return character


def _accented(character: str) -> bool:
    """Whether it is a Latin letter with an accent that TeX's first fonts can set."""
    letter, *marks = list(unicodedata.normalize("NFD", character))
    return (
        ord(character) < 0x180 and letter.isascii() and bool(marks) and set(marks) <= set(_ACCENTS)
    )
