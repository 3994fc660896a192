"""Words the world is made of: names, places, products, phrases. Constants and their expansion."""
