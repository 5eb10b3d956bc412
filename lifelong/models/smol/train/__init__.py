"""How the projector, the tower and the low-rank updates of the pretrained backbone are trained on the atlas."""
