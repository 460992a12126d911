"""Graph-PCNN: two-stage human pose estimation with graph pose refinement."""
