"""What a machine has and lacks, looked up by ``experiments.doctor``: one function a check, each returns findings."""
