"""LoRAs of Stable Diffusion from a few captioned pictures (Hu et al. 2021, arXiv:2106.09685)."""
