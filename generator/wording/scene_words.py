"""The words in which scenes are told: relations, numbers, colours, sizes, places and weather, and who wears what where.

Tables only; generator.wording.scenes reads prompts by them, generator.training.scenes says with them what it composed.
"""

from __future__ import annotations

# What ties two things together -> the words for it, before which somebody may be sitting, standing or sleeping.
RELATIONS: dict[str, tuple[str, ...]] = {
    "on": ("on", "on top of", "atop", "upon"),
    "in": ("in", "inside", "inside of"),
    "under": ("under", "underneath", "beneath", "below"),
    "above": ("over", "above"),
    "next to": ("next to", "beside", "near", "by", "alongside", "close to"),
    "behind": ("behind",),
    "in front of": ("in front of",),
}
# What somebody does to a thing -> verbs, none of which stands before another preposition.
ACTS: dict[str, tuple[str, ...]] = {
    "wearing": ("wearing", "wears", "dressed in"),
    "holding": ("holding", "holds", "carrying", "carries", "eating", "drinking", "playing", "reading", "using"),
    "riding": ("riding on", "riding", "rides", "driving", "drives"),
    "next to": ("chasing", "hugging", "kicking", "watching", "looking at", "playing with", "leaning against"),
}
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9}
# Words for more than one that say no number -> how many are drawn; SEVERAL where only the plural says it.
SEVERAL = 3
QUANTITIES = {
    "some": 3, "a few": 3, "several": 4, "many": 5, "lots of": 5, "a lot of": 5, "a couple of": 2, "a pair of": 2,
    "a group of": 4, "a flock of": 5, "a herd of": 4, "a swarm of": 5,
}  # fmt: skip
ARTICLES = ("a", "an", "the", "one", "his", "her", "its", "their", "my", "your")
SIZES = {
    "tiny": 0.5, "small": 0.7, "little": 0.7, "mini": 0.6, "big": 1.35, "large": 1.35, "huge": 1.7, "giant": 1.7,
    "enormous": 1.7,
}  # fmt: skip
# Colours and materials -> the ramp of colours (sRGB) that stands for dark, middle and light.
RAMPS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((110, 10, 20), (221, 46, 68), (255, 170, 170)),
    "orange": ((130, 60, 0), (244, 144, 12), (255, 215, 150)),
    "yellow": ((140, 100, 0), (255, 204, 50), (255, 240, 170)),
    "green": ((15, 75, 30), (76, 175, 70), (190, 235, 160)),
    "blue": ((15, 45, 120), (60, 136, 230), (175, 215, 255)),
    "purple": ((65, 20, 110), (150, 90, 210), (220, 190, 250)),
    "pink": ((150, 30, 90), (245, 120, 175), (255, 205, 225)),
    "brown": ((60, 30, 15), (145, 90, 50), (215, 170, 120)),
    "black": ((0, 0, 0), (40, 44, 48), (130, 135, 140)),
    "white": ((150, 160, 170), (225, 232, 238), (255, 255, 255)),
    "grey": ((60, 65, 70), (150, 158, 165), (225, 230, 235)),
    "golden": ((125, 75, 0), (240, 185, 30), (255, 240, 160)),
    "silver": ((80, 88, 96), (180, 190, 200), (245, 248, 250)),
    "wooden": ((80, 45, 20), (175, 115, 60), (225, 180, 125)),
    "stone": ((70, 70, 68), (140, 138, 132), (200, 198, 190)),
    "icy": ((60, 120, 170), (150, 210, 240), (235, 250, 255)),
}
SAME_COLOUR = {
    "gold": "golden", "gray": "grey", "violet": "purple", "crimson": "red", "scarlet": "red", "navy": "blue",
    "turquoise": "blue", "icy": "icy", "frozen": "icy", "marble": "stone",
}  # fmt: skip
_FIELD = "(?:grass|lawn|meadow|fields?|garden|park|hills?)"
_THE = "(?:(?:the|a|an|some) )?"
# Places -> regular expressions of how they are told, the first the one in which a scene is told by us.
PLACES: dict[str, tuple[str, ...]] = {
    "night": (
        "in the night sky", rf"(?:in|under|against) {_THE}(?:starry |dark )?night sky", "at night", "under the stars",
        "in the dark",
    ),
    "space": ("in space", "in outer space", "among the stars", "from space"),
    "sky": ("in the sky", rf"(?:in|against) {_THE}(?:clear |blue )?sky", "(?:in|above|over|among) the clouds"),
    "grass": ("on the grass", rf"(?:on|in) {_THE}(?:green )?{_FIELD}", "on green grass"),
    "sea": ("on the sea", rf"(?:on|in|at) {_THE}(?:blue |open )?(?:sea|ocean|lake|water|waves|pond|river)"),
    "underwater": ("under water", "underwater", "under the (?:sea|water|ocean)", "at the bottom of the (?:sea|ocean)"),
    "moon": ("on the moon",),
    "moonlight": (
        "in front of the moon", rf"(?:in front of|under|against) {_THE}(?:full )?moon", "(?:in|by) (?:the )?moonlight",
    ),
    "city": (
        "in the city", rf"(?:in|over|above) {_THE}(?:big )?city", "in town", rf"(?:on|in) {_THE}(?:street|road)",
        "in front of the city",
    ),
    "forest": ("in the forest", rf"in {_THE}(?:dark |deep )?(?:forest|woods?|jungle)"),
    "desert": ("in the desert", f"in {_THE}desert"),
    "beach": ("on the beach", f"(?:on|at) {_THE}(?:beach|sand|shore)", f"by {_THE}(?:sea|ocean|lake)"),
    "snow": ("in the snow", f"(?:in|on) {_THE}(?:snow|ice)"),
    "mountains": ("in the mountains", f"(?:in|in front of|over) {_THE}mountains"),
    "sunset": ("at sunset", "at (?:sunset|sunrise|dawn|dusk)", f"in front of {_THE}sunset"),
    "table": ("on a table", rf"on {_THE}(?:wooden |kitchen )?(?:table|desk|shelf)"),
}  # fmt: skip
WEATHER: dict[str, tuple[str, ...]] = {
    "rain": ("in the rain", f"in {_THE}(?:heavy |pouring )?rain", f"in {_THE}(?:rain)?storm"),
    "snowfall": ("in falling snow", "(?:in|with) (?:the )?falling snow", "while it snows", f"in {_THE}snowstorm"),
    "fog": ("in the fog", f"in {_THE}(?:thick )?(?:fog|mist)"),
}
# What there is something of in it: "a cup of coffee" is one thing.
HOLDS = frozenset(["cup", "mug", "glass", "bottle", "bowl", "plate", "pot", "can", "jar", "box", "bag", "basket",
                   "slice", "piece", "bunch", "pile", "stack", "ball", "bar", "loaf", "bouquet"])  # fmt: skip
# Where on who wears it a thing belongs.
WORN: dict[str, frozenset[str]] = {
    "head": frozenset(["hat", "cap", "crown", "helmet", "tiara", "turban", "bonnet", "beanie", "wig", "sombrero"]),
    "eyes": frozenset(["glasses", "sunglasses", "goggles", "eyeglasses", "spectacles", "monocle"]),
    "ears": frozenset(["headphones", "headphone", "earmuffs"]),
    "neck": frozenset(
        ["scarf", "tie", "necktie", "necklace", "medal", "ribbon", "bow", "bowtie", "collar", "stethoscope", "bell"]
    ),
    "body": frozenset(
        [
            "shirt",
            "t-shirt",
            "coat",
            "dress",
            "jacket",
            "vest",
            "kimono",
            "suit",
            "sari",
            "jeans",
            "shorts",
            "backpack",
            "bikini",
        ]
    ),
    "feet": frozenset(["shoe", "shoes", "boot", "boots", "sandal", "sandals", "sneakers", "socks", "skates", "skis"]),
}
# What the embedded models draw best under another name: many a word is first of all that of a face that wears it.
DRAWN_AS = {
    "hat": "top hat", "cap": "billed cap", "helmet": "rescue worker helmet", "sunglasses": "dark sunglasses",
    "tie": "necktie", "shirt": "t-shirt", "box": "package", "ball": "soccer ball", "flower": "tulip",
    "cup": "hot beverage",
    "headphones": "headphone", "bike": "bicycle", "tree": "deciduous tree", "present": "wrapped gift", "boots": "boot",
    "shoes": "shoe", "fish": "tropical fish", "sword": "dagger", "wand": "magic wand", "phone": "mobile phone",
    "sofa": "couch and lamp", "couch": "couch and lamp", "cheese": "cheese wedge", "ice cream":
    "soft ice cream", "gift": "wrapped gift", "moon": "crescent moon", "car": "automobile", "ball of yarn": "yarn",
}  # fmt: skip
# Whose name alone draws them whole, and from the side: what they wear on their head shows on a face.
HAVE_FACES = frozenset(["cat", "dog", "tiger", "monkey", "horse", "cow", "pig", "mouse", "rabbit", "dragon"])
COLOURLESS = ("silhouette",)  # styles that are drawn in black alone
# Who can hold and wear something: "with" means that they do.
BEINGS = frozenset([
    "cat", "kitten", "dog", "puppy", "wolf", "fox", "raccoon", "lion", "tiger", "leopard", "horse", "moose",
    "donkey", "unicorn", "zebra", "deer", "bison", "cow", "ox", "buffalo", "pig", "boar", "ram", "ewe", "sheep",
    "goat", "camel", "llama", "giraffe", "elephant", "mammoth", "rhinoceros", "hippopotamus", "mouse", "rat",
    "hamster", "rabbit", "bunny", "chipmunk", "squirrel", "beaver", "hedgehog", "bat", "bear", "koala", "panda",
    "sloth", "otter", "skunk", "kangaroo", "badger", "turkey", "chicken", "rooster", "chick", "bird", "penguin",
    "dove", "eagle", "duck", "swan", "owl", "dodo", "flamingo", "peacock", "parrot", "goose", "phoenix", "frog",
    "crocodile", "turtle", "lizard", "snake", "dragon", "dinosaur", "whale", "dolphin", "orca", "seal", "fish",
    "shark", "octopus", "crab", "lobster", "shrimp", "squid", "snail", "butterfly", "bug", "ant", "bee", "honeybee",
    "beetle", "cricket", "spider", "scorpion", "monkey", "gorilla", "orangutan", "poodle", "robot", "ghost",
    "alien", "monster", "skeleton", "clown", "ogre", "goblin", "snowman", "baby", "child", "boy", "girl", "kid",
    "man", "woman", "person", "lady", "guy", "student", "teacher", "judge", "farmer", "cook", "chef", "mechanic",
    "worker", "scientist", "singer", "artist", "pilot", "astronaut", "firefighter", "policeman", "officer",
    "detective", "guard", "ninja", "prince", "princess", "king", "queen", "knight", "pirate", "wizard", "witch",
    "mage", "angel", "santa", "superhero", "fairy", "vampire", "mermaid", "elf", "genie", "zombie", "troll",
    "doctor", "nurse", "dancer",
])  # fmt: skip
# Parts that belong to a thing or are said of it: none of them is drawn beside it.
FEATURES = frozenset([
    "eye", "eyes", "ear", "ears", "nose", "mouth", "tongue", "tooth", "teeth", "lip", "lips", "hair", "mane",
    "tail", "wing", "wings", "horn", "horns", "hand", "hands", "finger", "fingers", "foot", "feet", "leg", "legs",
    "arm", "arms", "face", "head", "smile", "tear", "tears", "sweat", "expression", "beard", "mustache", "stripe",
    "stripes", "spot", "spots", "dot", "dots", "pattern", "shell", "handle", "petals", "leaves", "roof",
    "background", "style", "color", "colour", "colors", "colours", "middle", "shape", "love",
])  # fmt: skip
# What is a place, or light and weather in it, and stands on nothing.
SCENERY = frozenset([
    "sunset", "sunrise", "dawn", "dusk", "night", "day", "sky", "sea", "ocean", "beach", "desert", "forest", "city",
    "town", "landscape", "scene", "horizon", "view", "weather", "rain", "snow", "fog", "storm", "lightning",
    "moonlight", "sunlight", "light", "smoke", "shadow", "reflection",
])  # fmt: skip
