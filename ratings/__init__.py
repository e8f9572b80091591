"""What votes between pictures say: ratings with intervals, and which pair to ask about next.

Plain numbers in, plain numbers out: this package knows no database, no page and no model, and imports none of them.
"""
