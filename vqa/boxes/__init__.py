"""What the data set `boxes` is drawn from: scenes, their pixels, counts and statements."""
