// The terms of the views, each in one sentence, with the notebook that explains it.

export const WORDS = [
  [
    "level, stride",
    "Level 1 is the finest map of the encoder, level 4 the coarsest; a cell of stride 8 spans 8 pixels of the network's image (notebook 02).",
  ],
  [
    "channel, ch",
    "A layer holds many maps of one size, its channels; each answers to something else in the photo (02).",
  ],
  ["detail", "How evenly a channel uses its shades, in bits: flat maps come last in the list of channels (02)."],
  ["squeeze module", "Narrows the deepest map and its context before the decoder (03)."],
  ["lateral block", "A 1 × 1 convolution that brings an encoder map to the decoder (04)."],
  ["reconstruction", "The block that refines the features of a decoder stage (05)."],
  ["inward reference", "The photo's own pixels, cut into tiles and given to each decoder stage (06)."],
  ["gradient attention", "The outward reference: weights in 0 to 1 that stress places near edges of the object (06)."],
  ["side output", "A mask predicted by a stage in training, so that each stage learns (08)."],
  ["logits", "The mask before the sigmoid: above 0 is object, below 0 background (01)."],
  ["nat", "The unit of the cross-entropy loss; guessing 0.5 everywhere costs 0.6931 (08)."],
  [
    "receptive field",
    "The pixels that a cell can depend on; an upper bound where taps may move or units are off (03).",
  ],
  [
    "zero, mean, resample",
    "Ways to switch a part off: all zeros, its mean everywhere, or its values shuffled over the map (10).",
  ],
  [
    "over chance",
    "Share of an attribution inside the mask, divided by the mask's share of the photo; 1 is no better than chance (10).",
  ],
  [
    "gain",
    "What the mask's logits have more than for an image without content; integrated gradients sum up to it (10).",
  ],
  ["IoU", "Overlap of two masks: the area of both together divided by the area of either (09)."],
  ["S-measure", "Agreement of two masks in objects and regions, 0 to 1 (09)."],
];
