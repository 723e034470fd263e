"""Solutions of exercises that have left the notebooks; their checks stay in `course.checks`."""

# %%
import torch
import torch.nn.functional as F

from birefnet_lite.course import checks
from birefnet_lite.network.aspp import DeformableASPP, batch_norm_or_identity


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
