"""One run of the command: its options, its folder, going on after a cut, Ctrl-C, and what it prints.

Offers session (the run as a whole), options, folder, resume, saved, stopping and console.
May use: training, images, machine, results.
"""
