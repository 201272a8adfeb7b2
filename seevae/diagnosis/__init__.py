"""A VAE that somebody wrote elsewhere: what a run says of ours, and what looks wrong, by name.

Offers examine and compare. given checks what examine is given, network calls the two functions, diagnose asks the tests
of findings in their order, sentences holds their words; dense finds layers for the explorer, report makes the page.
May use: results, images, run (its folder).
"""
