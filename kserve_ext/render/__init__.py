"""From a plan to text: InferenceService, ServingRuntime, config.pbtxt and the bundle of files that holds them.

Values in, dicts and text out; nothing here reads or writes a file.
"""
