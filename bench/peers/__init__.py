"""Programs of other stream processors that do the like-for-like job, each in a venv of its own.

They import nothing of the product and nothing third-party but what their lock file names.
"""
