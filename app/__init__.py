"""A page in the browser, and an API, to ask questions about images."""

import os

# Gradio reads it while it is imported: nothing is sent anywhere unless a person asks for it.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
