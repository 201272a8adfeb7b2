"""What a trained model shows: log p(x), the figures, and a page for a browser.

Offers evidence, pictures and explorer. May use: images.
"""
