"""How to train: the recipes as a table, and what they are made of.

Offers recipes, initial_weights, input_noise, optimizers, callbacks and batches.
May use: images, machine.
"""
