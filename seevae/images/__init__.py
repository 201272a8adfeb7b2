"""Images of any layout, made the (n, 784) grey values that the network learns from.

Offers data (load_data, Dataset, Images), layouts (which arrays a path holds), converting (images small and grey, labels
as classes) and reading (files from anywhere, within bounds). May use: nothing but seevae.basics.
"""
