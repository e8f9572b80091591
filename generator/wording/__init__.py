"""What people type -> what engines are told. Every border calls `understand` once for a picture, before `validate`.

Imports no torch.
"""

from generator.wording.embedded import as_ranked, style_named
from generator.wording.reading import Notice, Sources
from generator.wording.understanding import Understood, understand
from generator.wording.wildcards import choices, common, outcomes

__all__ = ["Notice", "Sources", "Understood", "as_ranked", "choices", "common", "outcomes", "style_named", "understand"]
