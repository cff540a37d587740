"""The figures of the report: each module draws one, `canvas` turns a drawing into an SVG that follows the page."""
