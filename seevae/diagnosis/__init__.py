"""A VAE that somebody wrote elsewhere: what a run says of ours, and what looks wrong, by name.

Offers examine; findings and dense are its tools. May use: results, images, machine, run (its folder and its lines).
"""
