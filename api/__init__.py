"""The studio for programs: HTTP in the field's own dialects, on the queue that the pages use. Imports no torch."""
