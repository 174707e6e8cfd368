"""The page of a report: what it says is right, it is well formed, and a browser shows it."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from PIL import Image

import pushforward as pf
from pushforward.architectures.typed import Typed
from pushforward.cli import main
from pushforward.columns.typed_columns import TypedColumns
from pushforward.data.pictures import grid
from pushforward.errors import InputError
from pushforward.fitting.fit_typed import fit_typed
from pushforward.models.explanation import explained
from pushforward.models.image_file import load_image_model
from pushforward.models.table_file import load_table_model
from pushforward.models.typed_file import save_typed_table
from pushforward.models.typed_table import TypedTable
from pushforward.report.calibration import BINS, CHANCE, calibrated, outside, ranks
from pushforward.report.draws import distance
from pushforward.report.findings import Findings, Values, some_rows
from pushforward.report.flow import flow_findings
from pushforward.report.gaps import patterns
from pushforward.report.html import VOID, element
from pushforward.report.page import report_page
from pushforward.report.picture_page import picture_page
from pushforward.report.pictures import picture_findings
from pushforward.report.svg import ticks
from pushforward.report.typed import typed_findings
from pushforward.report.verdict import headline, reasons
from pushforward.testing import perturbed
from pushforward.trust.picture_verdict import judged

SMALL = {"width": 24, "blocks": 1, "context": 16, "context_blocks": 1, "components": 4}
WICKED = "<script>alert('a&b')</script>"
"""A name of a column that must not become markup."""


def table(n=600, seed=0):
    """Of every kind; `copy` repeats `kind`, `alone` depends on nothing."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["bus", "tram", "rail"], n)
    delay = np.where(rng.uniform(size=n) < 0.6, 0, rng.poisson(12, n))
    days = np.datetime64("2024-01-01") + rng.integers(0, 90, n)
    return pl.DataFrame(
        {
            "kind": kind,
            "copy": kind,
            "alone": rng.normal(size=n),
            "delay": delay,
            WICKED: rng.choice(["<b>", "&amp;", '"'], n),
            "day": days.astype("datetime64[ms]"),
            "late": delay > 5,
            "stop": pl.Series([None if u < 0.2 else int(10 * u) for u in rng.uniform(size=n)]),
            "id": [f"t{i}" for i in range(n)],
            "net": ["north"] * n,
        }
    ).with_columns(pl.col("day").cast(pl.Date))


@pytest.fixture(scope="module")
def model():
    training = pf.Training(max_steps=400, batch=128)
    architecture = Typed(**SMALL, dropout=0.0)
    return fit_typed(table(), architecture=architecture, training=training, seed=1)


@pytest.fixture(scope="module")
def found(model):
    frame = table(500, seed=7).with_columns(
        pl.when(pl.int_range(500) == 123).then(12.0).otherwise(pl.col("alone")).alias("alone")
    )
    claimed = replace(
        model, trust={**model.trust, "agreement": {"mean_difference": 0.34}, "privacy": {"x": {}}}
    )
    return typed_findings(claimed, frame)


@pytest.fixture(scope="module")
def page(found):
    return report_page(found, "m.safetensors", "table.csv")


class Reader(HTMLParser):
    """Elements that do not close, identifiers, references, attributes that could load something."""

    def __init__(self, page):
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.refs: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.tags: Counter[str] = Counter()
        self.feed(page)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name == "href" and value.startswith("#"):
                self.refs.append(value[1:])
            elif name in ("aria-labelledby", "aria-describedby"):
                self.refs += value.split()
            elif name in ("src", "href", "srcset", "action", "data") or name.startswith("on"):
                self.loads.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.wrong.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data):
        self.text.append(data)


def faults(page):
    """What is wrong with a page, in words."""
    read = Reader(page)
    found = [f"not nested: {tag}" for tag in read.wrong]
    found += [f"twice: {name}" for name, count in Counter(read.ids).items() if count > 1]
    found += [f"leads nowhere: {name}" for name in read.refs if name not in read.ids]
    found += [f"loads {what}" for what in read.loads if not what.startswith("data:")]
    found += [f"names {url}" for url in re.findall(r"(?:https?:|url\()\S*", page)]
    if read.tags["script"]:
        found.append("has a script")
    if read.tags["img"] != page.count(' alt="'):
        found.append("a picture without words")
    for tag, inner in (("table", "caption"), ("svg", "desc"), ("section", "h2")):
        if read.tags[tag] != read.tags[inner]:
            found.append(f"{read.tags[tag]} of {tag}, {read.tags[inner]} of {inner}")
    return found


class TestPage:
    def test_is_well_formed_and_loads_nothing(self, page):
        assert faults(page) == []
        assert len(page) < 500_000

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ("<p><b>x</p></b>", "not nested"),
            ("<p>x", "not nested"),
            ('<p id="verdict"></p>', "twice: verdict"),
            ('<a href="#nowhere">x</a>', "leads nowhere"),
            ('<img src="https://a.b/c.png">', "loads https"),
            ('<img src="data:,">', "without words"),
            ("<script>1</script>", "has a script"),
            ("<table></table>", "of caption"),
        ],
    )
    def test_faults_are_seen(self, page, fault, message):
        assert any(
            message in line for line in faults(page.replace("</footer>", f"{fault}</footer>"))
        )

    def test_names_and_cells_are_text(self, page):
        text = "".join(Reader(page).text)
        assert WICKED in text
        assert f"{WICKED}: <b>" in text
        assert "<script" not in page

    def test_sections(self, page):
        names = re.findall(r'<section id="([a-z-]+)"', page)
        assert names == [
            "verdict", "model", "nats", "columns", "dependence", "by-column", "typical", "gaps", "strange", "agreement",
            "privacy",
        ]  # fmt: skip
        assert "<dt>mean difference</dt><dd>0.34</dd>" in page

    def test_elements_escape(self):
        assert element("p", "<", ["&"], None, title='"') == '<p title="&quot;">&lt;&amp;</p>'


class TestFindings:
    def test_kinds_and_what_is_left_out(self, found):
        assert [c.name for c in found.left_out] == ["id", "net"]
        measures = {c.name: c.measure for c in found.columns}
        assert measures["alone"] == "density, per unit of the column"
        assert measures["kind"] == measures["day"] == "probability"

    def test_a_copy_gains_all_and_noise_nothing(self, found):
        gain = {c.name: c.given_rest[0] - c.alone[0] for c in found.columns}
        assert gain["copy"] > 0.7 * np.log(3)
        assert gain["alone"] < 0.1

    def test_dependence(self, found, model):
        names, nats = list(found.dependence.names), found.dependence.nats
        assert np.nanmax(nats) == nats[names.index("kind"), names.index("copy")] > 0.4
        assert abs(nats[names.index("kind"), names.index("alone")]) < 0.1
        assert np.array_equal(nats, nats.T, equal_nan=True)
        frame = table(500, seed=7)
        pair, *each = (
            model.log_prob(frame, targets=some) for some in (["delay", "late"], ["delay"], ["late"])
        )
        expected = (pair - sum(each)).mean()
        assert nats[names.index("delay"), names.index("late")] == pytest.approx(expected, abs=1e-4)

    def test_the_strangest_row_is_found_with_its_column(self, found):
        first = found.strangest[0]
        assert (first.number, first.column) == (124, "alone")
        assert {name: cell for name, cell, _ in first.cells}["alone"] == "12.0"
        assert len(found.strangest) == 20

    def test_strange_rows_are_explained_as_explain_does(self, found, model):
        row = found.strangest[1]
        lines = explained(model, table(500, seed=7)[row.number - 1], cells=True)
        excess = lines["surprise"] - lines["expected"]
        assert row.column == lines["column"].to_list()[int(np.argmax(excess.to_numpy()))]
        assert row.excess == pytest.approx(excess.max(), abs=1e-3)
        of_cells = {name: nats for name, _, nats in row.cells if nats is not None}
        assert of_cells == pytest.approx(
            dict(zip(lines["column"], lines["surprise"], strict=True)), abs=1e-3
        )

    def test_log_probabilities_are_the_models(self, found, model):
        frame = table(500, seed=7)
        np.testing.assert_allclose(
            np.delete(found.log_prob, 123), np.delete(model.log_prob(frame), 123), atol=1e-3
        )

    def test_gaps(self, found):
        shares = {missing: (rows, draws) for missing, rows, draws in found.gaps}
        assert shares[("stop",)] == pytest.approx((0.2, 0.2), abs=0.08)
        rows = np.array([[True, False], [False, False], [True, False]])
        assert patterns(("a", "b"), rows, rows[:1]) == (
            (("a",), pytest.approx(2 / 3), 1.0),
            ((), pytest.approx(1 / 3), 0.0),
        )

    def test_empty_rows_and_tables(self, model):
        frame = table(3)
        nothing = pl.DataFrame({name: pl.Series([None] * 3) for name in frame.columns})
        with pytest.raises(InputError, match="no row with a cell of the model"):
            typed_findings(model, nothing)
        with pytest.raises(InputError, match="lacks column 'kind'"):
            typed_findings(model, frame.drop("kind"))

    def test_rows_of_a_long_table(self):
        at = some_rows(300_000, 0)
        assert len(at) == len(np.unique(at)) == 4096
        assert some_rows(10, 0).tolist() == list(range(10))


class TestCalibration:
    @pytest.mark.parametrize("name", ["alone", "kind", "many", "turn"])
    def test_ranks_of_the_models_own_draws_are_uniform(self, name):
        """Of points, labels, cells and arcs, with nothing to be given."""
        rng = np.random.default_rng(0)
        more = {"many": rng.poisson(40, 600) ** 2, "turn": rng.integers(0, 40, 600) * 9}
        frame = table().with_columns(**{k: pl.Series(v) for k, v in more.items()}).select(name)
        declared = {"turn": "circular:360"} if name == "turn" else {}
        columns, architecture = TypedColumns.fit(frame, declared=declared), Typed(**SMALL)
        columns, start = columns.counted(columns.encode(columns.read(frame)), 5)
        layout = columns.layout(architecture.components)
        built = architecture.build(layout, start, key=jax.random.key(0))
        model = TypedTable(perturbed(built, jax.random.key(1), 1.0), architecture, columns)
        drawn = model.sample(2000, 3)
        found = np.sort(ranks(model, columns.encode(columns.read(drawn)), 0)[:, 0])
        assert np.abs(found - (np.arange(2000) + 0.5) / 2000).max() < 0.044
        # Those of the table are not: the model is of random parameters.
        of_table = ranks(model, columns.encode(columns.read(frame)), 0)[:, 0]
        assert np.abs(np.sort(of_table) - (np.arange(600) + 0.5) / 600).max() > 0.08

    def test_gaps_have_no_ranks(self, model):
        found = ranks(model, model.columns.encode(model.columns.read(table(50))), 0)
        assert np.isnan(found[:, ~model.columns.values]).all()
        stop = model.columns.names.index("stop")
        of_stop = found[:, model.columns.values][:, stop]
        assert np.isnan(of_stop).tolist() == table(50)["stop"].is_null().to_list()

    def test_the_band_is_left_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        left = np.mean([outside(rng.uniform(size=1000)).any() for _ in range(400)])
        assert left < CHANCE + 0.04

    @pytest.mark.parametrize(
        ("draw", "good"),
        [
            (lambda rng: rng.uniform(size=1000), True),
            (lambda rng: rng.beta(0.7, 0.7, 1000), False),
            (lambda rng: rng.beta(1.5, 1, 1000), False),
            (lambda rng: rng.uniform(size=20), None),
        ],
    )
    def test_of_a_column(self, draw, good):
        drawn = draw(np.random.default_rng(1))
        assert calibrated(values(ranks=drawn)) is good
        assert BINS == 20


def values(rows=(), draws=(), **more):
    return Values(
        "x", "whole", "", "probability", np.array(rows), np.array(draws), write=str, **more
    )


class TestDistance:
    @pytest.mark.parametrize("labels", [False, True])
    def test_chance_and_a_shift(self, labels):
        rng = np.random.default_rng(0)
        levels = tuple(range(10)) if labels else None
        rows, same = rng.integers(0, 10, (2, 2000))
        shifted = np.minimum(same + 2, 9)
        near, far = (distance(values(rows, d, levels=levels), 5) for d in (same, shifted))
        assert near.size < near.chance
        assert far.size > far.chance

    def test_rare_labels_are_never_drawn_and_do_not_count(self):
        column = values(["a", "b", "c", "d"] * 500, ["a", "b"] * 1000, levels=("a", "b"))
        assert distance(column, 1).size == 0


class TestVerdict:
    def given(self, **trust):
        zero = np.zeros(3)
        return Findings("p(x)", {}, {}, trust, (), 3, 3, (), zero, zero, "")

    def test_follows_the_gain(self):
        figures = {"nats": -1.0, "nats_error": 0.1, "marginal_nats": -2.0}
        assert headline(self.given(**figures, gain=1.0, gain_error=0.1))[1] is True
        assert headline(self.given(**figures, gain=0.1, gain_error=0.1))[1] is False
        assert headline(self.given(**figures, gain=-1.0, gain_error=0.1))[0].startswith("Worse")
        assert headline(self.given())[1] is None

    def test_a_better_simple_model_speaks_against_it(self):
        trust = {"nats": -1.0, "marginal_nats": -2.0, "tree_nats": -0.5}
        (reason,) = reasons(self.given(**trust), [])
        assert reason.speaks_for is False
        assert "tree of pairs, -0.500" in reason.text

    def test_of_a_flow_has_its_warnings(self):
        found = replace(self.given(), trust_lines=("fine", "warning: draws reach too far"))
        assert [(r.text, r.speaks_for) for r in reasons(found, [])] == [
            ("fine", None),
            ("draws reach too far", False),
        ]


def test_a_flow_has_what_it_can_say():
    folder = Path(__file__).parent / "golden" / "0.5.0"
    fitted = load_table_model(folder / "kinds.safetensors")
    rows = fitted.sample(300, 1)
    found = flow_findings(fitted, rows)
    page = report_page(found, "m", "t")
    assert faults(page) == []
    assert 'id="left-out"' in page
    assert 'id="dependence"' not in page
    np.testing.assert_allclose(found.log_prob, fitted.log_prob(rows))
    conditional = load_table_model(folder / "table.safetensors")
    if conditional.condition is not None:
        given = np.tile([k.median for k in conditional.condition.kinds], (50, 1))
        found = flow_findings(conditional, conditional.sample(1, 0, given), given)
        assert " | " in found.density


HELD = {
    "held_out": {
        "pictures": 200, "bits": 3.0, "error": 0.02, "quantiles": np.linspace(2, 4, 101).tolist()
    },
    "anchors": {"uniform": 4.0, "levels": 3.9, "pixels": 3.3, "neighbours": 3.4},
    "bound": {"pictures": 100, "draws": 8, "by_one": 3.0, "bits": 2.95},
    "round_trip": {"held_out": 0.0, "draws": 0.0, "noise": 0.0},
    "stretch": {"pictures": 8, "largest": 40.0, "median": 30.0},
    "draws": {
        "count": 64, "bits": 3.1, "non_finite": 0, "nearest": [2.0] * 16,
        "nearest_held_out": [2.5] * 16,
    },
    "classes": {"pictures": 200, "accuracy": 0.9, "chance": 0.5},
}  # fmt: skip
"""What a fit measures of pictures, all of it good."""
GOLDEN = Path(__file__).parent / "golden" / "0.5.0"


@pytest.fixture(scope="module")
def of_pictures():
    return replace(load_image_model(GOLDEN / "pictures.safetensors"), trust=HELD)


@pytest.fixture(scope="module")
def seen(of_pictures):
    """Its draws are among the pictures that it was given, the last ones."""
    x = np.random.default_rng(0).integers(0, 16, (40, 4, 4, 1)).astype(np.uint8)
    x = np.concatenate([x, of_pictures.sample(10, 3)])
    return x, picture_findings(of_pictures, x, ["dark", "light"] * 25, 3)


class TestPictures:
    def test_page(self, seen):
        page = picture_page(seen[1], "m.safetensors", "pictures")
        assert faults(page) == []
        names = re.findall(r'<section id="([a-z-]+)"', page)
        assert names == [
            "verdict", "model", "bits", "typical", "draws", "nearest", "back", "classes", "familiar", "file",
        ]  # fmt: skip
        text = "".join(Reader(page).text)
        assert "Better than counting levels by 0.300 bits" in text
        assert "uniform noise" in text
        assert "8 draws of the noise" in text

    def test_shows_what_the_model_draws(self, seen, of_pictures):
        x, found = seen
        page = picture_page(found, "m", "pictures")
        packed = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
        shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in packed]
        draws = of_pictures.sample(64, 3)
        np.testing.assert_array_equal(shown[0], grid(draws * 17, 2)[..., 0])
        nearest = grid(np.concatenate([draws[:10], x[40:]]) * 17, 10)[..., 0]
        np.testing.assert_array_equal(shown[2], nearest)
        assert (found.given.distances == 0).all()
        bits = of_pictures.bits_per_dim(x, ["dark", "light"] * 25)
        np.testing.assert_allclose(found.given.bits, bits, rtol=1e-5)
        np.testing.assert_array_equal(found.given.most[0], x[np.argmax(bits)])
        np.testing.assert_array_equal(found.given.fewest[0], x[np.argmin(bits)])

    def test_of_the_file_alone_and_of_nothing_held_out(self, of_pictures):
        page = picture_page(picture_findings(of_pictures), "m")
        assert faults(page) == []
        assert 'id="left-out"' in page
        assert page.count("<img") == 1
        bare = picture_page(picture_findings(replace(of_pictures, trust={})), "m")
        assert faults(bare) == []
        assert "nobody knows" in bare

    def test_without_labels_nothing_is_scored(self, seen, of_pictures):
        found = picture_findings(of_pictures, seen[0])
        assert found.given.bits is None
        assert "have no labels" in picture_page(found, "m", "x")

    @pytest.mark.parametrize(
        ("part", "name", "value", "words"),
        [
            ("held_out", "bits", 3.28, "not fewer than counting"),
            ("round_trip", "held_out", 1e-3, "wrong after there and back"),
            ("round_trip", "draws", 1e-3, "wrong after there and back"),
            ("stretch", "largest", 1e8, "another picture"),
            ("draws", "non_finite", 3, "3 of 64 draws"),
            ("draws", "bits", 3.8, "too wild"),
            ("draws", "bits", 2.3, "too plain"),
            ("draws", "nearest", [1.0] * 16, "may be copies"),
            ("classes", "accuracy", 0.52, "52.0%"),
        ],
    )
    def test_what_speaks_against_a_model(self, part, name, value, words):
        assert [text for text, good in judged(HELD) if good is False] == []
        (text,) = [
            text
            for text, good in judged({**HELD, part: {**HELD[part], name: value}})
            if good is False
        ]
        assert words in text

    def test_records_of_earlier_fits(self, of_pictures):
        draws = {k: v for k, v in HELD["draws"].items() if k != "non_finite"}
        classes = {"pictures": 200, "accuracy": 0.9}
        trust = {**HELD, "draws": draws, "classes": classes}
        del trust["stretch"]
        found = picture_findings(replace(of_pictures, trust=trust))
        assert faults(picture_page(found, "m")) == []

    def test_command(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        model = str(GOLDEN / "pictures.safetensors")
        assert main(["report", model, "-o", "r.html"]) == 0
        assert "64 draws, no pictures" in capsys.readouterr().err
        assert faults(Path("r.html").read_text(encoding="utf-8")) == []
        np.save("x.npy", np.zeros((3, 5, 4), np.uint8))
        for words, message in {
            (model, "x.npy"): "(5, 4, 1)",
            (str(GOLDEN / "kinds.safetensors"),): "name the table after it",
        }.items():
            assert main(["report", *words, "-o", "s.html"]) == 2
            assert message in capsys.readouterr().err


def test_ticks_are_round():
    assert ticks(0.0, 7.3) == [0.0, 2.0, 4.0, 6.0]
    assert ticks(5.0, 5.0) == [5.0]


class TestCommand:
    def test_writes_a_page_and_keeps_what_is_there(self, model, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        save_typed_table(model, "m.safetensors")
        table(60, seed=3).write_parquet("t.parquet")
        assert main(["report", "m.safetensors", "t.parquet", "-o", "r.html"]) == 0
        assert "60 of 60 rows" in capsys.readouterr().err
        assert faults(Path("r.html").read_text(encoding="utf-8")) == []
        for words, message in (
            (["-o", "r.html"], "r.html: exists already"),
            (["-o", "r.csv"], "r.csv: a report is a page of HTML"),
            (["-o", "no/r.html"], "does not exist"),
        ):
            assert main(["report", "m.safetensors", "t.parquet", *words]) == 2
            assert message in capsys.readouterr().err


PROBE = """
<script>
const box = document.documentElement, out = {};
out.wide = box.scrollWidth - window.innerWidth;
out.ground = getComputedStyle(document.body).backgroundColor;
out.flat = [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height < 5
  && !s.closest('details')).length;
const stops = [...document.querySelectorAll('a[href], summary, [tabindex]')]
  .filter(e => !e.closest('details:not([open]) > :not(summary)'));
out.deaf = stops.filter(e => { e.focus(); return document.activeElement !== e; }).length;
const fold = document.querySelector('summary'); fold.click();
out.opens = fold.parentElement.open;
out.alerts = document.querySelectorAll('main script').length;
document.documentElement.dataset.probe = JSON.stringify(out);
</script>
"""


class TestBrowser:
    """Chromium renders the page without its policy, with a script that measures it; and as it is."""

    def render(self, page, folder, *options):
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if browser is None:
            pytest.skip("no Chromium on PATH")
        file = folder / "page.html"
        file.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [
                browser, "--headless", "--hide-scrollbars", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                f"--user-data-dir={folder / 'profile'}", *options, "--virtual-time-budget=2000", "--dump-dom",
                file.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return done

    @pytest.mark.parametrize(
        ("width", "dark", "pictures"),
        [(1280, False, False), (390, True, False), (1280, True, True), (390, False, True)],
    )
    def test_renders(self, page, seen, tmp_path, width, dark, pictures):
        if pictures:
            page = picture_page(seen[1], "m", "pictures")
        free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        assert free != page
        options = [f"--window-size={width},900"]
        if dark:
            options.append("--blink-settings=preferredColorScheme=0")
        done = self.render(free.replace("</body>", f"{PROBE}</body>"), tmp_path, *options)
        (measured,) = re.findall(r'data-probe="([^"]+)"', done.stdout)
        probe = json.loads(html.unescape(measured))
        ground = "rgb(18, 23, 29)" if dark else "rgb(255, 255, 255)"
        assert probe == {
            "wide": 0, "ground": ground, "flat": 0, "deaf": 0, "opens": True, "alerts": 0
        }  # fmt: skip

    def test_has_nothing_to_say_on_the_console(self, page, seen, tmp_path):
        of_pictures = picture_page(seen[1], "m", "pictures")
        for one in (page, of_pictures):
            assert "CONSOLE" not in self.render(one, tmp_path).stderr
        broken = page.replace("</footer>", '<img src="nowhere.png"></footer>')
        assert "CONSOLE" in self.render(broken, tmp_path).stderr
