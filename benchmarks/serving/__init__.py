"""The serving bench: our server and those people use, each driven by the same generator in the same run."""
