"""`make real`: the recorded runs of ../shared/inputs, driven through the product's public doors against a tape that counts what arrives."""
