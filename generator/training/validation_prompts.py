"""The prompts whose pictures a recipe's sample sheet shows."""

PROMPTS = (
    "a red heart",
    "a smiling face with sunglasses",
    "a green tree",
    "a banana",
    "a blue car",
    "a slice of pizza",
    "a house with a garden",
    "a dog",
    "a rocket",
    "a cat",
    "a happy robot",
    "a flying saucer",
    "a fish",
    "a golden crown",
    "a penguin",
    "a strawberry",
    "a bicycle",
    "a frog",
    "a light bulb",
    "a soccer ball",
)
