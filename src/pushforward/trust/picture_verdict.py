"""What a trust report of pictures says for a model and against it."""

from typing import Any

import numpy as np

FAMILIAR = "likelihood is not familiarity: flat pictures need few bits under any model, whatever it was fitted to"
ANCHORS = {
    "uniform": "all levels alike",
    "levels": "one distribution of levels",
    "pixels": "each pixel by itself",
    "neighbours": "counts given four neighbours",
}
"""Models that are counted, and what they are called."""
WILD = 1.25
"""How many times the bits of held-out pictures draws may need."""
CLOSE = 0.5
"""The share of the distance of held-out pictures to training pictures that draws have at least."""
ROUNDED = 0.5 / float(np.finfo(np.float32).eps)
"""The stretch at which rounding a latent near 1 to single precision moves a picture by half a level."""


def judged(trust: dict[str, Any]) -> list[tuple[str, bool | None]]:
    """Sentences, and whether each speaks for the model; None for one that does neither.

    Arguments:
        trust: what `trusted_images` measured, by this or an earlier version; or nothing.
    """
    if not trust:
        return []
    return [
        *_counting(trust),
        *_round_trip(trust),
        *_stretch(trust),
        *_draws(trust),
        *_classes(trust),
    ]


def best_count(anchors: dict[str, float]) -> tuple[str, float]:
    """The counted model of the fewest bits, and these."""
    name = min(anchors, key=lambda name: anchors[name])
    return ANCHORS.get(name, name), anchors[name]


def _counting(trust: dict[str, Any]) -> list[tuple[str, bool | None]]:
    held, (name, least) = trust["held_out"], best_count(trust["anchors"])
    need = f"{held['bits']:.3f} bits per dimension of held-out pictures"
    if held["bits"] + 2 * held["error"] < least:
        return [(f"{need} are fewer than counting needs ({name}: {least:.3f})", True)]
    return [
        (f"{need} are not fewer than counting needs ({name}: {least:.3f}): train for longer", False)
    ]


def _round_trip(trust: dict[str, Any]) -> list[tuple[str, bool | None]]:
    wrong = trust["round_trip"]
    found: list[tuple[str, bool | None]] = []
    for what, of in (("held_out", "held-out pictures"), ("draws", "draws")):
        if wrong[what] > 0:
            found.append(
                (f"{wrong[what]:.2g} of the pixels of {of} are wrong after there and back", False)
            )
        else:
            found.append((f"every pixel of {of} comes back after encoding and decoding", True))
    if wrong["noise"] > 0:
        found.append(
            (
                f"far from the data the map has no inverse: of noise {wrong['noise']:.2g} of the pixels are wrong",
                None,
            )
        )
    return found


def _stretch(trust: dict[str, Any]) -> list[tuple[str, bool | None]]:
    if "stretch" not in trust:
        return []
    largest = trust["stretch"]["largest"]
    moved = largest * float(np.finfo(np.float32).eps)
    text = (
        f"rounding a latent to single precision moves a picture by about {moved:.1g} levels at most"
    )
    if largest > ROUNDED:
        return [(f"{text}: half a level is another picture", False)]
    return [(f"{text} (half a level would be another picture)", True)]


def _draws(trust: dict[str, Any]) -> list[tuple[str, bool | None]]:
    draws, held = trust["draws"], trust["held_out"]
    found: list[tuple[str, bool | None]] = []
    if "non_finite" in draws:
        bad = draws["non_finite"]
        text = f"{bad} of {draws['count']} draws at temperature 1 are not finite"
        found.append((text, False) if bad else (f"all {draws['count']} draws are finite", True))
    ratio = (
        f"draws need {draws['bits']:.3f} bits per dimension, held-out pictures {held['bits']:.3f}"
    )
    if draws["bits"] > WILD * held["bits"]:
        found.append((f"{ratio}: more than {WILD:g} times as many, they are too wild", False))
    elif held["bits"] > WILD * draws["bits"]:
        found.append((f"{ratio}: draws are too plain", False))
    else:
        found.append((f"{ratio}: within {WILD:g} times of each other", True))
    nearest, usual = np.median(draws["nearest"]), np.median(draws["nearest_held_out"])
    apart = f"the nearest training picture is {nearest:.1f} levels from a draw, {usual:.1f} from a held-out picture"
    if nearest < CLOSE * usual:
        found.append((f"{apart}: draws may be copies", False))
    else:
        found.append((f"{apart} (below {CLOSE:g} times that, draws may be copies)", True))
    return found


def _classes(trust: dict[str, Any]) -> list[tuple[str, bool | None]]:
    if "classes" not in trust:
        return []
    classes = trust["classes"]
    share, n = classes["accuracy"], classes["pictures"]
    text = f"the most probable class is right for {share:.1%} of {n} held-out pictures"
    if "chance" not in classes:
        return [(text, None)]
    chance = classes["chance"]
    better = share > chance + 2 * (chance * (1 - chance) / n) ** 0.5
    return [(f"{text} (the commonest class for {chance:.1%})", better)]
