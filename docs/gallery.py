"""The page of the gallery: the pictures that `figures.py zoo` drew, by architecture."""

from pathlib import Path

DOCS = Path(__file__).parent
# Why an architecture has no picture, if there is a reason.
ABSENT = {"circular_nsf": ", which is for angles"}
NOTE = "<!-- Written by docs/generate.py. docs/figures.py draws the pictures. -->"


def gallery() -> str:
    """The page of learned densities: a card for each picture that `figures.py zoo` has drawn, by architecture."""
    from pushforward.architectures import registered

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
    names = registered(images=False)
    absent = [_link(name) + ABSENT.get(name, "") for name in names if name not in files]
    for name in names:
        for stem in sorted(files):
            if stem == name or stem.startswith(f"{name}-"):
                variant = stem.removeprefix(name).replace("-", " ")
                out.append(_card(stem, _link(name) + variant))
    return "\n".join(
        [
            *out,
            "</div>",
            "",
            f"Without a picture: {', '.join(absent)}. To draw them all anew:",
            "",
            "```sh",
            "python benchmarks/zoo.py --data moons checkerboard --folder out/zoo",
            "python docs/figures.py zoo out/zoo",
            "```",
            "",
            *_pictures(),
        ]
    )


def _pictures() -> list[str]:
    """The section of models of pictures: grids of draws that `benchmarks/images.py` has left."""
    from pushforward.architectures import registered

    files = {path.stem for path in (DOCS / "img" / "gallery" / "pictures").glob("*.png")}
    names = [name for name in registered(images=True) if name in files]
    return [
        "## Pictures",
        "",
        "64 draws of architectures of images at temperature 1, after equal time on MNIST with default options; no",
        "draw is chosen. [The table](experiments.md#mnist) has their bits per dimension, of which looks say little.",
        "",
        '<div class="gallery" markdown>',
        "",
        *(_card(f"pictures/{name}", _link(name), f"Draws of {name}") for name in names),
        "</div>",
        "",
        "```sh",
        "python benchmarks/images.py --folder docs/img/gallery/pictures",
        "```",
        "",
    ]


def _link(name: str) -> str:
    return f"[`{name}`](architectures.md#{name})"


def _card(stem: str, caption: str, words: str = "") -> str:
    densities = (
        "The two toys" if stem == "data" else f"Densities learned by {stem.replace('-', ' ')}"
    )
    words = words or densities
    return f"![{words}](img/gallery/{stem}.png){{ loading=lazy }}\n{caption}\n"
