"""In the cluster: plans at admission, a floor ahead of traffic, and the fallback that removes floors nobody renews.

Thin I/O around `plan`, `render` and `step`. The modules without a client are pure: review, filled, models, facts,
floors, records, late. Needs the extra `operator`.
"""
