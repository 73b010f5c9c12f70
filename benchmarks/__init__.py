"""What the product costs. `make bench` measures it on the real processes and prints one table.

Nothing here is a test: numbers differ from machine to machine. What is compared is measured side by side in one run, in
rounds that take turns, and the table gives the median round.
"""
