"""From the published snapshot to the tools and people that act: exports, and later sending.

Nothing here reads anything but a published snapshot and the decision state.
"""
