"""How to train: the recipes as a table, and what they are made of.

Offers recipes, start (initial weights, noise on the input), optimizers, callbacks and batches.
May use: images, machine.
"""
