"""A VAE that somebody wrote elsewhere: what a run says of ours, and what looks wrong, by name.

Offers examine and compare. network calls the two functions, diagnose puts the tests of findings in their order, dense
finds the layers for the explorer. May use: results, images, run (its folder and its lines).
"""
