"""``splatcast photo.jpg … -o DIR``: photos, folders and videos into splat files, here or by a server."""
