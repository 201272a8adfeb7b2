"""Images of any layout, made the (n, 784) grey values that the network learns from.

Offers data (load_data, Dataset, Images) and converting (images small and grey, labels as classes). A path goes through
sources (what each file is), layouts (which files are taken), then arrays, tables or folders (which of their images, in
which part and class, by the words of their names), and whatever is not taken stands in the account. reading opens files
from anywhere, within bounds. May use: nothing but seevae.basics.
"""
