"""Formulas as docstrings write them, plain enough for a terminal, as LaTeX.

`latex("log p(x) = -|x|^2 / 2")` is `\\log p(x) = - \\frac{\\lvert x \\rvert^{2}}{2}`. The notation is what one
would type: `x_i`, `x^2`, `sum_k`, `int_0^1 f(t) dt`, `|x|`, `w . x`, names of Greek letters, words of English. A stroke
with spaces is a fraction of all the factors before it, one without spaces of the one before it. What is no formula
raises `NotAFormula`, and a page shows it as code.
"""

import itertools
import re

from formula_tokens import (
    BARS,
    GREEK,
    LARGE,
    OPERATORS,
    PLAIN,
    RELATIONS,
    SYMBOLS,
    NotAFormula,
    Token,
    differential,
    tokens,
)


def latex(text: str) -> str:
    """A formula of one line or several as LaTeX."""
    lines = [_line(line) for line in text.strip().splitlines()]
    if len(lines) == 1:
        return lines[0]
    return r"\begin{aligned} & " + r" \\ & ".join(lines) + r" \end{aligned}"


def inline(text: str) -> str | None:
    """Code within a sentence as LaTeX where it is a formula for sure, else None.

    Arguments, calls and shapes are code: `bound`, `f(t, x)`, `(n, d)`. A formula has an operator or a product.
    """
    if not _may_be(text):
        return None
    parser = _Parser(text, strokes=True)
    try:
        out = parser.parse()
    except NotAFormula:
        return None
    if {"text", "code"} & {token.kind for token in parser.tokens}:
        return None
    signs = {*RELATIONS, "=", "<", ">", "^", "|", "+-"}
    sure = parser.products > 0 or any(
        token.text in signs
        or (token.text in {"+", "-", "*", "/", "."} and token.before and token.behind)
        or (token.text in PLAIN and token.behind)
        or token.text in {*LARGE, "grad", "tr"}
        for token in parser.tokens
    )
    return out if sure else None


def _may_be(text: str) -> bool:
    """Whether no sign of code stands in it: an argument, a shape, a name, a hyphen, a folder."""
    if re.search(
        r",\)|\)\[|[A-Z]{3}|[A-Za-z]{2}_[A-Za-z]{2}|\w=|=\w|:|\w -\w|True|False|None", text
    ):
        return False
    if re.fullmatch(r"[(\[][^()\[\]]*,[^()\[\]]*[)\]]", text):
        return False
    pairs = re.findall(r"([A-Za-z]+)[-/]([A-Za-z]+)", text)
    names = [name for pair in pairs for name in pair]
    return all(len(n) < 3 or n in GREEK or differential(n) is not None for n in names)


def _line(line: str) -> str:
    """Parts of a line, which several spaces set apart."""
    parts = [part for part in re.split(r"(?<=,)\s{2,}|\s{3,}", line.strip()) if part]
    return r" \qquad ".join(_Parser(part).parse() for part in parts)


class _Parser:
    """A parser by descent: lists of sums of products of factors of atoms. `strokes` keeps fractions on the line."""

    def __init__(self, text: str, strokes: bool = False) -> None:
        self.text, self.at, self.strokes = text, 0, strokes
        self.tokens: list[Token] = []
        # Factors set side by side, one of them a number or a letter.
        self.products = 0

    def parse(self) -> str:
        self.tokens = tokens(self.text)
        out = self._list(None)
        if self.at < len(self.tokens):
            raise NotAFormula(f"what {self.tokens[self.at].text!r} means here")
        return out

    def _peek(self, *texts: str) -> Token | None:
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        return token if token and token.kind == "operator" and token.text in texts else None

    def _take(self, text: str) -> None:
        if self._peek(text) is None:
            raise NotAFormula(f"{text!r} is missing")
        self.at += 1

    def _list(self, stop: str | None) -> str:
        """Sums, with commas, relations and conditions between them."""
        out: list[str] = []
        while self.at < len(self.tokens) and (stop is None or not self._ends(stop)):
            token = self._peek("=", "<", ">", ",", ";", ":", "|", *RELATIONS)
            if token is None:
                out.append(self._sum())
                continue
            if token.text == "|" and not (token.before and token.behind):
                if self._opens(token):
                    out.append(self._sum())
                    continue
                break
            if token.text in {"=", "<", ">"} and not (token.before and token.behind):
                raise NotAFormula("an argument")
            self.at += 1
            marks = {"|": r"\mid", ":": r"\colon"}
            out.append(marks.get(token.text, RELATIONS.get(token.text, token.text)))
        return re.sub(r" ([,;]|\\colon)", r"\1", " ".join(out))

    def _ends(self, stop: str) -> bool:
        token = self._peek(stop)
        return token is not None and (stop != "|" or not self._opens(token))

    def _opens(self, token: Token) -> bool:
        """Whether a bar is the left one of two: it clings to what comes behind it."""
        if token.text != "|" or token.behind:
            return False
        last = self.tokens[self.at - 1] if self.at else None
        clings = last is not None and last.kind == "operator" and last.text in "([|-^"
        return token.before or clings

    def _sum(self) -> str:
        out = []
        while True:
            token = self._peek("-", "+", "+-")
            if token is not None:
                self.at += 1
                out.append(r"\pm" if token.text == "+-" else token.text)
            out.append(self._product())
            if self._peek("-", "+", "+-") is None:
                return " ".join(out)

    def _product(self) -> str:
        """Factors side by side; a stroke with spaces puts all before it over the next one."""
        out, loose = [self._factor()], False
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            last = self.tokens[self.at - 1]
            if self._peek("/"):
                self.at += 1
                out = [self._over(_joined(out), self._factor())]
            elif self._peek("*", "."):
                if not (token.before and token.behind):
                    raise NotAFormula("a name with a dot or a star")
                self.at += 1
                out += [r"\cdot", self._factor()]
            elif token.text in {"o", "x"} and token.before and token.behind and self._is_sign():
                self.at += 1
                self.products += 1
                out += [r"\circ" if token.text == "o" else r"\times", self._factor()]
            elif token.kind != "operator" or self._peek("(", "[") or self._opens(token):
                if not (token.before or last.text in ")]" or last.kind in {"number", "text"}):
                    raise NotAFormula("no space between two factors")
                loose |= token.before and not {token.kind, last.kind} & {"text", "code"}
                self.products += loose and (_short(token) or _short(last))
                out.append(self._factor())
            else:
                break
        return _joined(out)

    def _is_sign(self) -> bool:
        """Whether a lone letter is a sign: `A o B`, `n x n`."""
        before, letter, *ahead = self.tokens[self.at - 1 : self.at + 2]
        return bool(ahead) and (letter.text == "o" or ahead[0].text == before.text)

    def _factor(self) -> str:
        """An atom, or two with a stroke between them without spaces."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if token and token.kind == "name" and token.text == "d" and self._derivative():
            self.at += 2
            above = "d " + _name(self.tokens[self.at - 1].text)
            self.at += 1
            return self._over(above, self._atom())
        if token and token.kind == "name" and token.text in LARGE:
            self.at += 1
            return LARGE[token.text] + self._scripts(top=False) + " " + self._product()
        out = self._atom()
        while (token := self._peek("/")) and not token.before:
            self.at += 1
            out = self._over(out, self._atom())
        return out

    def _derivative(self) -> bool:
        """Whether a quotient such as `d phi/dt` stands here."""
        ahead = self.tokens[self.at + 1 : self.at + 4]
        return [t.kind for t in ahead] == ["name", "operator", "name"] and (
            ahead[1].text == "/" and ahead[2].text.startswith("d") and not ahead[1].before
        )

    def _atom(self) -> str:
        if self.at >= len(self.tokens):
            raise NotAFormula("it breaks off")
        token = self.tokens[self.at]
        if self._peek("("):
            return self._group("(", ")") + self._scripts()
        if self._peek("["):
            return self._group("[", "]") + self._scripts()
        if self._peek("|") and self._opens(token):
            self.at += 1
            inner = self._list("|")
            self._take("|")
            left, right = (r"\left\lvert", r"\right\rvert") if "frac" in inner else BARS
            return f"{left} {inner} {right}" + self._scripts()
        self.at += 1
        if token.text == "...":
            return r"\ldots"
        if token.kind == "number":
            return token.text + self._scripts()
        if token.kind == "text":
            return rf"\text{{ {token.text} }}"
        if token.kind == "code":
            return rf"\texttt{{{token.text[1:-1]}}}"
        if token.kind != "name":
            raise NotAFormula(f"what {token.text!r} means here")
        return self._named(token)

    def _named(self, token: Token) -> str:
        call = self._peek("(", "[")
        called = call is not None and not call.before
        if called and token.text in {"sqrt", "binom"}:
            inner = self._group("(", ")", bare=True)
            if token.text == "sqrt":
                return rf"\sqrt{{{inner}}}" + self._scripts()
            return rf"\binom{{{inner.replace(',', '}{', 1)}}}" + self._scripts()
        symbol = token.text in {"N", "E"} and not called
        out = (token.text if symbol else _name(token.text)) + self._scripts()
        call = self._peek("(", "[")
        if call is not None and not call.before:
            out += self._group(call.text, ")" if call.text == "(" else "]") + self._scripts()
        return out

    def _over(self, above: str, below: str) -> str:
        derivative = above[0] == below[0] == "d" and not {"(", "+"} & {*above, *below}
        if self.strokes and not derivative:
            return f"{above} / {below}"
        return rf"\frac{{{_bare(above)}}}{{{_bare(below)}}}"

    def _group(self, left: str, right: str, bare: bool = False) -> str:
        self._take(left)
        inner = self._list(right)
        self._take(right)
        if bare:
            return inner
        return rf"\left{left}{inner}\right{right}" if "frac" in inner else f"{left}{inner}{right}"

    def _scripts(self, top: bool = True) -> str:
        """Primes, subscripts and powers. Behind an integral a T is its end, elsewhere a transpose."""
        out, seen = "", set()
        while (token := self._peek("'", "_", "^")) and not token.before:
            self.at += 1
            if token.text == "'":
                out += "'"
                continue
            if token.text in seen:
                raise NotAFormula("a name of code")
            seen.add(token.text)
            inner = self._script()
            if token.text == "^" and inner == "T" and top:
                inner = r"\top"
            out += f"{token.text}{{{inner}}}"
        return out

    def _script(self) -> str:
        sign = ""
        if self._peek("-"):
            self.at += 1
            sign = "-"
        for left, right in ("{}", "()"):
            if self._peek(left):
                return sign + _flat(self._group(left, right, bare=True))
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if token is None or token.kind not in {"name", "number"}:
            raise NotAFormula("an index is missing")
        self.at += 1
        name = token.text
        indices = (
            len(name) == 2 and name.isalpha() and name.islower() and name not in {*GREEK, "in"}
        )
        return sign + (name if indices or token.kind == "number" else _name(name))


def _short(token: Token) -> bool:
    return token.kind == "number" or (token.kind == "name" and len(token.text) == 1)


def _joined(parts: list[str]) -> str:
    """Factors side by side; words and differentials need a gap, which LaTeX would not leave."""
    out = parts[0]
    for pair in itertools.pairwise(parts):
        words = any(part.startswith(r"\mathrm") for part in pair)
        words |= re.fullmatch(r"d\\?[A-Za-z]+", pair[1]) is not None
        signs = any(part in {r"\cdot", r"\circ", r"\times"} for part in pair)
        out += (r" \thinspace " if words and not signs else " ") + pair[1]
    return out


def _bare(text: str) -> str:
    """Without the parentheses that a fraction replaces."""
    inner = re.fullmatch(r"\((.*)\)|\\left\((.*)\\right\)", text)
    if inner is None:
        return text
    content, depth = inner[1] if inner[1] is not None else inner[2], 0
    for sign in content:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return text
    return content if depth == 0 else text


def _flat(text: str) -> str:
    """A fraction in an index as a stroke."""
    return re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text)


def _name(name: str) -> str:
    letters, digits = re.fullmatch(r"([A-Za-z]+)(\d*)", name).groups()
    if name in SYMBOLS:
        return SYMBOLS[name]
    variable = differential(name)
    if digits and len(letters) == 1:
        return f"{letters}_{{{digits}}}"
    if name in GREEK or name in PLAIN:
        return "\\" + name
    if name in OPERATORS:
        return rf"\operatorname{{{name}}}"
    if len(name) == 1:
        return name
    if variable is not None:
        return "d" + (f"\\{variable}" if variable in GREEK else variable)
    return rf"\mathrm{{{name}}}"
