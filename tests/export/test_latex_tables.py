"""LaTeX tables: well formed, say what they show, and compile where there is a LaTeX."""

import re
import shutil
import string
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import by_seed, record

from surgicalft.export import choose_rates, latex, mean_over
from surgicalft.export.escape import beyond_pdflatex, escape, one_line
from surgicalft.report.tables import company
from surgicalft.sweep.frame import to_frame

ODD = r"a_b & 50% #1 $x$ {y} ~z ^2 \end{tabular} <|> -- α Ω µ × … é Ł"
RECORDS = [
    *by_seed([80.0, 82.0], "block 1", scenario=ODD),
    *by_seed([70.0, 71.0], "all", scenario=ODD),
    *by_seed([30.0], "block 1", scenario="cifar10-c/fog"),
    record(None, "block 1", 1, scenario="cifar10-c/fog", error="Diverged: 100%_\nnan"),
    record(None, "all", 0, scenario="cifar10-c/fog", error="Diverged: nan"),
]


def means() -> pd.DataFrame:
    return mean_over(choose_rates(RECORDS))


def body(source: str) -> list[list[str]]:
    """The cells of each line of the tabular, rules aside."""
    inside = re.search(r"\\begin\{tabular\}\{[lr]+\}\n(.*)\\end\{tabular\}", source, re.DOTALL)
    assert inside
    rows = [line for line in inside[1].splitlines() if line.endswith(r"\\")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", row[:-2])] for row in rows]


def well_formed(source: str) -> bool:
    """Braces and environments match, and no character with a meaning is left bare outside of maths."""
    code = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[{}$&%#_\\]", "", code)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return False
    begun, ended = (re.findall(rf"\\{word}\{{(\w+)\}}", code) for word in ("begin", "end"))
    outside = re.sub(r"\$[^$]*\$", "", bare)
    return depth == 0 and begun == ended[::-1] and not set(outside) & set("$#%_^~")


def test_booktabs_rules_and_cells() -> None:
    frame = mean_over(to_frame(by_seed([80.0, 82.0], "block 1") + by_seed([70.0, 70.4], "all")))
    source = latex(frame, ["selection"], caption="Letters", label="tab:letters")
    rules = re.findall(r"\\(toprule|midrule|bottomrule)", source)
    assert rules == ["toprule", "midrule", "bottomrule"]
    assert body(source) == [
        ["selection", "mean"],
        ["block 1", r"\textbf{81.0} {\small$\pm$ 1.0}"],
        ["all", r"70.2 {\small$\pm$ 0.2}"],
    ]
    assert r"\label{tab:letters}" in source and r"\begin{tabular}{lr}" in source
    assert (
        r"\caption{Letters Test accuracy (\%): mean $\pm$ standard error over n = 2 seeds (0, 1). "
        r"Bold: the best selection, and what lies within its standard error.}"
    ) in source


def test_down_and_across_with_failed_runs_and_gaps() -> None:
    source = latex(means(), ["scenario"], "selection")
    assert well_formed(source)
    rows = body(source)
    assert rows[0] == ["", r"\multicolumn{2}{c}{selection}"]
    assert rows[1] == ["scenario", "block 1", "all"]
    assert rows[3] == ["cifar10-c/fog", r"30.0$^\dagger$", "failed"]
    assert r"2 failed runs ($\dagger$), left out of the means." in source
    assert "Learning rates chosen by target" in source


def test_what_leads_rows_stands_once_and_a_rule_parts_them() -> None:
    source = latex(means(), ["scenario", "selection"])
    assert source.count("\\midrule") == 2 and well_formed(source)
    assert [row[0] == "" for row in body(source)[1:]] == [False, True, False, True]


def test_comments_tell_where_the_numbers_come_from() -> None:
    about = company(RECORDS, store="results/runs.sqlite", rule="target_valid", note="two\nlines")
    source = latex(means(), company=about)
    comments = [line for line in source.splitlines() if line.startswith("% ")]
    assert re.match(
        r"% made by surgicalft \S+ on \d{4}-\d\d-\d\d; needs \\usepackage\{booktabs\}", comments[0]
    )
    for text in ("store: results/runs.sqlite", "rule: target_valid", "versions: torch 2.6"):
        assert f"% {text}" in comments
    assert {"% seed: 0, 1", "% device: cpu", "% note: two lines"} <= set(comments)
    assert source.splitlines()[len(comments)].startswith(r"\begin{table}")


@pytest.mark.parametrize("label", ["", "a}b", "a b\n", "50%"])
def test_labels(label: str) -> None:
    with pytest.raises(ValueError, match="a label is letters"):
        latex(means(), label=label)


@pytest.mark.parametrize(
    ("plain", "source"),
    [
        ("a_b & 50%", r"a\_b \& 50\%"),
        ("\\{}", r"\textbackslash{}\{\}"),
        ("~^#$", r"\textasciitilde{}\textasciicircum{}\#\$"),
        ("a---b", "a-{}-{}-b"),
        ("θ Θ Β ς", r"$\theta$ $\Theta$ $B$ ς"),  # noqa: RUF001
        ("1 ± 2 × 3", r"1 $\pm$ 2 $\times$ 3"),
        ("x\n\ty\x00", "x y?"),
        ("größe", "größe"),
    ],
)
def test_escaping(plain: str, source: str) -> None:
    assert escape(plain) == source


@given(st.text())
def test_escaped_text_has_no_meaning_to_latex(plain: str) -> None:
    source = escape(plain)
    assert "\n" not in source and not source.startswith("%")
    assert well_formed(source)


@given(st.text(string.ascii_letters + string.digits + " _&%#{}$"))
def test_escaping_adds_backslashes_only(plain: str) -> None:
    assert escape(plain).replace("\\", "") == one_line(plain)


def test_characters_that_pdflatex_lacks_are_named() -> None:
    assert beyond_pdflatex(escape("é α Ł ± \\ ń")) == set()
    assert beyond_pdflatex("日本 ą ✓") == {"日", "本", "ą", "✓"}
    frame = mean_over(to_frame(by_seed([80.0, 82.0], scenario="日本")))
    assert "% has 日本, which pdfLaTeX does not know: use XeLaTeX or LuaLaTeX" in latex(
        frame, ["scenario"]
    )


def test_it_compiles(tmp_path: Path) -> None:
    if not (pdflatex := shutil.which("pdflatex")):
        pytest.skip("pdflatex is not installed: Debian's texlive-latex-recommended has it")
    letters = [chr(i) for i in range(0x20, 0x3D0) if not beyond_pdflatex(escape(chr(i)))]
    everything = by_seed([10.0, 20.0], scenario="".join(letters) + "ßæœøåłÆŒØÅŁ¡¿–—‘’“”≤≥→")  # noqa: RUF001
    tables = [
        latex(means(), ["scenario"], "selection", company={"error": RECORDS[-2].error}),
        latex(means(), ["scenario", "selection"], label="tab:second", caption=ODD),
        latex(mean_over(to_frame(everything)), ["scenario"], label="tab:third"),
    ]
    document = (
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n%s\\end{document}\n"
    )
    (tmp_path / "paper.tex").write_text(document % "\n".join(tables), encoding="utf-8")
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").exists() and "Missing character" not in done.stdout
