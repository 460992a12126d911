"""Self-Supervision and Spatial-Sequential Attention Based Loss for Multi-Person Pose Estimation, on OpenPose."""
