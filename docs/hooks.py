"""What mkdocs calls while it builds the site: formulas become MathML, which browsers set without a script."""

import html
import re
from typing import Any

from math_core import LatexError, LatexToMathML
from mkdocs.exceptions import PluginError

# What arithmatex leaves of `$...$` and of `$$...$$`.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
CONVERTER = LatexToMathML(fancy_error=False)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """The page's HTML with its formulas as MathML."""

    def mathml(latex: str, display: bool) -> str:
        try:
            return CONVERTER.convert_with_local_state(latex.strip(), displaystyle=display)
        except LatexError as error:
            raise PluginError(f"{page.file.src_uri}: {latex.strip()}: {error}") from error

    def displayed(match: re.Match[str]) -> str:
        """Each part an element of its own, so that a narrow page can break between them."""
        latex = html.unescape(match[1])
        parts = [latex] if r"\begin" in latex else latex.split(r"\qquad")
        return f'<div class="formula">{"".join(mathml(part, True) for part in parts)}</div>'

    content = DISPLAY.sub(displayed, content)
    return INLINE.sub(lambda match: mathml(html.unescape(match[1]), False), content)
