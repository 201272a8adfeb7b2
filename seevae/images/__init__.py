"""Images of any layout, made the (n, 784) grey values that the network learns from.

Offers data (load_data, Dataset, Images) and converting (images small and grey, labels as classes). One pipeline takes a
path there: layouts walks it, sources makes Items of what is found, places gives each its part and class by the words of
names, taking reads them, and account adds up what became of each. reading opens files from anywhere, within bounds;
foreign.toml tells how to convert what is not read. May use: nothing but seevae.basics.
"""
