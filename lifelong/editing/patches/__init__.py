"""Neurons added to feed-forward modules: `neurons` holds and applies them, `losses` says where they should fire,
`training` teaches them one edit, `taps` reads the states they are trained on. Shared by the editors that patch."""
