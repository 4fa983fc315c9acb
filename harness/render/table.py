"""Tables as Markdown, HTML and LaTeX."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "→": r"$\rightarrow$", "–": "--",
}  # fmt: skip


def _latex_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    label: str,
    notes: Sequence[str] = (),
) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(latex, cells)) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex(caption)}}}",
            rf"  \label{{tab:{label}}}",
            r"  \smallskip",
            rf"  \resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"    \toprule",
            f"    {line(head)}",
            r"    \midrule",
            *(f"    {line(row)}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}}",
            *(
                rf"  \par\smallskip{{\footnotesize\raggedright {latex(note)}\par}}"
                for note in notes
            ),
            r"\end{table}",
            "",
        ]
    )


def latex(text: str) -> str:
    """Text as LaTeX sets it: special characters escaped, a minus before a number, powers of ten."""
    escaped = "".join(LATEX.get(character, character) for character in text)
    numbers = re.sub(
        r"(?<![\w.-])-(?=\d)", "$-$", escaped
    )  # before the powers, whose minus signs are in formulas already
    powers = re.sub(r"\b1e-0?(\d+)\b", r"$10^{-\1}$", numbers)
    return re.sub(r"\b(\d)e-0?(\d+)\b", r"$\1 \\times 10^{-\2}$", powers)


WIDTH = 120  # columns of text output


def markdown(text: str) -> str:
    """Text that says the same as Markdown, in a cell too."""
    return text.replace("<", "&lt;").replace("|", "\\|")


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`rows` are HTML already."""
    cells = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
