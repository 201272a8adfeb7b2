"""Images of any layout, made the (n, 784) grey values that the network learns from.

Offers data (load_data, Dataset, Images), converting (images small and grey) and classes (labels). One pipeline takes a
path there: layouts walks it, sources makes Items of what is found, places gives each its part and class by the words of
names, lists those that tables beside pictures tell, taking takes them, and account adds up what became of each. reading
opens files from anywhere, within bounds; tables reads text, shapes says what the axes of an array are, foreign.toml how
to convert what is not read, and pickled names the arrays in it. May use: nothing but seevae.basics.
"""
