"""What a trained model shows: log p(x), the figures, and a page for a browser.

Offers evidence, pictures, explorer and replay (a Keras callback; the others need no backend). May use: images.
"""
