"""What the test suites of all packages share: services to test against, and the runner of the JSON
cases.
"""
