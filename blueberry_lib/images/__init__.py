"""Pictures: flow matching with a diffusion transformer, a VQ-VAE, and a transformer over text and image tokens."""
