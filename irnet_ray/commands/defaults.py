"""Defaults that an option of the command line shares with the Python function. Imports nothing: `--help` stays fast."""

OUT = "irnet-out"
SHARDS = 4  # Parquet files per table
SHOW_IMAGES = 12
RETRAIN_SHARE = 0.2  # of the images: if more are new to the networks, `relabel` trains these again
MIN_QUALITY = MIN_SCORE = 0.0  # of exported instances
