"""The network: MoNN, its towers and over-archs, and its folded form for serving."""
