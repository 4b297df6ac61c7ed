"""How the page looks: Gradio's default theme in the reader's own fonts, and a little CSS."""

import gradio as gr

THEME = gr.themes.Default(
    primary_hue="amber",
    neutral_hue="stone",
    font=["system-ui", "sans-serif"],  # no font is fetched from anywhere
    font_mono=["ui-monospace", "monospace"],
)

CSS = """
.gradio-container { width: 100%; max-width: 1120px !important; margin: 0 auto !important; }

/* A small image is shown large. */
#preview .image-frame img, #evidence .image-frame img {
  width: 100%; height: 100%; object-fit: contain; padding: 0.5rem;
}
#evidence .image-frame img { padding-top: 2.2rem; } /* clear of its label */

/* It takes no room until there is something to show. */
#evidence:not(:has(img)) { display: none; }

#answer textarea { font-size: 1.5rem; font-weight: 600; line-height: 1.4; }
#details * { font-size: 0.9rem; opacity: 0.9; }

/* The table of examples as a row of cards. */
#examples thead { display: none; }
#examples tbody {
  display: grid; gap: 0.5rem; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr));
}
#examples tr { display: flex; align-items: center; border: 0; border-radius: 6px; }
#examples tr { background: var(--background-fill-secondary); cursor: pointer; }
#examples tr:hover { background: var(--border-color-primary); }
#examples td { border: 0; padding: 0.4rem; text-align: left; }
#examples td img { width: 100%; height: 100%; }
"""
