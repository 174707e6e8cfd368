"""The page of the gallery: the pictures that `figures.py zoo` drew, by architecture."""

from pathlib import Path

DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py. docs/figures.py draws the pictures. -->"


def gallery() -> str:
    """The page of learned densities: a card for each picture that `figures.py zoo` has drawn, by architecture."""
    from pushforward.architectures import ARCHITECTURES

    files = {path.stem for path in (DOCS / "img" / "gallery").glob("*.png")}
    out = [
        "---\nhide: [toc]\n---\n",
        NOTE,
        "",
        "# Gallery",
        "",
        "The density that each architecture learns of two moons and of a checkerboard, with its default options and",
        "30 seconds of one core. Each picture is one fit with one seed. The [heat map](choosing.md#measured) has the",
        "nats on these toys and on other data. Click a name for the architecture's options, cost and source.",
        "",
        '<div class="gallery" markdown>',
        "",
        _card("data", "the data"),
    ]
    for name in ARCHITECTURES:
        for stem in sorted(files):
            if stem == name or stem.startswith(f"{name}-"):
                variant = stem.removeprefix(name).replace("-", " ")
                out.append(_card(stem, f"[`{name}`](architectures.md#{name}){variant}"))
    return "\n".join(
        [
            *out,
            "</div>",
            "",
            "`circular_nsf` is for angles and has no picture here. To draw them anew:",
            "",
            "```sh",
            "python benchmarks/zoo.py --data moons checkerboard --folder out/zoo",
            "python docs/figures.py zoo out/zoo",
            "```",
            "",
        ]
    )


def _card(stem: str, caption: str) -> str:
    words = "The two toys" if stem == "data" else f"Densities learned by {stem.replace('-', ' ')}"
    return f"![{words}](img/gallery/{stem}.png){{ loading=lazy }}\n{caption}\n"
