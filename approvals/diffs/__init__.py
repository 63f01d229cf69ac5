"""What a plan would change, said as data: one module per kind of payload. Rendering is somebody else's work."""
