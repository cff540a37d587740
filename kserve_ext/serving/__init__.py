"""Custom predictors on KServe's own server: `Predictor` is what a user writes, `python -m kserve_ext.serving` serves it.

Nothing is imported here: `import kserve` costs 1 to 3 s and reads sys.argv, and a predictor class needs none of it.
"""
