"""Reshaping data with jq."""
