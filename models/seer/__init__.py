"""Seer: the frames that follow one or two given ones and an instruction, by an inflated text-to-image model.

Its networks, not yet a system: slots and training follow.

Source: Seer (arXiv 2303.14897, ICLR 2024).
"""
