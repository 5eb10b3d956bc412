"""A pretrained backbone from registry packages: EfficientNet-Lite0, a projector and SmolLM2-135M-Instruct."""
