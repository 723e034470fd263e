// The terms of the views, each in a sentence or two, with the notebook that explains it.

export const WORDS = [
  // The network.
  [
    "level, stride",
    "Level 1 is the finest map of the encoder, level 4 the coarsest; a cell of stride 8 spans 8 pixels of the network's image (notebook 02).",
  ],
  [
    "stage",
    "The decoder has four stages, from 4, the coarsest, to 1, the finest; each hands its output to the next (05).",
  ],
  [
    "channel, ch, feature",
    "A layer holds many maps of one size, its channels or features; each answers to something else in the photo (02).",
  ],
  [
    "encoder, backbone",
    "Turns the photo into maps of four levels. It runs twice, on the whole image and on one of half the size (02).",
  ],
  ["squeeze module, squeeze", "Narrows the deepest map and its context before the decoder (03)."],
  [
    "signs on the map",
    "The computations between the parts: × multiplies and + adds two maps cell by cell, C concatenates them (the channels of one behind those of the other), ↑ enlarges and ↓ shrinks a map (02, 05).",
  ],
  ["neck", "Convolutions that some networks have between the encoder and the decoder."],
  ["lateral block, lateral", "A 1 × 1 convolution that brings an encoder map to the decoder (04)."],
  ["decoder", "Builds the mask up from the coarsest map to the finest, stage by stage (05)."],
  ["reconstruction block, reconstruction", "The block that refines the features of a decoder stage (05)."],
  [
    "stage output, weighted, up-sampled",
    "A stage's output is its reconstruction times the attention (weighted), at twice as many cells in each direction (up-sampled), plus the lateral map (05).",
  ],
  ["inward reference", "The photo's own pixels, cut into tiles and given to each decoder stage (06)."],
  ["tile", "One of the equal rectangles that an image is cut into; stacked as channels, they keep every pixel (06)."],
  [
    "outward reference, gradient attention, attention",
    "The outward reference: weights in 0 to 1 that stress places near edges of the object (06). In a Swin backbone, attention is how much a pixel takes from each other one (02).",
  ],
  ["Laplacian", "A filter that answers where the brightness changes: at all edges of the photo (07)."],
  [
    "target, original, corrected",
    "What the gradient heads are taught in training. Original: the Laplacian times the logits, where no edge is 0.5; corrected: edges near the object, where no edge is 0 (07).",
  ],
  [
    "predicted gradient, prediction",
    "What a stage's gradient head answers: where it expects edges of the object (07).",
  ],
  ["side output", "A mask predicted by a stage in training, so that each stage learns (08)."],
  [
    "head",
    "A last convolution, which gives an output such as the mask (05); in an attention, one of several looks (02).",
  ],
  ["logits", "The mask before the sigmoid: above 0 is object, below 0 background (01)."],
  ["parameters, output memory", "The weights that a part has learnt, and the room that its maps take in one pass."],
  ["pass", "One run of the network; a time is the median of several passes, which one slow pass does not change (11)."],
  // Convolutions and windows.
  [
    "convolution, patch, kernel, products",
    "A convolution multiplies the patch of its input around a cell by the weights of its kernel; the sum of these products, plus a constant (bias), is its output (03).",
  ],
  ["branch", "One of the parallel convolutions of a block; what they give is joined at its end (03)."],
  [
    "taps, shift, modulation",
    "The places at which a deformable kernel reads. It moves each tap (shift, in cells) and weights it (modulation) anew at each cell (03).",
  ],
  [
    "block, window",
    "A block of a Swin backbone lets each pixel attend to those in its window; every second block shifts the windows (02).",
  ],
  [
    "receptive field, field, theoretical, bound",
    "The pixels that a cell can depend on; an upper bound where taps may move or units are off (03).",
  ],
  [
    "effective field",
    "The pixels that a cell does depend on, by its gradient; most of it lies in the middle of the theoretical field (10).",
  ],
  // All channels of a layer.
  ["detail", "How evenly a channel uses its shades, in bits: flat maps come last in the list of channels (02)."],
  ["variance", "How far the values of a channel lie from their mean, squared and averaged."],
  ["agreement, correlation", "How far a map and a mask rise and fall together: 1 in step, 0 unrelated, −1 opposite."],
  [
    "PCA",
    "Principal components: the three mixtures of all channels that tell most cells apart, drawn as red, green and blue; the percentages say how much of the variance each explains.",
  ],
  [
    "segments, k-means",
    "Groups of cells whose channels are alike, found by k-means; the slider of channels chooses how many.",
  ],
  ["norm", "The length of a cell's channels taken as one vector: how strongly the whole layer answers there."],
  [
    "like the pin, similarity",
    "Cosine similarity of every cell to the pinned one over all channels: 1 is the same direction, 0 unrelated, −1 the opposite.",
  ],
  [
    "range, fixed",
    "What the ends of the colours stand for: the limits of this map, this layer, all layers, or your own. Fixed ones stay, so that a colour means the same before and after a change.",
  ],
  // Masks and scores.
  ["threshold", "The value from which a cell counts as object; outline, cut-out and scores follow it (09)."],
  ["outline", "The line around all cells over the threshold, drawn over the photo (09)."],
  [
    "cut-out, soft cut-out, hard cut-out",
    "The photo where the mask is, over a plain ground: with the mask's soft edges, or with hard ones at the threshold (09).",
  ],
  ["IoU", "Overlap of two masks: the area of both together divided by the area of either (09)."],
  [
    "IoU lost",
    "The IoU of the whole network's mask less that of the mask without a part; below 0 the part did harm (10).",
  ],
  [
    "precision, recall",
    "The share of the mask that is right, and the share of the object that the mask has found (09).",
  ],
  ["S-measure", "Agreement of two masks in objects and regions, 0 to 1 (09)."],
  ["mean error", "How far a mask is from the true one, in 0 to 1, averaged over all pixels (09)."],
  ["mean change", "How far a mask is from the one before, in 0 to 1, averaged over all pixels, up or down alike."],
  [
    "loss, nats",
    "What training makes small. A nat is the unit of the cross-entropy; guessing 0.5 everywhere costs 0.6931 (08).",
  ],
  // Switching off, and asking why.
  [
    "switch off",
    "An ablation: the network runs without a part, and the mask's change says what the part was good for (10).",
  ],
  [
    "zero, mean, resample",
    "Ways to switch a part off: all zeros, its mean everywhere, or its values shuffled over the map (10).",
  ],
  [
    "integrated gradients",
    "Adds up how the mask's logits change with each pixel while an empty image turns into the photo (10).",
  ],
  ["GradCAM", "Weights the maps of the squeeze module by the gradient of the mask's logits: coarse, and quick (10)."],
  ["occlusion", "Covers one square of the photo after the other, and notes what the mask's logits lose (10)."],
  ["guided backprop", "The gradient of the mask's logits, without what is negative on its way through the ReLUs (10)."],
  ["inside the mask", "The share of an attribution that lies inside the mask (10)."],
  [
    "over chance",
    "Share of an attribution inside the mask, divided by the mask's share of the photo; 1 is no better than chance (10).",
  ],
  ["peak inside", "Whether the strongest pixel of an attribution lies inside the mask: 1 is yes, 0 is no (10)."],
  [
    "gain",
    "What the mask's logits have more than for an image without content; integrated gradients sum up to it (10).",
  ],
  // Two of something, and the film of a training.
  ["mine, reference", "Your network, and the one that it is compared with, part by part (12)."],
  [
    "difference",
    "Mine less the reference, or the second less the first, cell by cell; a part is OK where the largest is within the tolerance (12).",
  ],
  [
    "CKA",
    "Centred kernel alignment: how alike two layers see the same cells, whatever the order and scale of their channels; 1 is alike, 0 nothing in common.",
  ],
  [
    "step, beside it",
    "One update of the weights in training. The curves show the losses over the steps; a second step can stand beside the first (08).",
  ],
  // Changing the photo.
  [
    "brush, erase, blur, brighten, copy",
    "Changes the photo under a stroke; the network then runs again on the changed photo.",
  ],
  [
    "wipe, before, up to here",
    "Shows the photo and the maps from before the strokes, from the left edge up to the wipe.",
  ],
];
