"""Where the cells of a study run: processes here, a Ray cluster, a Slurm cluster. One module for each."""
