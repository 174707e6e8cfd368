"""The signs of a formula as docstrings write it, and the words that are known."""

import re
from typing import NamedTuple


class NotAFormula(ValueError):
    """The text does not read as a formula."""


class Token(NamedTuple):
    """A piece of a formula, and whether white space stands before and behind it."""

    kind: str
    text: str
    before: bool
    behind: bool


PATTERN = re.compile(
    r"\s*(?:(?P<code>`[^`]+`)|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<name>[A-Za-z]+\d*)"
    r"|(?P<operator>\.\.\.|\+-|<=|>=|<-|\|\||[-+*/^_'=<>~.,;:|(){}\[\]]))"
)
GREEK = {"alpha", "beta", "gamma", "delta", "theta", "tau", "phi", "psi", "sigma", "lambda", "mu"}
GREEK |= {"rho", "pi", "Gamma"}
PLAIN = {"log", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "det", "min", "max"}
OPERATORS = {"tr", "sign", "sigmoid", "logit", "logsumexp", "softplus", "ndtr", "ndtri", "arcsinh"}
OPERATORS |= {"act", "conv", "norm", "KL", "Lip"}
LARGE = {"sum": r"\sum", "prod": r"\prod", "int": r"\int"}
SYMBOLS = {"grad": r"\nabla", "N": r"\mathcal{N}", "E": r"\mathbb{E}", "mod": r"\bmod"}
RELATIONS = {"<=": r"\le", ">=": r"\ge", "<-": r"\leftarrow", "~": r"\sim", "||": r"\Vert"}
# Words that are never factors, even where they stand alone.
ENGLISH = {"from", "where", "with", "for", "else", "if", "in", "and", "or", "over", "of", "the"}
ENGLISH |= {"uniform", "counts", "known"}
BARS = (r"\lvert", r"\rvert")


def differential(name: str) -> str | None:
    """`dx`, `dtheta`: the variable behind the d."""
    rest = name[1:]
    return rest if name[0] == "d" and (rest in GREEK or re.fullmatch("[A-Za-z]", rest)) else None


def tokens(text: str) -> list[Token]:
    out, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = PATTERN.match(text, at)
        if match is None or match.lastgroup is None:
            raise NotAFormula(f"{text[at:]!r}")
        start, end = match.span(match.lastgroup)
        before = start == 0 or text[start - 1].isspace()
        behind = end == len(text) or text[end].isspace()
        out.append(Token(match.lastgroup, match[match.lastgroup], before, behind))
        at = end
    return _words(out)


def _words(tokens: list[Token]) -> list[Token]:
    """Runs of words as one token: two and more beside each other, or a word that is none of a formula."""
    out: list[Token] = []
    i = 0
    while i < len(tokens):
        run: list[Token] = []
        while i + len(run) < len(tokens) and _is_word(tokens[i + len(run)], bool(run)):
            run.append(tokens[i + len(run)])
        if len(run) > 1 or any(token.text in ENGLISH for token in run):
            words = " ".join(token.text for token in run)
            out.append(Token("text", words, run[0].before, run[-1].behind))
            i += len(run)
        else:
            out.append(tokens[i])
            i += 1
    return out


def _is_word(token: Token, within: bool) -> bool:
    name = token.text
    if token.kind != "name" or not name.isalpha() or not token.before:
        return False
    if within and name in {"a", "log"}:
        return True
    known = {*GREEK, *PLAIN, *OPERATORS, *LARGE, *SYMBOLS, "sqrt", "binom"}
    if len(name) < 2 or name in known or differential(name) is not None:
        return False
    return token.behind or within or name in ENGLISH
