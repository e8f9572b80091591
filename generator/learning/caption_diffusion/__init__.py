"""Text-conditional diffusion trained on captioned pictures of one's own."""
