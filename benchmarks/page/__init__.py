"""The page before a reader's browser: a fleet's report in headless Chromium."""
