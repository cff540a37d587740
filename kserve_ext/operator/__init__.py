"""In the cluster: plans at admission, a floor ahead of traffic, and the fallback that removes floors nobody renews.

Thin I/O around `plan`, `render`, `step` and what `policy.learning` concludes. The modules without a client are pure: review,
filled, models, facts, floors, kept, scaled, learned, records, words. Needs the extra `operator`.
"""
