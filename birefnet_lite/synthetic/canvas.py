"""The `Canvas` on which a group of scenes is drawn: coordinates, materials, lighting and painting of parts."""

import math

import torch
from torch import Tensor

from birefnet_lite.synthetic import signed_distance as sd
from birefnet_lite.synthetic.colours import random_colours, separate_colours
from birefnet_lite.synthetic.lighting import Light
from birefnet_lite.synthetic.materials import NOISES, PATTERN_WEIGHTS, PATTERNS, Material
from birefnet_lite.synthetic.random_numbers import RandomNumbers
from birefnet_lite.synthetic.textures import spectral_noise


class Canvas:
    """Pictures of n scenes and the alpha matte of their object, painted part by part.

    Attributes:
        colour: The pictures, (n, 3, H, W).
        alpha: The alpha matte of what was painted, (n, H, W).
        x, y: Coordinates to draw in, (n, H, W). The shorter side of the frame spans -1 to 1, until `place` moves,
            rotates and scales them.
        pixel: Size of a pixel in these coordinates, (n, 1, 1).
        within: Centre and zoom of the part of the frame in which `place` puts the object.

    Args:
        rng: Random numbers of the n scenes.
        size: (H, W).
        hardness: From 0 to 1; colours may be closer to the background's at 1.
        background_colour: Mean colour of the backgrounds, (n, 3, 1, 1), or None.
    """

    def __init__(
        self, rng: RandomNumbers, size: tuple[int, int], hardness: float = 0.5, background_colour: Tensor | None = None
    ):
        height, width = size
        half = min(size) / 2
        self.rng, self.size, self.hardness, self.background_colour = rng, size, hardness, background_colour
        rows = (torch.arange(height, device=rng.device) + 0.5 - height / 2) / half
        columns = (torch.arange(width, device=rng.device) + 0.5 - width / 2) / half
        self.x = self.frame_x = columns.expand(rng.n, height, width)
        self.y = self.frame_y = rows[:, None].expand(rng.n, height, width)
        self.within: tuple[float, float, float] = (0.0, 0.0, 1.0)
        self.frame = (width / min(size), height / min(size))  # half extents
        self.pixel = torch.full((rng.n, 1, 1), 1 / half, device=rng.device)
        self.colour = torch.full((rng.n, 3, height, width), 0.5, device=rng.device)
        self.alpha = torch.zeros(rng.n, height, width, device=rng.device)
        self.light = Light(rng)
        self.noises: dict[str, Tensor] = {}

    # -- coordinates ---------------------------------------------------------------------------------------------------
    def place(
        self,
        reach: tuple[float, float] = (0.45, 0.95),
        turn: float = 0.15,
        spread: float = 0.25,
        at: tuple[float, float] = (0.0, 0.0),
        squash: float = 0.15,
        wobble: float = 0.03,
        flip: bool = True,
        slant: float = 0.1,
    ) -> None:
        """Choose random coordinates for the object: its unit circle is placed somewhere in the frame.

        Args:
            reach: Range of its radius, in halves of the shorter side.
            turn: Largest rotation, in radians.
            spread: Largest distance of its centre from `at`, in halves of the frame.
            at: Mean centre.
            squash: Logarithm of the largest stretch of an axis.
            wobble: Size of smooth random distortions.
            flip: Whether it may be mirrored.
            slant: Largest shear and perspective.
        """
        d = self.rng
        left, top, zoom = self.within
        scale = 1.05 * zoom * (d.uniform(0, 1) ** 0.6 * (reach[1] - reach[0]) + reach[0])
        x = self.frame_x - (left + (at[0] + d.uniform(-spread, spread)) * zoom) * self.frame[0]
        y = self.frame_y - (top + (at[1] + d.uniform(-spread, spread)) * zoom) * self.frame[1]
        x, y = sd.rotate(x / scale, y / scale, d.uniform(-turn, turn))
        stretch = (d.uniform(-squash, squash)).exp()
        x, y = x * stretch, y / stretch
        if flip:
            x = x * d.sign()
        x = x * (1 + d.uniform(-slant, slant) * y) + d.uniform(-slant, slant) * y
        if wobble:
            bumps = self.noise("broad")
            strength = d.uniform(0, wobble)
            x, y = x + strength * bumps, y + strength * self.noise("broad")
        self.x, self.y = x, y
        self.pixel = 2 / min(self.size) / scale

    def noise(self, name: str) -> Tensor:
        """Noise (n, H, W) of one of `NOISES`, standard deviation 1; the same field each time, randomly rolled."""
        if name not in self.noises:
            self.noises[name] = spectral_noise(self.rng, self.size, *NOISES[name])
        field, k = self.noises[name], self.rng.integer(0, self.size[0] - 1)
        return torch.cat((field[:, k:], field[:, :k]), 1)

    # -- materials -----------------------------------------------------------------------------------------------------
    def colour_of(self, tone: str | None = None, free: bool = False) -> Tensor:
        """Colours (n, 3, 1, 1) of a palette; unless `free`, they differ from the background's mean colour."""
        colour = random_colours(self.rng, tone)
        if self.background_colour is None or free:
            return colour
        return separate_colours(colour, self.background_colour, 0.42 - 0.36 * self.hardness)

    def material(
        self,
        tone: str | None = None,
        pattern: str | None = None,
        grain: float | None = None,
        gloss: float | None = None,
        other: str | None = None,
        free: bool | None = None,
    ) -> Material:
        """A material of a palette; arguments that are None are random. `free` ones may have the background's colour."""
        d = self.rng
        free = d.flag(0.15 + 0.35 * self.hardness) if free is None else free
        base = self.colour_of(tone, free)
        second = (
            self.colour_of(other or tone, True)
            if other or d.flag(0.5)
            else (base * d.uniform(0.55, 1.4)[:, None]).clamp(0, 1)
        )
        pattern = pattern or d.pick(PATTERNS, PATTERN_WEIGHTS)
        grain = d.pick((0.0, 0.03, 0.06, 0.1, 0.16)) if grain is None else grain
        gloss = d.pick((0.0, 0.0, 0.15, 0.4)) if gloss is None else gloss
        return Material(base, second, pattern, grain, gloss, d.pick((0.5, 0.8, 1.0, 1.6)))

    def pattern_weights(self, material: Material) -> Tensor:
        """Weights of a pattern that is not plain, (n, H, W) from 0 (`base`) to 1 (`other`)."""
        d, kind, scale = self.rng, material.pattern, material.scale
        if kind == "mottled":
            return (self.noise("mottle") * 0.3 + 0.4).clamp(0, 1)
        if kind == "patches":
            return ((self.noise("broad") + d.uniform(-0.6, 0.6)) * 6 + 0.5).clamp(0, 1)
        if kind == "spots":
            return ((self.noise("spots") - d.uniform(0.4, 1.0)) * 5).clamp(0, 1)
        if kind == "streaks":
            name = f"streaks{d.integer(0, 1)}"
            if name not in self.noises:
                angle, stretch = math.pi / 8 * d.integer(0, 7), d.pick((3.0, 6.0))
                self.noises[name] = spectral_noise(d, self.size, 3.0, 80.0, 0.8, angle, stretch)
            return (self.noise(name) * 0.3 + 0.45).clamp(0, 1)
        u, v = sd.rotate(self.x, self.y, d.uniform(0, math.pi))
        if kind == "gradient":
            return (u * 0.5 * d.uniform(0.5, 1.5) + 0.5).clamp(0, 1)
        u = u + 0.06 * self.noise("broad") * d.uniform(0, 1)
        period = 0.22 * scale * d.uniform(0.6, 1.6)
        waves = ((u * (2 * math.pi / period)).sin() * 3 + d.uniform(-1.5, 1.5) + 0.5).clamp(0, 1)
        if kind == "stripes":
            return waves
        if kind == "checks":
            return 0.5 * waves + 0.5 * ((v * (2 * math.pi / period)).sin() * 3 + 0.5).clamp(0, 1)
        raise ValueError(f"no pattern {kind!r}; choose one of {', '.join(PATTERNS)}")

    # -- painting ------------------------------------------------------------------------------------------------------
    def surface(self, material: Material, distance: Tensor | None = None, roundness: Tensor | float = 0.3) -> Tensor:
        """Colours (n, 3, H, W) of a material; with a signed distance they are lit as a rounded body."""
        colour = material.base
        if material.pattern != "plain":
            colour = colour + (material.other - colour) * self.pattern_weights(material)[:, None]
        tone: Tensor | None = None
        if material.grain:
            tone = 1 + material.grain * self.noise(self.rng.pick(("rough", "rough", "grain", "cloud")))
        shine = None
        if distance is not None:
            light, shine = self.light.shade(distance, roundness, self.pixel, material.gloss > 0)
            tone = light if tone is None else tone * light
        if tone is not None:
            colour = colour * tone[:, None]
        if shine is not None:
            colour = colour + material.gloss * shine[:, None]
        return colour

    def paint(
        self,
        distance: Tensor,
        material: Material,
        roundness: Tensor | float = 0.3,
        shaded: bool = True,
        visible: Tensor | None = None,
        soft: float = 1.0,
        contact: float = 0.3,
        fuzz: float = 0.0,
        relief: Tensor | None = None,
    ) -> None:
        """Paint a part over the object.

        Args:
            distance: Signed distance to the part's outline, (n, H, W).
            material: Its look.
            roundness: Width of its rounded edge.
            shaded: Whether it is lit.
            visible: Which scenes have the part, (n, 1, 1) of 0 and 1.
            soft: Width of the edge in pixels, over which alpha rises.
            contact: Strength of the shadow on the parts just behind.
            fuzz: How far tufts of fur stick out over the outline.
            relief: Signed distance for the lighting, (n, H, W), if it is not `distance`.
        """
        outline = distance
        if fuzz:
            outline = distance + fuzz * self.rng.uniform(0.1, 1) * self.noise("tufts")
        cover = (0.5 - outline / (self.pixel * soft)).clamp(0, 1)
        if visible is not None:
            cover = cover * visible
        if contact:
            near = (1 - distance.clamp(min=0) * (1 / 0.07)).clamp(min=0) * contact
            if visible is not None:
                near = near * visible
            self.colour = self.colour * (1 - near * self.alpha)[:, None]
        body = distance if relief is None else relief
        colour = self.surface(material, body if shaded else None, roundness)
        self.colour = torch.lerp(self.colour, colour.expand_as(self.colour), cover[:, None])
        self.alpha = self.alpha + cover * (1 - self.alpha)

    def mark(self, distance: Tensor, material: Material, soft: float = 1.0, visible: Tensor | None = None) -> None:
        """Colour the inside of an outline on the object: eyes, windows, prints. Alpha does not change."""
        cover = (0.5 - distance / (self.pixel * soft)).clamp(0, 1) * self.alpha
        if visible is not None:
            cover = cover * visible
        self.colour = torch.lerp(self.colour, self.surface(material).expand_as(self.colour), cover[:, None])

    def fill(self, colour: Tensor, where: Tensor | float = 1.0) -> None:
        """Blend a colour over the picture with weights `where`, (n, H, W) or one number. Alpha does not change."""
        if isinstance(where, Tensor):
            where = where[:, None]
        self.colour = torch.lerp(
            self.colour, colour.expand_as(self.colour), torch.as_tensor(where, device=colour.device)
        )

    def cut_hole(self, distance: Tensor) -> None:
        """Cut a hole through everything painted so far."""
        self.alpha = self.alpha * (0.5 + distance / self.pixel).clamp(0, 1)
