"""A VAE that somebody wrote elsewhere: what a run says of ours, and what looks wrong, by name.

Offers examine and compare; network, diagnose, findings, dense and report are its tools.
May use: results, images, run (its folder).
"""
