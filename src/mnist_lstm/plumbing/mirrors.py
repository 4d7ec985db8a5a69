"""Public mirrors beside those that torchvision knows, tried after them.

Checksums pin the bytes (``datasets.py``), so a mirror that is added here reruns nothing.
"""

MORE = {"mnist": ["https://storage.googleapis.com/cvdf-datasets/mnist/"]}
