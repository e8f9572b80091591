"""The studio as a folder that can be taken home, and the way back."""
