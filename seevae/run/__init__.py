"""One run of the command: its options, its folder, going on after a cut, Ctrl-C, and what it prints.

Offers session (the run as a whole), before_keras (Ctrl-C and options, at once), options, stopping, console (words, exit
status), folder (where a run writes), files (that change together), resume, and saved (model files).
May use: training, images, machine, results.
"""
