"""SSA: self-attention supervised by instance masks, for keypoint grouping and person masks."""
