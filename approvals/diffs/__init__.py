"""What a plan would change, said as data: one module per kind of payload. Rendering is somebody else's work.

Each change is {"entity", "pointer", "op", "before", "after", "label"}: JSON values, and a name for people.
"""
