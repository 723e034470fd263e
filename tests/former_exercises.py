"""Solutions of exercises that have left the notebooks; their checks stay in `course.checks`."""

# %%
import torch
import torch.nn.functional as F

from birefnet_lite.course import checks
from birefnet_lite.network.aspp import DeformableASPP, batch_norm_or_identity
from birefnet_lite.network.resize import resize


# %% tags=["exercise"]
def step_up(x, lateral, conv):
    """x, enlarged to the height and width of `lateral`, plus conv(lateral).

    Shapes: x (B, C, h, w), lateral (B, L, H, W) with any H and W; conv is a module that takes (B, L, H, W) to
    (B, C, H, W). Returns (B, C, H, W). x is enlarged bilinearly, with align_corners=True.
    """
    # <solution>
    x = F.interpolate(x, size=lateral.shape[-2:], mode="bilinear", align_corners=True)
    return x + conv(lateral)
    # </solution>


# %%
checks.step_up(step_up)


# %% tags=["exercise"]
class ReconstructionBlock(torch.nn.Module):
    """Narrow, look with several receptive fields, widen: (B, in_channels, H, W) to (B, out_channels, H, W).

    Attributes, in the order in which they act: conv_in (3x3, to inter_channels), norm_in, a ReLU, aspp (branches of
    aspp_channels), conv_out (3x3, to out_channels), norm_out. Both convolutions have a bias and keep the map's size.
    Nothing comes after norm_out. With batch_norm=False there is no batch norm, neither here nor in the ASPP.
    """

    def __init__(self, in_channels, out_channels, inter_channels=64, aspp_channels=256, batch_norm=True):
        super().__init__()
        # <solution>
        self.conv_in = torch.nn.Conv2d(in_channels, inter_channels, 3, padding=1)
        self.norm_in = batch_norm_or_identity(inter_channels, batch_norm)
        self.aspp = DeformableASPP(inter_channels, channels=aspp_channels, batch_norm=batch_norm)
        self.conv_out = torch.nn.Conv2d(inter_channels, out_channels, 3, padding=1)
        self.norm_out = batch_norm_or_identity(out_channels, batch_norm)
        # </solution>

    def forward(self, x):
        # <solution>
        x = self.norm_in(self.conv_in(x)).relu()  # (B, inter_channels, H, W)
        return self.norm_out(self.conv_out(self.aspp(x)))
        # </solution>


# %%
checks.reconstruction_block(ReconstructionBlock)


# %% tags=["exercise"]


class MyBlock(torch.nn.Module):
    """Narrow, look with several receptive fields, widen: (B, in_channels, H, W) to (B, out_channels, H, W).

    In the order in which they act: conv_in, norm_in, relu, aspp, conv_out, norm_out. Nothing comes after norm_out.
    """

    def __init__(self, in_channels, out_channels, inter_channels, aspp_channels, batch_norm=True):
        super().__init__()
        self.conv_in = torch.nn.Conv2d(in_channels, inter_channels, 3, padding=1)
        self.norm_in = batch_norm_or_identity(inter_channels, batch_norm)
        self.relu = torch.nn.ReLU()
        self.aspp = DeformableASPP(inter_channels, channels=aspp_channels, batch_norm=batch_norm)
        self.conv_out = torch.nn.Conv2d(inter_channels, out_channels, 3, padding=1)
        self.norm_out = batch_norm_or_identity(out_channels, batch_norm)

    def forward(self, x):
        # <solution>
        x = self.aspp(self.relu(self.norm_in(self.conv_in(x))))
        return self.norm_out(self.conv_out(x))
        # </solution>


# %%
checks.my_block(MyBlock)


# %% tags=["exercise"]
class MyOutward(torch.nn.Module):
    """Gradient features, and the attention read from them. (B, in_channels, H, W) to two maps (B, 1, H, W).

    conv, norm and relu make the features. attention_head reads the attention, which a sigmoid brings between 0 and 1;
    gradient_head reads the gradient logits. Returns the attention, then the logits.
    """

    def __init__(self, in_channels, channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(in_channels, channels, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(channels)
        self.relu = torch.nn.ReLU()
        self.gradient_head = torch.nn.Conv2d(channels, 1, 1)
        self.attention_head = torch.nn.Conv2d(channels, 1, 1)

    def forward(self, x):
        # <solution>
        features = self.relu(self.norm(self.conv(x)))
        return self.attention_head(features).sigmoid(), self.gradient_head(features)
        # </solution>


# %%
checks.my_outward(MyOutward)


# %% tags=["exercise"]
def my_stage(stage, x, image, lateral):
    """One stage of the decoder. Returns three things: features, side_logits, gradient_logits.

    stage.inward(image) is concatenated behind x; stage.reconstruction makes r of both. stage.side_head(r) gives the
    side logits. stage.outward(r) gives the attention, which is multiplied with r, and the gradient logits.
    features: the weighed map, resized to the lateral map's height and width, plus stage.lateral(lateral).
    In the last stage, side_head, outward, lateral and the argument `lateral` are None: nothing is weighed or added, and
    the map is resized to the image's height and width. side_logits and gradient_logits are None where they do not
    exist, and whenever stage.training is False; the attention always acts.
    """
    # <solution>
    r = stage.reconstruction(torch.cat([x, stage.inward(image)], dim=1))
    if stage.lateral is None:
        return resize(r, image.shape[-2:]), None, None
    side_logits = stage.side_head(r) if stage.training else None
    attention, gradient_logits = stage.outward(r)
    features = resize(r * attention, lateral.shape[-2:]) + stage.lateral(lateral)
    return features, side_logits, gradient_logits if stage.training else None
    # </solution>


# %%
checks.my_stage(my_stage)


# %% tags=["exercise"]
def my_tiles(image, grid):
    """Cuts an image into grid x grid tiles and stacks them on the channels, colour slowest, tile column fastest.

    Shapes: (B, C, H, W) to (B, C * grid * grid, H / grid, W / grid). Channel (c * grid + row) * grid + column holds the
    tile in that row and column of tiles, of colour c: a crop of the image.
    """
    # <solution>
    batch, channels, height, width = image.shape
    tiles = image.reshape(batch, channels, grid, height // grid, grid, width // grid)  # (B, C, rows, h, columns, w)
    tiles = tiles.permute(0, 1, 2, 4, 3, 5)  # (B, C, rows, columns, h, w)
    return tiles.reshape(batch, channels * grid * grid, height // grid, width // grid)
    # </solution>


# %%
checks.my_tiles(my_tiles)
