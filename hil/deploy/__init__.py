"""From a judged report to the release that a robot runs: built, refused or deployed, and taken back."""
