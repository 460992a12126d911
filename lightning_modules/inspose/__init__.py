"""InsPose (Shi et al., 2021): dynamic keypoint networks on FCOS."""
