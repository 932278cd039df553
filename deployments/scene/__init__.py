"""The procedural scene: a person in a room, with exact depth, and the sample clip made from it."""
