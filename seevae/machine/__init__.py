"""The machine: Keras on a backend that is installed, the devices that compute, and several machines.

Offers startup, devices and processes. May use: nothing but seevae.basics.
"""
